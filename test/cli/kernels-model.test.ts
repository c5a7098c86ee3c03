/** `faultline kernels MODEL --against-kernels DIR`: planted changes are named and judged rightly, and nothing is made of none. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { kernelsOfModel } from "../../src/cli/kernels-model.ts";
import { Gpu } from "../../src/engine/device.ts";
import { GpuLostError } from "../../src/engine/errors.ts";
import { Executor } from "../../src/engine/executor.ts";
import { plain } from "../../src/report/colors.ts";
import { kernelsModelJson, kernelsModelSchema, kernelsModelText } from "../../src/report/kernels-model.ts";
import { expectRefused, faultline } from "../support/cli.ts";

const root = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "faultline-versions-"));

type Change = readonly [file: string, find: string, replace: string];
const ORDER: Change = [
  "rms_norm.wgsl",
  "(lanes.x + lanes.z) + (lanes.y + lanes.w)",
  "(lanes.x + lanes.y) + (lanes.z + lanes.w)",
];
const scaled = (by: string): Change => ["swiglu.wgsl", "* up[i];", `* up[i] * select(1.0, ${by}, i == 77u);`];
const WRONG = scaled("1.001");

/** A folder of changed kernels, of nothing else, made where it is not there. */
function version(name: string, ...changes: readonly Change[]): string {
  const dir = join(folder, name);
  if (existsSync(dir)) return dir;
  mkdirSync(dir);
  for (const [file, find, replace] of changes) {
    const source = readFileSync(join(root, "kernels", file), "utf8");
    expect(source.split(find)).toHaveLength(2);
    writeFileSync(
      join(dir, file),
      source.replace(find, () => replace),
    );
  }
  return dir;
}

const order = () => version("order", ORDER);
const wrong = () => version("wrong", WRONG);

async function against(dir: string, options: { kernels?: string; time?: boolean; steps?: number } = {}) {
  const facts = await kernelsOfModel(
    "embedded",
    { ...{ device: "auto", time: false, quiet: true, steps: 2, againstKernels: dir }, ...options },
    "0",
  );
  return { facts, json: kernelsModelJson(facts), text: plain(kernelsModelText(facts)) };
}

