/**
 * Runs steps of a model on the GPU: dispatches in order, statistics of what is recorded in the same submission, one read back
 * per submission. Knows token ids and positions, not text; knows records, not files.
 */

import type { Model } from "../model/model.ts";
import { ropeTable } from "../model/rope.ts";
import type { CaptureLevel } from "../trace/capture.ts";
import { rowsAndColumns, shapeOf } from "../trace/dims.ts";
import { Buffers } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { type Binding, bindGroup, Pipelines } from "./kernels.ts";
import { flatGrid, type StepShape } from "./lowering.ts";
import { ARENAS, type PlannedOp, planPass, tokensPerPass } from "./plan.ts";
import { makeReady, type ReadyPlan, type ReadySegment } from "./ready-plan.ts";
import { RECORD_WORDS } from "./row-records.ts";
import { RowMap, StepResult } from "./step-result.ts";
import type { Recording, StepRunner } from "./steps.ts";
import type { GpuWeights } from "./weights.ts";

export interface ExecutorOptions {
  /** Longest sequence of the run, in positions. */
  readonly capacity: number;
  /** What op outputs are stored in; sums are f32 either way. */
  readonly dtype?: "f32" | "f16";
  /** Rows of one pass at most; longer steps take several passes. */
  readonly maxTokens?: number;
  /** Threads of a workgroup; the adapter's own where absent. */
  readonly width?: number;
}

/** The largest tensor of one pass; longer prompts take several passes. */
const TENSOR_BYTES = 64 << 20;
const MAX_TOKENS = 256;
/** Values read back in one submission. */
const STAGING_BYTES = 64 << 20;
const ROW_WORDS = 4;

/** A tensor of a pass that is recorded: its rows stand at `firstRecord` among the pass's records. */
interface RecordedTensor {
  readonly planned: PlannedOp;
  readonly rows: number;
  readonly columns: number;
  readonly firstRecord: number;
  readonly map: RowMap;
}

