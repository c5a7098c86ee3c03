/** Planted faults are named at the right tap: every fault that shows, on the embedded model, against the oracle's trace. */
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { compareTraces } from "../../src/compare/compare.ts";
import { Executor } from "../../src/engine/executor.ts";
import { parseFaults } from "../../src/engine/faults/parse.ts";
import { FAULTS } from "../../src/engine/faults/table.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import { OracleRunner } from "../../src/oracle/runner.ts";
import { runFull, testGpu } from "../support/engine.ts";
import { atLevel, traceFrom, type Unnumbered } from "../support/traces.ts";

/** "<s> In the beginning God created the heaven and", and what follows. */
const STEPS = [[256, 1057, 261, 1907, 1079, 415, 280, 593, 285, 261, 860, 271], [261], [725]];
const FULL = { level: "full", wants: () => true } as const;
let model: Model;
let weights: GpuWeights;
let expected: Unnumbered[];

beforeAll(async () => {
  model = await openModel(join(import.meta.dirname, "../..", "models/faultline-tiny-f16.gguf"));
  weights = await GpuWeights.load(await testGpu(), model.file, model.weights.keys());
  const oracle = new OracleRunner(model);
  expected = [];
  let posStart = 0;
  for (const [number, tokens] of STEPS.entries()) {
    expected.push(...(await oracle.step(posStart, tokens, FULL)).records(number));
    posStart += tokens.length;
  }
});

async function actual(...faults: string[]): Promise<Unnumbered[]> {
  const planted = parseFaults(faults, model, { dtype: "f32", kvCache: true });
  const executor = new Executor(await testGpu(), model, weights, {
    capacity: 16,
    leastHalfBytes: 1 << 20,
    faults: planted,
  });
  return (await runFull(executor, STEPS)).flatMap((step) => [...step.records]);
}

async function firstOrigin(records: readonly Unnumbered[], level: "full" | "sketch" | "stats") {
  const traces = [
    await traceFrom(atLevel(expected, level), STEPS),
    await traceFrom(atLevel(records, level), STEPS),
  ] as const;
  const { verdict, ops } = await compareTraces(...traces);
  const origin = ops.find((op) => op.isOrigin);
  return { verdict, tap: origin?.tap ?? null, step: origin?.step ?? null };
}

/** What needs another model (quantised, with biases, with other shapes) is tested in test/engine/faults.test.ts. */
function plantable(id: string): string | null {
  try {
    return parseFaults([id], model, { dtype: "f32", kvCache: true })[0]?.tap ?? null;
  } catch {
    return null;
  }
}

/** Faults that this model and prompt hardly feel: what they change lies within what rounding explains. A match is right then. */
const NOT_FELT: Readonly<Record<string, string>> = {
  "norm.eps": "1e-6 for 1e-5 beside a mean square of 100",
  "norm.eps-outside": "1e-5 beside an RMS of 10",
  "attn.softmax-no-max": "no score overflows without it",
  "precision.f16-overflow": "nothing exceeds 65504",
  "precision.flush-subnormals": "subnormals weigh nothing in a row",
};

/** The same kinds of fault where they are felt. */
const FELT = ["norm.eps@blk.2.attn_norm:1", "norm.eps@blk.0.attn_norm:1e-4"];

describe("a planted fault is the first origin", () => {
  it("and a clean run has none", async () => {
    const records = await actual();
    for (const level of ["full", "sketch", "stats"] as const)
      expect(await firstOrigin(records, level)).toMatchObject({ verdict: "match", tap: null });
  });

  const ids = [...FAULTS.filter(({ tokens }) => tokens === undefined).map(({ id }) => id), ...FELT];
  let [planted, byStatistics] = [0, 0];
  for (const id of ids) {
    it(id, async ({ skip }) => {
      const tap = plantable(id);
      if (tap === null) return skip("changes nothing in this model");
      const records = await actual(id);
      if (NOT_FELT[id] !== undefined)
        return expect(await firstOrigin(records, "full")).toMatchObject({ verdict: "match" });
      expect((await firstOrigin(records, "full")).tap).toBe(tap);
      expect((await firstOrigin(records, "sketch")).tap).toBe(tap);
      planted++;
      if ((await firstOrigin(records, "stats")).tap === tap) byStatistics++;
    });
  }

  it("by statistics alone in most cases", () => {
    expect(planted).toBeGreaterThan(60);
    expect(byStatistics / planted).toBeGreaterThan(0.9);
  });
});