describe("two versions of the kernels on the embedded model", () => {
  it("the same kernels give the same bits, and times that do not differ", async () => {
    const dir = join(folder, "same");
    cpSync(join(root, "kernels"), dir, { recursive: true });
    const { json, text } = await against(dir, { time: true, steps: 1 });
    expect(json).toMatchObject({ verdict: "same-bits", first: null, own: null, other: null, changed_kernels: [] });
    expect(json.ops).toBeGreaterThan(100);
    expect(json.chosen.own).toEqual(json.chosen.other);
    for (const part of [json.times?.prefill, json.times?.decode]) {
      expect(part?.ratio.low).toBeLessThanOrEqual(1);
      expect(part?.ratio.high).toBeGreaterThanOrEqual(1);
      expect(part?.ratio.pairs).toBeGreaterThanOrEqual(7);
    }
    expect(text).toMatch(/^same bits: all \d+ ops of faultline-tiny-f16\.gguf, .*no kernel differs\n/);
  }, 300_000);

  it("another order of sums: other bits, both right", async () => {
    const { facts, json, text } = await against(order());
    expect(json).toMatchObject({ verdict: "both-right", changed_kernels: ["rms_norm"], not_run: [] });
    expect(json.first).toMatchObject({ op: "rms_norm", one_sided: 0 });
    expect(json.other?.judged).toBeGreaterThan(0);
    expect([json.own?.faults, json.other?.faults]).toEqual([[], []]);
    expect(json.other?.first?.of_worst).toBeLessThan(1);
    expect(json.first?.same_kernel).toBe(false);
    expect(text).not.toContain("determinism");
    const unsteady = facts.first === null ? null : { ...facts.first, isTouched: false };
    expect(plain(kernelsModelText({ ...facts, first: unsteady }))).toContain("see 'faultline determinism'");
    expect(text).toMatch(/^other bits, both right: bits differ from blk\.\d\.(attn|ffn)_norm \(step 0\) on; /);
  });

  it("one wrong element is named with its place, its step and how far it is off", async () => {
    const { json, text } = await against(wrong());
    expect(json.verdict).toBe("wrong");
    expect(json.first).toMatchObject({
      ...{ tap: "blk.0.ffn_act", step: 0, changed: 1, rows: [0, 0], columns: [77, 77] },
      largest: { row: 0, column: 77 },
    });
    expect(json.other?.first?.of_worst).toBeGreaterThan(100);
    expect(json.own?.faults).toEqual([]);
    // In each layer of each step.
    expect(json.other?.faults).toHaveLength(12);
    expect(text).toMatch(/^other bits, .*wrong is wrong at blk\.0\.ffn_act \(step 0\): [\d.]+ x its bound; /);
  });

  it("a wrong op is named behind one that is right and differs earlier", async () => {
    const { json } = await against(version("both", ORDER, scaled("1.5")));
    expect(json.verdict).toBe("wrong");
    expect(json.other?.faults.every(({ op }) => op === "swiglu")).toBe(true);
    expect(json.other?.faults).toHaveLength(12);
    expect(json.own?.faults).toEqual([]);
  });

  it("a wrong version in the place of this program's is told from the other", async () => {
    const { json } = await against(order(), { kernels: wrong() });
    expect(json).toMatchObject({ verdict: "wrong", own_folder: join(folder, "wrong") });
    expect([json.own?.faults.length, json.other?.faults.length]).toEqual([12, 0]);
  });

  it("NaN is a finding", async () => {
    const { json, text } = await against(version("nan", scaled("bitcast<f32>(0x7fc00000u | min(size.count, 1u))")));
    expect(json).toMatchObject({ verdict: "wrong", first: { tap: "blk.0.ffn_act", one_sided: 1, largest: null } });
    expect(json.other?.faults[0]).toMatchObject({ tap: "blk.0.ffn_act", step: 0, non_finite: 1 });
    expect(text).toMatch(/1 elements are NaN or Inf/);
  });

  it("a cache that is stored wrongly shows where it is read", async () => {
    const { json } = await against(
      version("cache", [
        "kv_store.wgsl",
        "= x[token * COLUMNS + column];",
        "= x[token * COLUMNS + column] + (1u << 22u);",
      ]),
    );
    expect(json).toMatchObject({ verdict: "wrong", first: { op: "attn_scores" }, own: { faults: [] } });
    expect(new Set(json.other?.faults.map(({ op }) => op))).toEqual(new Set(["attn_scores", "attn_ctx"]));
  });

  it("a `linear` of its own is what runs, on every adapter", async () => {
    const { json, text } = await against(
      version("linear", [
        "weight_blocks.wgsl",
        "y[t * shape.all_rows + n] = sum;",
        "y[t * shape.all_rows + n] = sum * f32(n % 3u);",
      ]),
    );
    expect(json).toMatchObject({ verdict: "wrong", first: { tap: "blk.0.q_proj", op: "linear" }, own: { faults: [] } });
    expect(json.chosen.other).not.toEqual(json.chosen.own);
    expect(json.products.other).toBe("linear");
    expect(text.includes("matrices go through linear_subgroup of this program and linear of")).toBe(
      json.products.own === "linear_subgroup",
    );
  }, 180_000);

  it("what measures is this program's own, and a folder's is said not to be run", async () => {
    const { json, text } = await against(
      version("measures", ["row_statistics.wgsl", "c.hash_low += fmix32", "c.hash_low -= fmix32"]),
    );
    expect(json).toMatchObject({ verdict: "same-bits", not_run: ["row_statistics"] });
    expect(text).toMatch(/no op of this run went through row_statistics/);
  });
});

