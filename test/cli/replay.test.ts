/** `faultline replay` as a user runs it: red, green, damaged; and the example of docs/bundles.md. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleSchema } from "../../src/compare/bundle-schema.ts";
import { replaySchema } from "../../src/report/replay.ts";
import { writeNpy } from "../../src/trace/npy.ts";
import { bundled, dropBundles } from "../support/bundles.ts";
import { cached } from "../support/cache.ts";
import { embedded } from "../support/faults.ts";
import { PROGRAM } from "../support/program.ts";

const root = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "faultline-replay-"));
const at = (name: string) => join(folder, name);
const TAP = "blk.2.q_proj";
const FAULT = `linear.transposed@${TAP}`;
let beyond = 0;

beforeAll(async () => {
  const bench = await embedded();
  const { folder: made, own, node } = await bundled(bench, TAP, 0, FAULT);
  cpSync(made, at("bundle"), { recursive: true });
  beyond = own.beyondWorst;
  expect(node.op.kind).toBe("linear");
  const clean = Float32Array.from(bench.clean[0]?.values.get(TAP) ?? []);
  writeNpy(at("mended.npy"), "f4", [24, 256], clean);
  writeNpy(at("flat.npy"), "f4", [24 * 256], clean);
  writeNpy(at("doubles.npy"), "f8", [24, 256], Float64Array.from(clean));
  writeNpy(at("bytes.npy"), "u1", [24, 256], new Uint8Array(24 * 256));
  writeNpy(at("nan.npy"), "f4", [24, 256], clean.fill(Number.NaN, 0, 1));
  cpSync(at("bundle"), at("damaged"), { recursive: true });
  rmSync(at("damaged/weight-0.npy"));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await dropBundles();
});

function replay(...args: string[]) {
  const command = [PROGRAM, "replay", ...args];
  return spawnSync(process.execPath, command, { cwd: folder, encoding: "utf8" });
}

describe("replay", () => {
  it("fails with the stored output, and says where", () => {
    const { status, stdout, stderr } = replay("bundle");
    expect({ status, stderr }).toEqual({ status: 1, stderr: "" });
    expect(stdout).toMatch(/^blk\.2\.q_proj of step 0 \(linear, f32, \[24, 256\]\) of faultline-tiny-f16\.gguf\n/);
    expect(stdout).toMatch(/the output of test 1 is wrong: relative error 1\.\d+/);
    expect(stdout).toContain(`${beyond} of 6144 elements are further off than any right computation`);
    expect(stdout).toMatch(/\[\d+, \d+\] is \S+, expected \S+, may be off by/);
    expect(stdout).toContain("diagnosis: a planted fault");
  });

  it("is green with a mended one", () => {
    for (const file of ["mended.npy", "doubles.npy"]) {
      const { status, stdout, stderr } = replay("bundle", "--actual", file);
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stdout).toMatch(/npy is right: relative error \S+e-[78],/);
    }
  });

  it("NaN is never right", () => {
    const { status, stdout } = replay("bundle", "--actual", "nan.npy");
    expect(status).toBe(1);
    expect(stdout).toContain("1 element is not finite although the inputs are");
  });

  it("runs the op here, as it is and with the fault", () => {
    const ran = (...more: string[]) => {
      const { status, stdout } = replay("bundle", "--run", "--json", ...more);
      return { status, document: replaySchema.parse(JSON.parse(stdout)) };
    };
    const clean = ran();
    expect(clean.status).toBe(0);
    expect(clean.document).toMatchObject({
      tap: TAP,
      output: "run",
      verdict: "match",
      own_error: { verdict: "clean" },
    });
    const faulty = ran("--fault", FAULT);
    expect(faulty.status).toBe(1);
    expect(faulty.document).toMatchObject({ verdict: "divergent", own_error: { verdict: "proved" } });
  });

  const refused: readonly [message: RegExp, args: readonly string[]][] = [
    [/none\/bundle\.json: no such file/, ["none"]],
    [/mended\.npy\/bundle\.json: no such file/, ["mended.npy"]],
    [/damaged\/weight-0\.npy: no such file/, ["damaged"]],
    [/none\.npy: no such file/, ["bundle", "--actual", "none.npy"]],
    [/flat\.npy: shape \[6144\], the op gives \[24, 256\]/, ["bundle", "--actual", "flat.npy"]],
    [/bytes\.npy: elements of type \|u1/, ["bundle", "--actual", "bytes.npy"]],
    [/two outputs to judge/, ["bundle", "--run", "--actual", "mended.npy"]],
    [/--fault act\.relu: is planted in a run; add --run/, ["bundle", "--fault", "act.relu"]],
    [/act\.relu: no op of this run has it/, ["bundle", "--run", "--fault", "act.relu"]],
    [/token\.extra-bos: changes the tokens/, ["bundle", "--run", "--fault", "token.extra-bos"]],
  ];
  it.each(refused)("%s", (message, args) => {
    const { status, stdout, stderr } = replay(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^faultline: [^\n]+\n$/);
    expect(stderr).not.toContain("internal error");
  });
});

describe("docs/bundles.md", () => {
  const page = readFileSync(join(root, "docs/bundles.md"), "utf8");

  it("has an example that reads a bundle in numpy", () => {
    const [, program = ""] = /^```python\n(.*?)^```$/ms.exec(page) ?? [];
    writeFileSync(at("read.py"), program);
    const { status, stdout, stderr } = spawnSync(cached("python/bin/python"), ["read.py"], {
      cwd: folder,
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toBe(`True\n${beyond} elements are wrong\n`);
  });

  it("names every key of bundle.json and every file", () => {
    const facts = bundleSchema.parse(JSON.parse(readFileSync(at("bundle/bundle.json"), "utf8")));
    for (const key of Object.keys(facts)) if (key !== "schema") expect(page).toContain(`\`${key}\``);
    for (const file of [facts.expected, facts.allowed, facts.actual, "bundle.json"])
      expect(page).toContain(`\`${file}\``);
  });
});
