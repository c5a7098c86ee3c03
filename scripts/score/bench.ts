/** Runs with planted faults for the score: a model's weights are loaded once, each run has an executor of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ReferenceName, traceReference } from "../../src/cli/references.ts";
import { Gpu } from "../../src/engine/device.ts";
import { Executor } from "../../src/engine/executor.ts";
import type { Fault } from "../../src/engine/faults/fault.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import { type Tokenizer, tokenizerFromMetadata } from "../../src/model/tokenizer.ts";
import { BLOCKS_OF_32 } from "../../src/oracle/arithmetic.ts";
import type { Prompt } from "../../src/run/prompt.ts";
import { traceModel } from "../../src/run/trace-model.ts";
import type { CaptureLevel } from "../../src/trace/capture.ts";
import { Trace } from "../../src/trace/reader.ts";
import { TraceWriter, vocabularyOf } from "../../src/trace/writer.ts";

export interface Tokens {
  readonly prompt: readonly number[];
  /** Of the decode steps. */
  readonly follow: readonly number[];
}

export class ScoreBench {
  readonly model: Model;
  readonly tokens: Tokens;
  readonly #gpu: Gpu;
  readonly #weights: GpuWeights;
  readonly #tokenizer: Tokenizer;
  readonly #folder = mkdtempSync(join(tmpdir(), "faultline-score-"));

  private constructor(model: Model, tokens: Tokens, gpu: Gpu, weights: GpuWeights) {
    this.model = model;
    this.tokens = tokens;
    this.#gpu = gpu;
    this.#weights = weights;
    this.#tokenizer = tokenizerFromMetadata(model.file.metadata);
  }

  static async open(path: string, tokens: Tokens): Promise<ScoreBench> {
    const model = await openModel(path);
    const gpu = await Gpu.open();
    return new ScoreBench(model, tokens, gpu, await GpuWeights.load(gpu, model.file, model.weights.keys()));
  }

  #run(output: string) {
    const { prompt, follow } = this.tokens;
    const text: Prompt = { text: null, tokens: prompt };
    return {
      ...{ model: this.model, tokenizer: this.#tokenizer, prompt: text, steps: follow.length, follow, output },
      ...{ capture: "full" as const, version: "score", quiet: true },
    };
  }

  /** Runs the engine with faults and opens the trace. The caller closes it with `drop`. */
  async engine(name: string, faults: readonly Fault[]): Promise<Trace> {
    const output = join(this.#folder, `${name}.arrow`);
    const { prompt, follow } = this.tokens;
    const capacity = prompt.length + follow.length;
    const open = async () => ({
      runner: new Executor(this.#gpu, this.model, this.#weights, { capacity, maxTokens: prompt.length, faults }),
      ...{ device: this.#gpu.adapter.description, dtype: "f32" },
      settings: { rope_table: "f64, rounded to f32", sum_order: BLOCKS_OF_32 },
      close: () => {},
    });
    const engine = { device: "auto", dtype: "f32", kvCache: true } as const;
    await traceModel({ ...this.#run(output), engine, taps: ["!rope.*"], faults, open });
    return Trace.open(output);
  }

  async reference(name: ReferenceName): Promise<Trace> {
    const output = join(this.#folder, `${name}.arrow`);
    await traceReference(name, this.#run(output), { exact: true, weights: false, threads: 2 });
    return Trace.open(output);
  }

  /** The same trace with less in it. */
  async less(trace: Trace, level: Exclude<CaptureLevel, "full">): Promise<Trace> {
    const output = trace.path.replace(/\.arrow$/, `-${level}.arrow`);
    const writer = new TraceWriter(output, trace.manifest, vocabularyOf(trace.records));
    for (const [index] of trace.records.entries()) {
      const record = await trace.load(index);
      writer.write({ ...record, values: null, sketch: level === "stats" ? new Float32Array(0) : record.sketch });
    }
    writer.finish(trace.manifest);
    return Trace.open(output);
  }

  async drop(...traces: readonly Trace[]): Promise<void> {
    for (const trace of traces) {
      await trace.close();
      rmSync(trace.path);
    }
  }

  close(): void {
    this.#gpu.close();
    this.model.file.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
