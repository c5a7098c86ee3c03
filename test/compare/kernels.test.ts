/** `faultline kernels`: clean kernels pass at every shape and on every input, and no bug of a kernel does. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KernelCase, kernelCases, type OpKernelCase, opCases } from "../../src/compare/kernels/cases.ts";
import { type ChoreCase, choreCases } from "../../src/compare/kernels/chores.ts";
import { judgeKernel, type Reason } from "../../src/compare/kernels/judge.ts";
import { storeFault } from "../../src/engine/chore.ts";
import { Gpu } from "../../src/engine/device.ts";
import type { Fault } from "../../src/engine/faults/fault.ts";
import { parseFault } from "../../src/engine/faults/parse.ts";
import { FAULTS } from "../../src/engine/faults/table.ts";
import { runKernel } from "../../src/engine/kernel-run.ts";
import { Pipelines } from "../../src/engine/kernels.ts";
import { InputError } from "../../src/trace/errors.ts";

let gpu: Gpu;
let pipelines: Pipelines;
beforeAll(async () => {
  gpu = await Gpu.open("auto");
  pipelines = new Pipelines(gpu);
});
afterAll(() => gpu.close());

const judged = async (of: KernelCase, fault?: Fault) =>
  judgeKernel(of, await runKernel(gpu, pipelines, fault === undefined ? of : { ...of, fault }, 0));

describe("clean kernels", () => {
  it("pass every case: within the derived bound, inside their borders, the same bits twice", async () => {
    const failed: string[] = [];
    let count = 0;
    for (const each of kernelCases()) {
      const { verdict, reasons } = await judged(each);
      if (verdict === "fail") failed.push(`${each.id}: ${reasons.join()}`);
      count++;
    }
    expect(failed).toEqual([]);
    expect(count).toBeGreaterThan(900);
  });

  it("cases have names of their own, and the same inputs in every run", () => {
    const ids = [...kernelCases()].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const once = (id: string) =>
      [...kernelCases((each) => each === id)].map((each) => ("chore" in each ? each.chore : each.inputs));
    for (const id of [ids[0] ?? "", ids[200] ?? "", ids.at(-1) ?? ""]) expect(once(id)).toEqual(once(id));
  });
});

/** Bugs of what an op is given, not of its kernel: whole runs find them. */
const OF_A_RUN: Readonly<Record<string, string>> = {
  "norm.other-weight": "another op's weight",
  "linear.neighbour-layer": "another layer's weight",
  "linear.swap-kv": "another projection's weight",
  "linear.swap-gate-up": "another projection's weight",
  "rope.scaling-missing": "these cases scale nothing",
  "rope.k-unrotated": "an op left out of the run",
  "attn.mask-missing": "planted from queries and keys; the softmax alone is given masked scores (below)",
  "attn.mask-one-ahead": "the same",
};

describe("bugs of a kernel", () => {
  const families = ["quant.", "linear.", "norm.", "act.", "ffn_act.", "rope.", "attn."];
  const ids = FAULTS.map(({ id }) => id).filter((id) => families.some((family) => id.startsWith(family)));

  it.each(ids.filter((id) => OF_A_RUN[id] === undefined))("%s does not pass", async (id) => {
    let tried = 0;
    for (const each of opCases((name) => / (normal|wide) f32$/.test(name))) {
      const fault = planted(id, each);
      if (fault === null) continue;
      const judgement = await judgedOrNull(each, fault);
      if (judgement === null) continue;
      tried++;
      if (judgement.verdict === "fail") return;
    }
    expect.fail(`${id} passed ${tried} cases`);
  });

  function planted(id: string, { op, model }: OpKernelCase): Fault | null {
    try {
      return parseFault(`${id}@${op.tap}`, model);
    } catch (error) {
      if (error instanceof InputError) return null;
      throw error;
    }
  }

  async function judgedOrNull(of: KernelCase, fault: Fault) {
    try {
      return await judged(of, fault);
    } catch (error) {
      if (error instanceof InputError) return null;
      throw error;
    }
  }
});

/** A change of an op's kernel, planted as a fault is. */
const edited = ({ op }: OpKernelCase, find: string, replace: string): Fault => ({
  ...{ text: "edit", tap: op.tap, parameter: 0 },
  kind: {
    ...{ id: "edit", what: "", kinds: [op.kind], at: op.tap },
    compute: (_site, clean) => clean.map((dispatch) => ({ ...dispatch, edits: [[find, replace]] })),
  },
});

function caseOf(id: string): OpKernelCase {
  const [found] = [...opCases((each) => each === id)];
  if (found === undefined) throw new Error(`no case ${id}`);
  return found;
}

