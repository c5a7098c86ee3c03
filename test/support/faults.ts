/** Runs with planted faults for tests: a model's weights are loaded once, every run has an executor of its own. */
import { join } from "node:path";
import { Executor, type ExecutorOptions } from "../../src/engine/executor.ts";
import { parseFaults } from "../../src/engine/faults/parse.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import { type RunStep, runFull, someTokens, testGpu } from "./engine.ts";

export const STEPS = [someTokens(24), [7], [300]];
export const SETTINGS = { dtype: "f32", kvCache: true } as const;

/** A model with its weights on the GPU and its clean run. */
export class Bench {
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
  run(...texts: string[]): Promise<RunStep[]> {
    return this.runWith({}, ...texts);
  }

  async runWith(changes: Partial<ExecutorOptions>, ...texts: string[]): Promise<RunStep[]> {
    const faults = parseFaults(texts, this.model, SETTINGS);
    const options = { capacity: 32, leastHalfBytes: 1 << 20, faults, ...changes };
    return runFull(new Executor(await testGpu(), this.model, this.#weights, options), this.steps);
  }
}

/** The first record that is not the same to the bit. */
export function firstDifference(clean: readonly RunStep[], faulty: readonly RunStep[]) {
  for (const [step, { records }] of clean.entries()) {
    for (const [i, record] of records.entries()) {
      if (faulty[step]?.records[i]?.hash !== record.hash) return { step, tap: record.tap };
    }
  }
  return null;
}

const holder = new Map<string, Promise<Bench>>();
/** The embedded model, run over these steps. */
export function embedded(steps = STEPS): Promise<Bench> {
  const key = JSON.stringify(steps);
  const bench =
    holder.get(key) ??
    openModel(join(import.meta.dirname, "../..", "models/faultline-tiny-f16.gguf")).then((model) =>
      Bench.of(model, steps),
    );
  holder.set(key, bench);
  return bench;
}
