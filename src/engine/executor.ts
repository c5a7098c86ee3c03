/**
 * Runs steps of a model on the GPU: dispatches in order, statistics of what is recorded in the same submission, one read back
 * per submission. Knows token ids and positions, not text; knows records, not files.
 */

import type { Model } from "../model/model.ts";
import { ropeTable } from "../model/rope.ts";
import type { CaptureLevel, Recording } from "../trace/capture.ts";
import { Buffers } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { GpuOutOfMemoryError } from "./errors.ts";
import type { Fault } from "./faults/fault.ts";
import { type Plant, planter } from "./faults/plant.ts";
import { planHauls, RoundTrip } from "./haul.ts";
import { type Binding, type KernelName, Pipelines, type SourceOf } from "./kernels.ts";
import type { StepShape } from "./lowering.ts";
import { planPass, tokensPerPass } from "./plan.ts";
import { Poison, type PoisonPattern } from "./poison.ts";
import { makeReady, type ReadyPlan } from "./ready-plan.ts";
import { recordWords } from "./row-records.ts";
import { StepResult } from "./step-result.ts";
import type { StepRunner } from "./steps.ts";
import type { GpuWeights } from "./weights.ts";

export interface ExecutorOptions {
  /** Longest sequence of the run, in positions. */
  readonly capacity: number;
  /** What op outputs are stored in; sums are f32 either way. */
  readonly dtype?: "f32" | "f16";
  /** Rows of one pass at most, e.g. of the longest step; longer steps take several passes. */
  readonly maxTokens?: number;
  /** Bytes of an arena's half at least, and of a haul at most: smaller ones are for tests. */
  readonly leastHalfBytes?: number;
  readonly haulBytes?: number;
  /** Threads of a workgroup; the adapter's own where absent. */
  readonly width?: number;
  /** Other kernels than this program's; what counts and hashes stays this program's own, so that runs can be held beside one another. */
  readonly sourceOf?: SourceOf;
  /** Bugs to plant on purpose. */
  readonly faults?: readonly Fault[];
}

/** The largest tensor of one pass; longer prompts take several passes. */
const TENSOR_BYTES = 64 << 20;
const MAX_TOKENS = 256;
/** Plans kept ready: the prefill's, its last pass's, the decode step's. Without a KV cache every step has its own. */
const READY_PLANS = 3;
/** What measures is no part of what is measured. */
const MEASURING: readonly KernelName[] = ["row_statistics", "poison"];
const computing =
  (sourceOf: SourceOf = () => null): SourceOf =>
  (kernel) =>
    MEASURING.includes(kernel) ? null : sourceOf(kernel);

export class Executor implements StepRunner {
  readonly #gpu: Gpu;
  readonly #model: Model;
  readonly #weights: GpuWeights;
  readonly #pipelines: Pipelines;
  readonly #buffers: Buffers;
  readonly #capacity: number;
  readonly #dtype: "f32" | "f16";
  readonly #width: number;
  readonly #maxTokens: number;
  readonly #halfBytes: number;
  readonly #haulBytes: number | undefined;
  readonly #plant: Plant | undefined;
  readonly #plans = new Map<number, ReadyPlan>();
  readonly #cosines: Binding;
  readonly #sines: Binding;
  #poison: Poison | undefined;
  #statistics: { level: CaptureLevel; pipeline: GPUComputePipeline } | undefined;

  constructor(gpu: Gpu, model: Model, weights: GpuWeights, options: ExecutorOptions) {
    const { kvHeads, headDim, rope } = model.parameters;
    this.#gpu = gpu;
    this.#model = model;
    this.#weights = weights;
    this.#pipelines = new Pipelines(gpu, computing(options.sourceOf));
    this.#capacity = options.capacity;
    this.#dtype = options.dtype ?? "f32";
    this.#width = options.width ?? gpu.width;
    const cacheBytes = 4 * options.capacity * kvHeads * headDim;
    const bindingBytes = gpu.limits.maxStorageBufferBindingSize;
    if (cacheBytes > bindingBytes) {
      throw new GpuOutOfMemoryError(
        `a KV cache of ${options.capacity} positions takes ${cacheBytes} bytes a layer, the adapter binds at most ${bindingBytes}; use fewer tokens`,
      );
    }
    const most = Math.min(options.maxTokens ?? options.capacity, MAX_TOKENS);
    const limit = { tensorBytes: TENSOR_BYTES, halfBytes: bindingBytes };
    this.#maxTokens = tokensPerPass(model, options.capacity, most, limit);
    // One size of arenas serves all plans.
    this.#halfBytes = planPass(model, this.#maxTokens, options.capacity, options.leastHalfBytes).halfBytes;
    this.#haulBytes = options.haulBytes;
    this.#plant = planter(options.faults ?? [], options.capacity);
    this.#buffers = new Buffers(gpu, cacheBytes);
    const { cos, sin } = ropeTable(rope, 0, options.capacity);
    this.#cosines = this.#buffers.upload("rope.cos", Float32Array.from(cos));
    this.#sines = this.#buffers.upload("rope.sin", Float32Array.from(sin));
  }