/** A change of the kernel of a chore. */
const editedChore = (find: string, replace: string): Fault => ({
  ...{ text: "edit", tap: null, parameter: 0 },
  kind: {
    ...{ id: "edit", what: "", kinds: [], at: "" },
    store: (_site, clean) => [{ ...clean, edits: [[find, replace]] }],
  },
});

const choreOf = (id: string): ChoreCase => {
  const [found] = [...choreCases((each) => each === id)];
  if (found === undefined) throw new Error(`no case ${id}`);
  return found;
};

/** An edit of a kernel, cases that must fail with it, and the reason. */
type Wrong = readonly [what: string, id: string, find: string, replace: string, reason: Reason];

describe("bugs of kernels that are no op's", () => {
  const faults = FAULTS.filter(({ store }) => store !== undefined).map(({ id }) => id);
  it.each(faults.filter((id) => id !== "kv.k-unrotated"))("%s does not pass", async (id) => {
    let tried = 0;
    for (const each of choreCases((name) => /^kv_store .* normal /.test(name))) {
      const fault = storeFault(id, each.chore);
      if (fault === null) continue;
      tried++;
      expect((await judged(each, fault)).verdict, each.id).toBe("fail");
    }
    expect(tried).toBeGreaterThan(2);
  });
  it("a fault that takes another op's rows is refused", async () => {
    const store = choreOf("kv_store 1x192@37/64 normal f32");
    const fault = storeFault("kv.k-unrotated", store.chore);
    await expect(judged(store, fault ?? undefined)).rejects.toThrow(InputError);
    expect(storeFault("kv.stale", choreOf("kv_store 5x33@6/13 normal f32").chore)).toBeNull();
  });

  const STORE = "kv_store 5x33@6/13 normal f32";
  const COUNT = "if (i < size.count)";
  it.each<Wrong>([
    ["stores a slot too far", STORE, "(step.pos_start + token)", "(step.pos_start + token + 1u)", "border"],
    ["stores a column too few", STORE, "column < COLUMNS", "column + 1u < COLUMNS", "unwritten"],
    ["stores a column too many", STORE, "column < COLUMNS", "column <= COLUMNS", "border"],
    ["stores rows of another width", STORE, "x[token * COLUMNS", "x[token * (COLUMNS - 1u)", "bits"],
    [
      "stores numbers, not bits",
      "kv_store 5x33@6/13 edges f32",
      "= x[token * COLUMNS + column];",
      "= select(x[token * COLUMNS + column], 0x7fc00000u, (x[token * COLUMNS + column] & 0x7fffffffu) > 0x7f800000u);",
      "bits",
    ],
    ["rounds one too few", "round_half 257 normal f32", COUNT, "if (i + 1u < size.count)", "bits"],
    ["rounds one too many", "round_half 257 normal f32", COUNT, "if (i <= size.count)", "border"],
    ["rounds the first line alone", "round_half 524291 normal f32", "id.x + id.y * groups.x * WIDTH", "id.x", "bits"],
  ])("%s: fails", async (_what, id, find, replace, reason) => {
    const each = choreOf(id);
    expect((await judged(each)).verdict).toBe("pass");
    const { verdict, reasons } = await judged(each, editedChore(find, replace));
    expect([verdict, reasons.includes(reason)]).toEqual(["fail", true]);
  });

  const HALVES = "round_half 253952 halves f32";
  it.each([
    ["ties away from zero", "+ ((magnitude >> 13u) & 1u)", "+ 1u"],
    ["ties to odd", "+ ((magnitude >> 13u) & 1u)", "+ (1u - ((magnitude >> 13u) & 1u))"],
    ["cut off", "magnitude + 0xfffu + ((magnitude >> 13u) & 1u)", "magnitude"],
    ["ties of subnormal halves away from zero", "(low == middle && (steps & 1u) == 1u)", "low == middle"],
    ["subnormal halves cut off", "if (low > middle ||", "if ((false && low > middle) ||"],
    ["subnormal halves to zero", "bitcast<u32>(f32(steps) * 5.9604644775390625e-8)", "bitcast<u32>(f32(steps) * 0.0)"],
    ["65504 as the end of the range", "magnitude >= 0x477ff000u", "magnitude >= 0x477fe001u"],
    ["65536 as the end of the range", "magnitude >= 0x477ff000u", "magnitude >= 0x47800000u"],
    ["no infinity", "sign | 0x7f800000u; } // 65520", "sign | 0x477fe000u; } // 65520"],
    ["no sign", "return sign | ((magnitude", "return ((magnitude"],
  ])("half rounding with %s fails", async (_what, find, replace) => {
    const { reasons } = await judged(choreOf(HALVES), editedChore(find, replace));
    expect(reasons).toContain("bits");
  });

  const STATS = "row_statistics 7x65/stats normal f32";
  const SKETCH = "row_statistics 7x65/sketch normal f32";
  it.each<Wrong>([
    ["leaves the last column out", STATS, "i < row.columns; i += LANES", "i + 1u < row.columns; i += LANES", "bits"],
    ["sums a column too many", STATS, "i < row.columns; i += LANES", "i <= row.columns + 3u; i += LANES", "bound"],
    ["starts at the first row of the table", STATS, "batch.first + min(", "0u * batch.first + min(", "bits"],
    ["hashes columns, not elements", STATS, "bits, i, row.first + i)", "bits, i, i)", "bits"],
    ["keeps the last maximum", "row_statistics 9x257/stats edges f32", "b.column < a.column", "false", "bits"],
    [
      "misses a NaN",
      "row_statistics 7x65/stats nan f32",
      "magnitude > 0x7f800000u)",
      "magnitude > 0x7fc00000u)",
      "bits",
    ],
    ["takes 0 and -0 for one", "row_statistics 9x257/stats edges f32", "magnitude == 0u);\n", "bits == 0u);\n", "bits"],
    [
      "sums what is not finite",
      "row_statistics 7x65/stats inf f32",
      "(bits & 0x7fffffffu) < 0x7f800000u",
      "true",
      "non-finite",
    ],
    ["does not scale", "row_statistics 7x65/stats subnormal f32", "exponent > 50 || exponent < -50", "false", "bits"],
    ["has a tree without its last step", STATS, "half > 0u; half /= 2u", "half > 1u; half /= 2u", "bound"],
    ["leaves the record's end", STATS, "records[at + 11u] = bitcast<u32>(exponent);", "", "unwritten"],
    [
      "sketches with signs of other columns",
      SKETCH,
      "fmix32(i ^ SKETCH_SEED)",
      "fmix32((i + 1u) ^ SKETCH_SEED)",
      "bound",
    ],
    [
      "ends with the grid's first line",
      "row_statistics 65537x1/stats normal f32",
      "group.x + group.y * 65535u",
      "group.x",
      "unwritten",
    ],
  ])("statistics: a kernel that %s fails", async (_what, id, find, replace, reason) => {
    const each = choreOf(id);
    expect((await judged(each)).verdict).toBe("pass");
    const { verdict, reasons } = await judged(each, editedChore(find, replace));
    expect([verdict, reasons.includes(reason)], reasons.join()).toEqual(["fail", true]);
  });
});

