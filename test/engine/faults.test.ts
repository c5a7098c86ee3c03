/**
 * Every fault, planted: what came before is untouched to the bit, the planted op differs and is no longer what the oracle makes
 * of its inputs, and all other ops are.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Executor } from "../../src/engine/executor.ts";
import { editDistance, parseFault, parseFaults } from "../../src/engine/faults/parse.ts";
import { FAULTS } from "../../src/engine/faults/table.ts";
import { faultRow } from "../../src/engine/faults/taps.ts";
import { faultyTokens } from "../../src/engine/faults/tokens.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import { recompute, relativeL2 } from "../../src/oracle/recompute.ts";
import { faultsMarkdown } from "../../src/report/faults.ts";
import { InputError } from "../../src/trace/errors.ts";
import { type RunStep, runFull, someTokens, syntheticModel, testGpu } from "../support/engine.ts";

const root = join(import.meta.dirname, "../..");
const STEPS = [someTokens(24), [7], [300]];
const SETTINGS = { dtype: "f32", kvCache: true } as const;

/** What an op adds by rounding: measured below 1e-6 on clean runs. */
const ROUNDING = 3e-6;
/** A planted op is off by more than this. */
const VISIBLE = 1e-5;
/** Faults whose effect is smaller in these runs, with the reason. The planted op's bits still differ. */
const SMALL: Readonly<Record<string, string>> = {};

/** A model with its weights on the GPU and its clean run. */
class Bench {
  readonly model: Model;
  readonly steps: readonly (readonly number[])[];
  readonly clean: RunStep[] = [];
  readonly #weights: GpuWeights;

  private constructor(model: Model, weights: GpuWeights, steps: readonly (readonly number[])[]) {
    this.model = model;
    this.steps = steps;
    this.#weights = weights;
  }

  static async of(model: Model, steps: readonly (readonly number[])[] = STEPS): Promise<Bench> {
    const weights = await GpuWeights.load(await testGpu(), model.file, model.weights.keys());
    const bench = new Bench(model, weights, steps);
    bench.clean.push(...(await bench.run()));
    return bench;
  }

  /** A run on an executor of its own. */
  async run(...texts: string[]): Promise<RunStep[]> {
    const faults = parseFaults(texts, this.model, SETTINGS);
    const options = { capacity: 32, leastHalfBytes: 1 << 20, faults };
    return runFull(new Executor(await testGpu(), this.model, this.#weights, options), this.steps);
  }

  /** Plants a fault, and expects that it shows where it was planted and nowhere else. */
  async expectShown(text: string): Promise<void> {
    const { tap, kind, text: canonical } = parseFault(text, this.model);
    const faulty = await this.run(text);
    expect(firstDifference(this.clean, faulty), canonical).toEqual({ step: kind.decoding ? 1 : 0, tap });
    let own = 0;
    for (const { step, node, expected, actual } of recompute(this.model, faulty)) {
      const error = relativeError(expected, actual);
      if (node.op.tap === tap) own = Math.max(own, error);
      else expect(error, `${canonical}: ${node.op.tap} in step ${step}`).toBeLessThan(ROUNDING);
    }
    if (kind.id in SMALL) expect(own, canonical).toBeLessThanOrEqual(VISIBLE);
    else expect(own, canonical).toBeGreaterThan(VISIBLE);
  }
}

function firstDifference(clean: readonly RunStep[], faulty: readonly RunStep[]) {
  for (const [step, { records }] of clean.entries()) {
    for (const [i, record] of records.entries()) {
      if (faulty[step]?.records[i]?.hash !== record.hash) return { step, tap: record.tap };
    }
  }
  return null;
}

/** Relative L2 error of what is finite; infinite where one side alone is not. */
function relativeError(expected: ArrayLike<number>, actual: ArrayLike<number>): number {
  const both = Array.from(expected, (e, i) => [e, actual[i] as number] as const);
  if (both.some(([e, a]) => Number.isFinite(e) !== Number.isFinite(a))) return Number.POSITIVE_INFINITY;
  const finite = both.filter(([e]) => Number.isFinite(e));
  return relativeL2(
    finite.map(([e]) => e),
    finite.map(([, a]) => a),
  );
}

const holder: { embedded?: Promise<Bench> } = {};
function embedded(): Promise<Bench> {
  holder.embedded ??= openModel(join(root, "models/faultline-tiny-f16.gguf")).then((model) => Bench.of(model));
  return holder.embedded;
}

/** Faults that the embedded model cannot show, with one that can. */
const OTHERWISE: Readonly<Record<string, () => Promise<Model>>> = {
  "linear.bias-missing": () => syntheticModel({ biases: true }),
  "rope.scaling-missing": () => syntheticModel({ ropeFactors: Float32Array.from({ length: 8 }, (_, i) => 1 + i) }),
  "head.wrong-matrix": () => syntheticModel({ untied: true }),
};
/** With a parameter, where the usual one shows nothing in these runs. */
const PARAMETERS: Readonly<Record<string, string>> = { "precision.f16-overflow": ":1" };

const planted = FAULTS.filter(({ id, tokens }) => tokens === undefined && !id.startsWith("quant."));

describe("on the embedded model", () => {
  it.each(planted.filter(({ id }) => !(id in OTHERWISE)).map(({ id }) => id))("%s", async (id) => {
    await (await embedded()).expectShown(`${id}${PARAMETERS[id] ?? ""}`);
  });
});