  /** Compiles and places what steps of `tokens` rows need, so that `step` submits its first pass at once. */
  async prepare(tokens: number, recording?: Recording): Promise<void> {
    const sizes = new Set([Math.min(tokens, this.#maxTokens), tokens % this.#maxTokens].filter((size) => size > 0));
    for (const size of sizes) {
      if (this.#plans.has(size)) continue;
      const context = {
        model: this.#model,
        weights: this.#weights,
        width: this.#width,
        subgroups: this.#pipelines.subgroups && this.#plant === undefined,
        tokens: size,
        ids: this.#buffers.upload("token ids", new Uint32Array(this.#maxTokens)),
        cosines: this.#cosines,
        sines: this.#sines,
      };
      const plan = planPass(this.#model, size, this.#capacity, this.#halfBytes);
      const ready = await this.#gpu.guarded(`a pass of ${size} tokens`, () =>
        makeReady(this.#gpu, this.#pipelines, this.#buffers, this.#model, plan, context, this.#dtype, this.#plant),
      );
      await this.#gpu.compiled(ready.segments.flatMap(({ dispatches }) => dispatches));
      this.#plans.set(size, ready);
      const [oldest] = this.#plans.keys();
      if (this.#plans.size > READY_PLANS && oldest !== undefined) {
        this.#plans.get(oldest)?.uniforms.destroy();
        this.#plans.delete(oldest);
      }
    }
    if (recording !== undefined && this.#statistics?.level !== recording.level) {
      const constants = { WIDTH: this.#width, RECORD: recordWords(recording.level) };
      this.#statistics = { level: recording.level, pipeline: await this.#pipelines.get("row_statistics", constants) };
    }
  }

  /**
   * Runs one step: the rows of `tokens` at positions from `posStart` on, after whatever the cache holds before them. The result
   * has the logits of the last row, and what `recording` asks for. Logits do not depend on what is recorded.
   */
  async step(posStart: number, tokens: readonly number[], recording?: Recording): Promise<StepResult> {
    const keys = posStart + tokens.length;
    if (tokens.length === 0 || keys > this.#capacity) {
      throw new Error(`${tokens.length} tokens at position ${posStart} in a cache of ${this.#capacity}`);
    }
    if (!this.#isPrepared(tokens.length, recording)) await this.prepare(tokens.length, recording);
    const result = new StepResult(this.#model, { tokens: tokens.length, posStart, keys }, recording, this.#dtype);
    for (let first = 0; first < tokens.length; first += this.#maxTokens) {
      const ids = tokens.slice(first, first + this.#maxTokens);
      await this.#pass({ tokens: ids.length, posStart: posStart + first, keys }, ids, first, result, recording);
    }
    return result;
  }

  /**
   * Fills every buffer that kernels write: now, and places of outputs again before the ops of each pass, for an earlier step of the
   * run may have used them. Call it before a run, after one that made all buffers; new ones hold zeros. null ends it.
   */
  async poison(pattern: PoisonPattern | null): Promise<void> {
    this.#poison = undefined;
    if (pattern === null) return;
    const pipeline = await this.#pipelines.get("poison", { WIDTH: this.#width });
    this.#poison = new Poison(this.#gpu, this.#buffers, pipeline, this.#width, pattern);
    this.#poison.everything();
  }

  #isPrepared(tokens: number, recording: Recording | undefined): boolean {
    const rest = tokens % this.#maxTokens;
    return (
      this.#plans.has(Math.min(tokens, this.#maxTokens)) &&
      (rest === 0 || this.#plans.has(rest)) &&
      (recording === undefined || this.#statistics?.level === recording.level)
    );
  }

  async #pass(
    step: StepShape,
    ids: readonly number[],
    firstRow: number,
    result: StepResult,
    recording: Recording | undefined,
  ): Promise<void> {
    const ready = this.#plans.get(step.tokens);
    if (ready === undefined) throw new Error(`no plan for ${step.tokens} tokens`);
    const { device } = this.#gpu;
    this.#buffers.upload("token ids", Uint32Array.from(ids));
    for (const { dispatch, uniformAt } of ready.segments.flatMap((segment) => segment.dispatches)) {
      if (dispatch.uniform !== null) ready.words.set(dispatch.uniform(step), uniformAt / 4);
    }
    device.queue.writeBuffer(ready.uniforms, 0, ready.words);

    const hauls = planHauls(this.#model, ready, step, firstRow, result, recording, this.#haulBytes);
    const logitBytes = 4 * this.#model.parameters.vocab;
    for (const [index, haul] of hauls.entries()) {
      const trip = new RoundTrip(this.#gpu, this.#buffers, ready.plan, haul, result, logitBytes);
      const encoder = device.createCommandEncoder();
      for (const part of haul.parts) {
        const pass = encoder.beginComputePass();
        this.#poison?.outputs(pass, part.segment, ready.plan.halfBytes);
        for (const { pipeline, group, dispatch } of part.segment.dispatches) {
          const grid = dispatch.grid(step);
          if (grid[0] === 0) continue;
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          pass.dispatchWorkgroups(...grid);
        }
        if (recording !== undefined) trip.encodeStatistics(pass, this.#statisticsPipeline(recording), part);
        pass.end();
        trip.encodeValues(encoder, part);
      }
      const place = index === hauls.length - 1 ? ready.segments.at(-1)?.ops.at(-1)?.place : undefined;
      const logits = place === undefined ? undefined : { place, row: step.tokens - 1, bytes: logitBytes };
      await trip.collect(encoder, logits);
    }
  }

  #statisticsPipeline(recording: Recording): GPUComputePipeline {
    if (this.#statistics?.level !== recording.level) throw new Error("statistics were not prepared");
    return this.#statistics.pipeline;
  }
}
