/** The engine for tests: one device for the process, models from synthetic files. */
import { Gpu } from "../../src/engine/device.ts";
import { Executor, type ExecutorOptions } from "../../src/engine/executor.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import type { TraceRecord } from "../../src/trace/record.ts";
import type { StepValues } from "./recompute.ts";
import { type SyntheticLlama, syntheticLlamaFile } from "./synthetic-llama.ts";

const holder: { gpu?: Promise<Gpu> } = {};

/** The device of this process. Throws where there is none: `npm run setup` installs a software driver. */
export function testGpu(): Promise<Gpu> {
  holder.gpu ??= Gpu.open();
  return holder.gpu;
}

export async function syntheticModel(options: SyntheticLlama = {}): Promise<Model> {
  return openModel(syntheticLlamaFile(options));
}

export async function executorOf(
  model: Model,
  options: Partial<ExecutorOptions> & { bindingLimit?: number } = {},
): Promise<Executor> {
  const gpu = await testGpu();
  const { bindingLimit, ...rest } = options;
  const weights = await GpuWeights.load(
    gpu,
    model.file,
    model.weights.keys(),
    bindingLimit === undefined ? {} : { bindingLimit },
  );
  return new Executor(gpu, model, weights, { capacity: 64, ...rest });
}

export const FULL = { level: "full", wants: () => true } as const;

export interface RunStep extends StepValues {
  readonly logits: ArrayLike<number>;
  readonly records: readonly Omit<TraceRecord, "seq">[];
}

/** Runs these token lists as consecutive steps with everything recorded. */
export async function runFull(executor: Executor, steps: readonly (readonly number[])[]): Promise<RunStep[]> {
  const done: RunStep[] = [];
  let posStart = 0;
  for (const [number, tokens] of steps.entries()) {
    const result = await executor.step(posStart, tokens, FULL);
    const records = [...result.records(number)];
    const values = new Map(records.map((record) => [record.tap, record.values ?? new Float32Array(0)]));
    done.push({ posStart, tokens, values, records, logits: result.logits });
    posStart += tokens.length;
  }
  return done;
}

/** Token ids that repeat nothing too regularly. */
export function someTokens(count: number, vocab = 256): number[] {
  return Array.from({ length: count }, (_, i) => (i * 37 + 11) % vocab);
}