describe("the command", () => {
  it("exits with 1 where an op is wrong, prints one document, and adds to a page", () => {
    const page = join(folder, "page.md");
    const dir = wrong();
    const run = ["kernels", "embedded", "--against-kernels", dir, "--no-time", "-q", "-n", "0", "--tokens", "1,2,3"];
    const { status, stdout } = faultline(...run, "--json", "--summary", page);
    expect(status).toBe(1);
    expect(kernelsModelSchema.parse(JSON.parse(stdout))).toMatchObject({
      verdict: "wrong",
      prompt: [1, 2, 3],
      steps: 0,
    });
    expect(readFileSync(page, "utf8")).toMatch(/^## Kernels on "faultline-tiny-f16\.gguf": fail\n/);
    const right = faultline("kernels", "embedded", "--against-kernels", order(), "--no-time", "-q");
    expect([right.status, plain(right.stdout).split(":")[0]]).toEqual([0, "other bits, both right"]);
  }, 180_000);

  it("what cannot be done is refused in one line", () => {
    const page = join(folder, "none.md");
    const run = (dir: string, ...rest: string[]) => [
      "kernels",
      "embedded",
      "--against-kernels",
      dir,
      "--summary",
      page,
      ...rest,
    ];
    const empty = version("empty");
    const damaged = version("damaged", ["rope.wgsl", "fn rope", "function rope"]);
    const unbound = version("unbound", ["rope.wgsl", "@binding(2)", "@binding(7)"]);
    const folders = version("folders");
    mkdirSync(join(folders, "rope.wgsl"));
    const summary = (path: string) => ["kernels", "--filter", "add 3x31", "--summary", path];
    for (const [args, words] of [
      [run(folders), /folders\/rope\.wgsl: cannot be read \(EISDIR.*give a kernel in WGSL/],
      [summary(folders), /--summary .*folders: is a folder; give a file/],
      [summary(join(folder, "none", "page.md")), /none\/page\.md: cannot be written: ENOENT.*give another file/],
      [summary("README.md/page.md"), /README\.md\/page\.md: cannot be written: ENOTDIR.*give another file/],
      [run(empty), /empty: has none of weight_blocks\.wgsl, .*give a folder of kernels/],
      [run(join(folder, "absent")), /absent: no such folder; give a folder of kernels/],
      [run(damaged), /damaged\/rope\.wgsl:\d+: /],
      [
        run(unbound),
        /unbound: does not take faultline-tiny-f16\.gguf: .*bindings, constants and workgroups are those of kernels\//,
      ],
      [run(order(), "--filter", "add"), /--filter goes with single kernels; leave embedded out/],
      [run(order(), "--save", join(folder, "h.arrow")), /--save goes with single kernels/],
      [run(order(), "--tokens", "999999"), /outside the vocabulary/],
      [["kernels", "embedded"], /give the other with --against-kernels/],
      [["kernels", "--tokens", "1"], /--tokens goes with a model; give one/],
      [["kernels", join(folder, "none.gguf"), "--against-kernels", order()], /none\.gguf: /],
    ] as const) {
      expectRefused(args, words);
    }
    expect(() => readFileSync(page)).toThrow();
  }, 300_000);
});

describe("a device that is lost in the middle", () => {
  afterEach(() => vi.restoreAllMocks());

  it("ends the run with its error, accuses no kernel, and gives no verdict", async () => {
    let device: GPUDevice | undefined;
    const open = Gpu.open;
    vi.spyOn(Gpu, "open").mockImplementation(async (...args) => {
      const gpu = await open.apply(Gpu, args);
      device = gpu.device;
      return gpu;
    });
    const step = Executor.prototype.step;
    let steps = 0;
    vi.spyOn(Executor.prototype, "step").mockImplementation(function (this: Executor, ...args) {
      // In the second version's run.
      if (++steps === 5) device?.destroy();
      return step.apply(this, args);
    });
    await expect(against(wrong())).rejects.toThrow(GpuLostError);
  });
});
