/** `import "faultline/vitest"`: what the matchers pass, what they say, and that they never pass where nothing was compared. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { openTrace } from "../../src/api/index.ts";
import "../../src/api/vitest.ts";
import { faultline } from "../support/cli.ts";
import { recordOf, traceFrom } from "../support/traces.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-vitest-"));
const model = join(import.meta.dirname, "../../models/faultline-tiny-f16.gguf");
const path = (name: string) => join(folder, `${name}.arrow`);

function run(name: string, ...options: string[]): void {
  const args = ["trace", model, "--tokens", "1,20,300,41", "-n", "2", "-q", "-o", path(name), ...options];
  const { status, stderr } = faultline(...args);
  expect(status, stderr).toBe(0);
}

beforeAll(() => {
  run("reference", "--device", "oracle", "--capture", "full");
  run("mine", "--capture", "full");
  run("wrong", "--capture", "full", "--fault", "rope.pairing@blk.2.q_rope");
  run("sketched", "--layers", "0");
});

describe("toMatchTrace", () => {
  it("passes a right run, given as paths or as traces", async () => {
    await expect(path("mine")).toMatchTrace(path("reference"));
    const [mine, reference] = [await openTrace(path("mine")), await openTrace(path("reference"))];
    await expect(mine).toMatchTrace(reference, { complete: true });
    await expect(mine).toMatchTrace(reference, { envelope: path("reference") });
    await Promise.all([mine.close(), reference.close()]);
  });

  it("fails a wrong one with the first divergent op", async () => {
    await expect(path("wrong")).not.toMatchTrace(path("reference"));
    await expect(expect(path("wrong")).toMatchTrace(path("reference"))).rejects.toThrow(
      /^divergent: blk\.2\.q_rope \(step 0\) is the first op that differs while nothing that feeds it does: relL2/,
    );
  });

  it("with the model, a run with the bug of its own reference fails, with the cause", async () => {
    await expect(path("wrong")).toMatchTrace(path("wrong"));
    await expect(expect(path("wrong")).toMatchTrace(path("wrong"), { model })).rejects.toThrow(
      /^divergent: blk\.2\.q_rope is wrong by itself.*rope\.pairing/,
    );
    await expect(path("mine")).toMatchTrace(path("reference"), { model });
  });

  it("where nothing is compared it rejects, with `.not` as without", async () => {
    const alone = await traceFrom([recordOf("embed", "token embd", [1, 2], Float32Array.of(1, 2))], [[1]]);
    const other = await traceFrom([recordOf("logits", "token vocab", [1, 2], Float32Array.of(1, 2))], [[1]]);
    for (const judge of [expect(alone), expect(alone).not]) {
      await expect(judge.toMatchTrace(other)).rejects.toThrow(/none of 1 and 1 records belong together/);
      await expect(judge.toMatchTrace(path("none"))).rejects.toThrow(/no such file/);
    }
    await expect(expect(undefined).not.toMatchTrace(path("mine"))).rejects.toThrow(/judged is undefined; a trace/);
    await expect(expect(path("sketched")).toMatchTrace(path("sketched"), { model })).rejects.toThrow(
      /the audit that \{ model \} asks for: .*holds no values/,
    );
  });

  it("`complete` asks for every record", async () => {
    await expect(expect(path("sketched")).toMatchTrace(path("reference"), { complete: true })).rejects.toThrow();
    const both = [
      recordOf("embed", "token embd", [1, 2], Float32Array.of(1, 2)),
      recordOf("blk.0.attn_norm", "token embd", [1, 2], Float32Array.of(1, 2)),
    ];
    const [whole, part] = [await traceFrom(both, [[1]]), await traceFrom(both.slice(0, 1), [[1]])];
    await expect(part).toMatchTrace(whole);
    await expect(expect(part).toMatchTrace(whole, { complete: true })).rejects.toThrow(
      /^divergent: 1 records have no partner; first blk\.0\.attn_norm \(step 0, expected\)/,
    );
  });
});

describe("toBeWithinBudget", () => {
  const x = Float32Array.of(1, 2, 3, 4);
  const weight = { rows: 2, columns: 4, values: [1, 0, 0, 0, 0.5, 0.5, 0.5, 0.5] };
  it("passes a right output and fails a wrong one with the element", () => {
    expect(Float32Array.of(1, 5)).toBeWithinBudget("linear", { x, weight });
    expect(Float32Array.of(1, 5.1)).not.toBeWithinBudget("linear", { x, weight });
    expect(() => expect(Float32Array.of(1, 5.1)).toBeWithinBudget("linear", { x, weight })).toThrow(
      /^linear is further off than any right computation \(relL2 0\.0196\d*, worst .* times its bound\); element 1 \(row 0, column 1\) is 5\.1, right is 5/,
    );
  });

  it("what cannot be judged throws, with `.not` too", () => {
    const nan = new Float32Array(4).fill(Number.NaN);
    expect(() => expect(nan).not.toBeWithinBudget("add", { a: nan, b: nan })).toThrow(
      /none of 4 elements can be judged/,
    );
    expect(() => expect("1").not.toBeWithinBudget("add", { a: x, b: x })).toThrow(/the output is string/);
    expect(() => expect(x).not.toBeWithinBudget("add", { a: x, b: [1] })).toThrow(/b has 1 elements/);
  });
});
