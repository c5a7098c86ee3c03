/** `faultline kernels`: clean kernels pass at every shape and on every input, and no bug of a kernel does. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KernelCase, kernelCases } from "../../src/compare/kernels/cases.ts";
import { judgeKernel, type Reason } from "../../src/compare/kernels/judge.ts";
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
    expect(count).toBeGreaterThan(600);
  });

  it("cases have names of their own, and the same inputs in every run", () => {
    const ids = [...kernelCases()].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const once = (id: string) => [...kernelCases((each) => each === id)][0];
    for (const id of [ids[0] ?? "", ids[200] ?? "", ids.at(-1) ?? ""])
      expect(once(id)?.inputs).toEqual(once(id)?.inputs);
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
    for (const each of kernelCases((name) => / (normal|wide) f32$/.test(name))) {
      const fault = planted(id, each);
      if (fault === null) continue;
      const judgement = await judgedOrNull(each, fault);
      if (judgement === null) continue;
      tried++;
      if (judgement.verdict === "fail") return;
    }
    expect.fail(`${id} passed ${tried} cases`);
  });

  function planted(id: string, { op, model }: KernelCase): Fault | null {
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
const edited = ({ op }: KernelCase, find: string, replace: string): Fault => ({
  ...{ text: "edit", tap: op.tap, parameter: 0 },
  kind: {
    ...{ id: "edit", what: "", kinds: [op.kind], at: op.tap },
    compute: (_site, clean) => clean.map((dispatch) => ({ ...dispatch, edits: [[find, replace]] })),
  },
});

function caseOf(id: string): KernelCase {
  const [found] = [...kernelCases((each) => each === id)];
  if (found === undefined) throw new Error(`no case ${id}`);
  return found;
}

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