describe("what a kernel touches", () => {
  const LINE = "if (i < size.count) { y[i] = a[i] + b[i]; }";
  it.each<[Reason, string]>([
    ["border", "if (i < size.count + 1u) { y[i] = a[i] + b[i]; }"],
    ["unwritten", "if (i + 3u < size.count) { y[i] = a[i] + b[i]; }"],
    ["non-finite", "if (i < size.count) { y[i] = (a[i] + b[i]) / f32(i); }"],
    // What memory held before, which differs between the two runs.
    ["unstable", "if (i < size.count) { y[i] = a[i] + b[i] + f32((bitcast<u32>(y[i]) >> 1u) & 1u); }"],
  ])("%s is a reason to fail", async (reason, line) => {
    const add = caseOf("add 5x33 normal f32");
    const { verdict, reasons } = await judged(add, edited(add, LINE, line));
    expect([verdict, reasons.includes(reason)]).toEqual(["fail", true]);
  });

  it("a kernel that hides a NaN fails", async () => {
    const add = caseOf("add 5x33 nan f32");
    expect((await judged(add)).verdict).toBe("pass");
    const { reasons } = await judged(
      add,
      edited(add, "y[i] = a[i] + b[i];", "y[i] = select(0.0, a[i] + b[i], i != size.count / 2u);"),
    );
    expect(reasons).toContain("absorbed");
  });

  it.each([
    ["one key too many", "step.pos_start + token + 2u"],
    ["no mask", "step.keys"],
    ["one key too few", "max(1u, step.pos_start + token)"],
  ])("a softmax with %s fails", async (_what, seen) => {
    const softmax = caseOf("causal_softmax 2/1x33x16@31 normal f32");
    const { verdict } = await judged(softmax, edited(softmax, "step.pos_start + token + 1u", seen));
    expect(verdict).toBe("fail");
  });
});
