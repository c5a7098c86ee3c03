/** Options -> something that runs steps, on the GPU or in the oracle. */
import { Gpu } from "../engine/device.ts";
import { Executor } from "../engine/executor.ts";
import type { Fault } from "../engine/faults/fault.ts";
import type { StepRunner } from "../engine/steps.ts";
import { GpuWeights } from "../engine/weights.ts";
import type { Model } from "../model/model.ts";
import { BLOCKS_OF_32 } from "../oracle/arithmetic.ts";
import { OracleRunner } from "../oracle/runner.ts";
import { InputError } from "../trace/errors.ts";
import type { EngineOptions } from "./options.ts";
import { UNWATCHED, type Watch } from "./progress.ts";

/** What this program's engine says of itself in a manifest. */
export const OWN_SETTINGS = { rope_table: "f64, rounded to f32", sum_order: BLOCKS_OF_32 };

export interface Engine {
  readonly runner: StepRunner;
  /** What it runs on, for people. */
  readonly device: string;
  readonly dtype: string;
  /** Facts for the manifest. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** Absent for this program's own. */
  readonly producer?: { readonly name: string; readonly version: string };
  /** Absent where there is no GPU: the oracle. */
  readonly gpu?: { readonly gpu: Gpu; readonly weights: GpuWeights; readonly executor: Executor };
  close(): void | Promise<void>;
}

/** Positions and longest step of a run: the prompt, or without a KV cache the whole sequence. */
export function sizesOf(options: EngineOptions, prompt: number, steps: number) {
  return { capacity: prompt + steps, longestStep: options.kvCache ? prompt : prompt + steps };
}

/** Brings up the engine for sequences of `capacity` positions and steps of at most `longestStep` rows, with `faults` planted. */
export async function openEngine(
  model: Model,
  options: EngineOptions,
  { capacity, longestStep }: { readonly capacity: number; readonly longestStep: number },
  watch: Watch = UNWATCHED,
  faults: readonly Fault[] = [],
): Promise<Engine> {
  if (options.device === "oracle") {
    if (options.dtype !== "f32") throw new InputError("--dtype f16 is for adapters; the oracle computes in f64");
    const settings = { rope_table: "f64", sum_order: "serial" };
    return { runner: new OracleRunner(model), device: "oracle (f64, CPU)", dtype: "f64", settings, close: () => {} };
  }
  const gpu = await Gpu.open(options.device);
  const progress = watch("weights", "MiB");
  const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20);
  try {
    const weights = await GpuWeights.load(gpu, model.file, model.weights.keys(), {
      progress: (done, total) => progress.update(mebibytes(done), mebibytes(total)),
    });
    const { dtype } = options;
    const executor = new Executor(gpu, model, weights, { capacity, maxTokens: longestStep, dtype, faults });
    return {
      runner: executor,
      device: gpu.adapter.description,
      dtype,
      settings: OWN_SETTINGS,
      gpu: { gpu, weights, executor },
      close: () => gpu.close(),
    };
  } catch (error) {
    gpu.close();
    throw error;
  } finally {
    progress.stop();
  }
}
