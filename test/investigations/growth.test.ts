/**
 * "Do the hidden states grow too much?" (docs/commands.md, `inspect --vs`): the story's four suspicions, each planted in turn, and none.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { inspectSchema } from "../../src/report/inspect.ts";
import { scaleOf, sparkline } from "../../src/report/sparkline.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const folder = mkdtempSync(join(tmpdir(), "faultline-growth-"));

function faultline(...args: string[]) {
  const command = ["--import", "tsx", "src/cli/main.ts", ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: "utf8" });
  return { status, stdout, stderr };
}

function traced(name: string, ...options: string[]): string {
  const path = join(folder, `${name}.arrow`);
  const run = ["trace", MODEL, "-p", "In the beginning God", "-n", "1", "--capture", "full", "-o", path, "--quiet"];
  const { status, stderr } = faultline(...run, ...options);
  expect(status, stderr).toBe(0);
  return path;
}

const looked = (path: string, reference: string, ...options: string[]) => {
  const { status, stdout, stderr } = faultline("inspect", path, "--vs", reference, "--json", "--quiet", ...options);
  expect(stdout, stderr).not.toBe("");
  return { status, ...inspectSchema.parse(JSON.parse(stdout)) };
};

describe("growth beside a reference", () => {
  let reference = "";
  beforeAll(() => {
    reference = traced("reference", "--device", "oracle");
  });

  it("all is normal: the same growth, said so", () => {
    const path = traced("clean", "--taps", "*,weight:blk.1.*");
    const { status, vs, growth } = looked(path, reference);
    expect(status).toBe(0);
    expect(vs?.verdict).toBe("match");
    expect(vs?.sentence).toMatch(/^grows as the reference does: RMS 1 - .* none of \d+ ops is beyond its budget$/);
    expect(vs?.growth.map(({ tap }) => tap)).toEqual(growth.map(({ tap }) => tap));
    for (const { ratio } of vs?.growth ?? []) expect(Math.abs((ratio ?? 0) - 1)).toBeLessThan(1e-6);

    const text = faultline("inspect", path, "--vs", reference, "--layers", "1", "--quiet").stdout;
    for (const tap of ["blk.1.attn_norm", "blk.1.ffn_act", "weight:blk.1.ffn_down.weight"]) expect(text).toContain(tap);
    expect(text).not.toContain("blk.0.attn_norm ");
    expect(text).toMatch(/^match: grows as the reference does/m);
  });

  it.each([
    ["norm.weight-missing@blk.1.attn_norm", "blk.1.attn_norm"],
    ["embed.scale-extra", "embed"],
    ["attn.scale-missing@blk.2.attn_scores", "blk.2.attn_scores"],
  ])("%s: the first op is named", (fault, tap) => {
    const { status, vs } = looked(traced(tap, "--fault", fault), reference);
    expect(status).toBe(1);
    expect(vs?.verdict).toBe("divergent");
    expect(vs?.first).toEqual({ tap, step: 0 });
    expect(vs?.sentence).toMatch(/^departs from the reference \(RMS .*\); first: /);
    expect(vs?.sentence).toContain(tap);
  });

  it("the drift of the mean and its changes of sign are those of the means", () => {
    const { growth } = looked(reference, reference);
    const stream = growth.filter(({ layer, tap }) => layer !== null || tap === "embed");
    for (const [i, row] of stream.entries()) {
      const [mean, before] = [row.mean as number, stream[i - 1]?.mean as number | undefined];
      expect(row.drift).toBe(before === undefined ? null : mean - before);
      expect(row.sign_flip).toBe(before !== undefined && Math.sign(mean) !== Math.sign(before));
    }
    expect(stream.length).toBe(5);
  });

  it("bad input is refused in one line", () => {
    const none = join(folder, "none.arrow");
    for (const [args, words] of [
      [["--vs", none], /none\.arrow/],
      [["--layers", "9"], /--layers 9: "9" is not within 0-3/],
      [["--layers", "none"], /--layers none/],
    ] as const) {
      const { status, stderr, stdout } = faultline("inspect", reference, ...args);
      expect([status, stdout]).toEqual([2, ""]);
      expect(stderr.trim().split("\n")).toHaveLength(1);
      expect(stderr).toMatch(words);
    }
  });
});

describe("a curve in one line", () => {
  const figure = fc.double({ noNaN: true, min: -1e6, max: 1e6 });
  it("keeps the order of figures, lowest to highest", () => {
    fc.assert(
      fc.property(fc.array(figure, { minLength: 2, maxLength: 40 }), (values) => {
        const line = [...sparkline(values)];
        expect(line).toHaveLength(values.length);
        for (const [i, a] of values.entries()) {
          for (const [j, b] of values.entries()) {
            if (a < b) expect((line[i] as string) <= (line[j] as string)).toBe(true);
          }
        }
      }),
    );
  });
  it("shows what is not known and what is not finite", () => {
    expect(sparkline([1, null, Number.NaN, 2, Number.POSITIVE_INFINITY])).toBe("▁?!█!");
    expect(scaleOf([0.01, 1]).isLog).toBe(true);
    expect(scaleOf([-1, 100]).isLog).toBe(false);
    expect(sparkline([0.01, 0.1, 1])).toBe("▁▅█");
  });
});