/** What one submission brings back. */
interface Haul {
  readonly staging: GPUBuffer;
  readonly recorded: RecordedTensor[];
  /** Byte offset of a tensor's values in the staging buffer. */
  readonly values: Map<RecordedTensor, number>;
  bytes: number;
}

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
  readonly #plans = new Map<number, ReadyPlan>();
  readonly #cosines: Binding;
  readonly #sines: Binding;
  #statistics: { level: CaptureLevel; pipeline: GPUComputePipeline } | undefined;

  constructor(gpu: Gpu, model: Model, weights: GpuWeights, options: ExecutorOptions) {
    const { kvHeads, headDim, rope } = model.parameters;
    this.#gpu = gpu;
    this.#model = model;
    this.#weights = weights;
    this.#pipelines = new Pipelines(gpu);
    this.#capacity = options.capacity;
    this.#buffers = new Buffers(gpu, 4 * options.capacity * kvHeads * headDim);
    this.#dtype = options.dtype ?? "f32";
    this.#width = options.width ?? gpu.width;
    const limit = Math.min(TENSOR_BYTES, gpu.limits.maxStorageBufferBindingSize);
    this.#maxTokens = tokensPerPass(model, options.capacity, limit, options.maxTokens ?? MAX_TOKENS);
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
        tokens: size,
        ids: this.#buffers.upload("token ids", new Uint32Array(this.#maxTokens)),
        cosines: this.#cosines,
        sines: this.#sines,
      };
      const plan = planPass(this.#model, size, this.#capacity);
      const ready = await this.#gpu.guarded(`a pass of ${size} tokens`, () =>
        makeReady(this.#gpu, this.#pipelines, this.#buffers, this.#model, plan, context, this.#dtype),
      );
      this.#plans.set(size, ready);
    }
    if (recording !== undefined && this.#statistics?.level !== recording.level) {
      const constants = { WIDTH: this.#width, RECORD: recordWords(recording) };
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

    const groups = recording === undefined ? [] : this.#recordedTensors(ready, step, firstRow, result, recording);
    const uploaded = recording === undefined ? undefined : this.#uploadRows(groups, result.words);
    const valueBytes = groups.map((arenas) => (recording?.level === "full" ? bytesOf(arenas.flat()) : 0));
    const staging = this.#staging(valueBytes, bytesOfRecords(groups.flat(2), result.words));
    let encoder = device.createCommandEncoder();
    let haul: Haul = { staging, recorded: [], values: new Map(), bytes: 0 };
    for (const [index, segment] of ready.segments.entries()) {
      const pass = encoder.beginComputePass();
      for (const { pipeline, group, dispatch } of segment.dispatches) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...dispatch.grid(step));
      }
      const tensors = groups[index] ?? [];
      if (uploaded !== undefined) this.#encodeStatistics(pass, ready, segment, tensors, uploaded);
      pass.end();
      haul.recorded.push(...tensors.flat());
      if (recording?.level === "full") this.#encodeValues(encoder, ready, haul, tensors.flat());
      const last = index === ready.segments.length - 1;
      if (last || haul.bytes + (valueBytes[index + 1] ?? 0) > STAGING_BYTES) {
        await this.#collect(encoder, haul, ready, uploaded?.records, result, last ? step : undefined);
        encoder = device.createCommandEncoder();
        haul = { staging, recorded: [], values: new Map(), bytes: 0 };
      }
    }
  }

  /** The recorded tensors of each segment, by arena, with consecutive records. */
  #recordedTensors(
    ready: ReadyPlan,
    step: StepShape,
    firstRow: number,
    result: StepResult,
    recording: Recording,
  ): RecordedTensor[][][] {
    const sizes = this.#model.axes(step.tokens, step.keys);
    let next = 0;
    return ready.segments.map((segment) =>
      Array.from({ length: ARENAS }, (_, arena) =>
        segment.ops
          .filter((planned) => planned.place.arena === arena && recording.wants(planned.op.tap))
          .map((planned) => {
            const shape = shapeOf(planned.op.dims, sizes);
            const { rows, columns } = rowsAndColumns(shape);
            const firstRecord = next;
            next += rows;
            return {
              planned,
              rows,
              columns,
              firstRecord,
              map: new RowMap(planned.op.dims, shape, result.step.tokens, firstRow),
            };
          }),
      ),
    );
  }

  /** Tells the statistics kernel where each row lies: offset in its arena's half, columns, flat index, record. */
  #uploadRows(groups: readonly RecordedTensor[][][], words: number): { rows: Binding; records: GPUBuffer } {
    const tensors = groups.flat(2);
    const total = tensors.reduce((sum, tensor) => sum + tensor.rows, 0);
    const table = new Uint32Array(Math.max(1, total) * ROW_WORDS);
    for (const { planned, rows, columns, firstRecord, map } of tensors) {
      const offset = planned.place.offsetInHalf / 4;
      for (let row = 0; row < rows; row++) {
        const at = (firstRecord + row) * ROW_WORDS;
        table[at] = offset + row * columns;
        table[at + 1] = columns;
        table[at + 2] = map.of(row) * columns;
        table[at + 3] = firstRecord + row;
      }
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
    return {
      rows: this.#buffers.upload("rows", table),
      records: this.#buffers.named("row records", Math.max(1, total) * words * 4, usage),
    };
  }

  #encodeStatistics(
    pass: GPUComputePassEncoder,
    ready: ReadyPlan,
    segment: ReadySegment,
    arenas: readonly RecordedTensor[][],
    uploaded: { rows: Binding; records: GPUBuffer },
  ): void {
    const statistics = this.#statistics;
    if (statistics === undefined) throw new Error("statistics were not prepared");
    pass.setPipeline(statistics.pipeline);
    arenas.forEach((tensors, arena) => {
      const first = tensors[0]?.firstRecord;
      if (first === undefined) return;
      const count = tensors.reduce((sum, tensor) => sum + tensor.rows, 0);
      const { halfBytes } = ready.plan;
      const x = { buffer: this.#buffers.arena(arena, halfBytes), offset: segment.half * halfBytes, size: halfBytes };
      const uniform = { buffer: this.#buffers.uniform([first, count]) };
      const bindings = { 0: uniform, 1: uploaded.rows, 2: x, 3: { buffer: uploaded.records } };
      const group = bindGroup(this.#gpu, statistics.pipeline, bindings);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...flatGrid(count));
    });
  }

  #encodeValues(encoder: GPUCommandEncoder, ready: ReadyPlan, haul: Haul, tensors: readonly RecordedTensor[]): void {
    for (const tensor of tensors) {
      const { arena, byteOffset } = tensor.planned.place;
      const from = this.#buffers.arena(arena, ready.plan.halfBytes);
      const size = bytesOf([tensor]);
      encoder.copyBufferToBuffer(from, byteOffset, haul.staging, haul.bytes, size);
      haul.values.set(tensor, haul.bytes);
      haul.bytes += size;
    }
  }

  /** Room for what one submission of a pass can bring back: values up to the limit or of one segment, records, logits. */
  #staging(valueBytes: readonly number[], recordBytes: number): GPUBuffer {
    const total = valueBytes.reduce((sum, bytes) => sum + bytes, 0);
    const values = Math.min(total, Math.max(STAGING_BYTES, ...valueBytes));
    const bytes = values + recordBytes + 4 * this.#model.parameters.vocab;
    return this.#buffers.named("staging", bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  }

  /** Submits, waits, and hands what came back to the result. `logits`: the pass is over, read its last row of logits. */
  async #collect(
    encoder: GPUCommandEncoder,
    haul: Haul,
    ready: ReadyPlan,
    records: GPUBuffer | undefined,
    result: StepResult,
    logits: StepShape | undefined,
  ): Promise<void> {
    const { device } = this.#gpu;
    const { staging } = haul;
    const recordBytes = bytesOfRecords(haul.recorded, result.words);
    const firstRecord = haul.recorded[0]?.firstRecord ?? 0;
    const logitBytes = logits === undefined ? 0 : 4 * this.#model.parameters.vocab;
    const total = haul.bytes + recordBytes + logitBytes;
    if (records !== undefined && recordBytes > 0) {
      encoder.copyBufferToBuffer(records, firstRecord * result.words * 4, staging, haul.bytes, recordBytes);
    }
    if (logits !== undefined) {
      const place = ready.segments.at(-1)?.ops.at(-1)?.place;
      if (place === undefined) throw new Error("a pass without logits");
      const arena = this.#buffers.arena(place.arena, ready.plan.halfBytes);
      const lastRow = place.byteOffset + (logits.tokens - 1) * logitBytes;
      encoder.copyBufferToBuffer(arena, lastRow, staging, haul.bytes + recordBytes, logitBytes);
    }
    device.queue.submit([encoder.finish()]);
    const bytes = await this.#gpu.mapped(staging, total);
    const words = new Uint32Array(bytes, haul.bytes, recordBytes / 4);
    for (const tensor of haul.recorded) {
      const { tap, dims } = tensor.planned.op;
      const at = (tensor.firstRecord - firstRecord) * result.words;
      result.addRecords(tap, dims, tensor.map, words.subarray(at, at + tensor.rows * result.words));
      const valuesAt = haul.values.get(tensor);
      if (valuesAt !== undefined) {
        result.addValues(tap, dims, tensor.map, new Float32Array(bytes, valuesAt, tensor.rows * tensor.columns));
      }
    }
    if (logits !== undefined) result.logits = new Float32Array(bytes, haul.bytes + recordBytes, logitBytes / 4).slice();
    staging.unmap();
  }
}

function recordWords(recording: Recording): number {
  return recording.level === "stats" ? RECORD_WORDS.stats : RECORD_WORDS.sketch;
}

function bytesOf(tensors: readonly RecordedTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + 4 * tensor.rows * tensor.columns, 0);
}

function bytesOfRecords(tensors: readonly RecordedTensor[], words: number): number {
  return tensors.reduce((sum, tensor) => sum + 4 * words * tensor.rows, 0);
}
