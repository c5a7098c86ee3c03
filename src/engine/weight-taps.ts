/** The taps `weight:NAME`: weights as the kernels decode them, recorded like any op. */

import type { Model } from "../model/model.ts";
import type { Recording } from "../trace/capture.ts";
import { elementsOf, rowsAndColumns, shapeOf } from "../trace/dims.ts";
import type { RecordPlan, TraceRecord } from "../trace/record.ts";
import { layerOfTap } from "../trace/taps.ts";
import { Buffers } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import type { Fault } from "./faults/fault.ts";
import { bindGroup, type Edit, Pipelines } from "./kernels.ts";
import { type Dispatch, flatGrid, GRID_LIMIT, getRows } from "./lowering.ts";
import { recordWords, tensorSummary } from "./row-records.ts";
import type { GpuWeights } from "./weights.ts";

/** Decoded rows held at a time. */
const CHUNK_BYTES = 16 << 20;

/** What a trace says of the recorded weights, before any data. They stand in step 0. */
export function weightPlans(model: Model, wants: (tap: string) => boolean): RecordPlan[] {
  const sizes = model.axes(1, 1);
  return [...model.weights]
    .map(([name, dims]) => ({ tap: `weight:${name}`, name, dims }))
    .filter(({ tap }) => wants(tap))
    .map(({ tap, name, dims }) => ({
      step: 0,
      posStart: 0,
      tap,
      op: "weight",
      dtype: model.file.tensor(name).type.name.toLowerCase(),
      dims,
      layer: layerOfTap(tap),
      shape: shapeOf(dims, sizes),
      inputs: [],
      weights: [name],
    }));
}

/**
 * Decodes the wanted weights on the GPU, one after the other, and yields their records. A fault that is planted in the decoder of an
 * op's weight shows in that weight.
 */
export async function* weightRecords(
  gpu: Gpu,
  model: Model,
  weights: GpuWeights,
  recording: Recording,
  faults: readonly Fault[] = [],
): AsyncGenerator<Omit<TraceRecord, "seq">> {
  const reader = new WeightReader(gpu, weights, recording, decoderEdits(model, faults));
  for (const plan of weightPlans(model, recording.wants)) {
    yield { ...plan, ...(await reader.read(plan)), elapsedUs: null };
  }
}

/** Edits of decoders by the weight that they are planted at. */
function decoderEdits(model: Model, faults: readonly Fault[]): ReadonlyMap<string, readonly Edit[]> {
  const edits = new Map<string, Edit[]>();
  for (const { kind, tap } of faults) {
    const op = model.graph.find((node) => node.op.tap === tap)?.op;
    const [weight = ""] = op?.weights ?? [];
    if (op !== undefined) edits.set(weight, [...(edits.get(weight) ?? []), ...(kind.decoder?.(op, model) ?? [])]);
  }
  return edits;
}

class WeightReader {
  readonly #gpu: Gpu;
  readonly #weights: GpuWeights;
  readonly #pipelines: Pipelines;
  readonly #buffers: Buffers;
  readonly #words: number;
  readonly #full: boolean;
  readonly #edits: ReadonlyMap<string, readonly Edit[]>;

  constructor(gpu: Gpu, weights: GpuWeights, recording: Recording, edits: ReadonlyMap<string, readonly Edit[]>) {
    this.#edits = edits;
    this.#gpu = gpu;
    this.#weights = weights;
    this.#pipelines = new Pipelines(gpu);
    this.#buffers = new Buffers(gpu, 0);
    this.#words = recordWords(recording.level);
    this.#full = recording.level === "full";
  }

  async read(plan: RecordPlan) {
    const name = plan.weights[0] ?? "";
    const { rows, columns } = rowsAndColumns(plan.shape);
    const records = new Uint32Array(rows * this.#words);
    const values = this.#full ? new Float32Array(elementsOf(plan.shape)) : null;
    const step = Math.min(GRID_LIMIT, Math.max(1, Math.floor(CHUNK_BYTES / (4 * columns))));
    for (let first = 0; first < rows; first += step) {
      const count = Math.min(step, rows - first);
      await this.#gpu.guarded(plan.tap, () => this.#chunk(name, plan, first, count, columns, records, values));
    }
    return { ...tensorSummary(records, this.#words, columns), values };
  }

  async #chunk(
    name: string,
    plan: RecordPlan,
    first: number,
    count: number,
    columns: number,
    records: Uint32Array,
    values: Float32Array | null,
  ): Promise<void> {
    const { device } = this.#gpu;
    const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
    const isVector = plan.shape.length === 1;
    const valueBytes = 4 * count * columns;
    const recordBytes = 4 * count * this.#words;
    const decoded = isVector
      ? { buffer: this.#weights.vector(name) }
      : { buffer: this.#buffers.named("decoded", valueBytes, storage) };
    const out = { buffer: this.#buffers.named("records", recordBytes, storage) };
    const table = new Uint32Array(count * 4);
    for (let row = 0; row < count; row++) table.set([row * columns, columns, (first + row) * columns, row], row * 4);

    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    if (!isVector) {
      const ids = this.#buffers.upload(
        "ids",
        Uint32Array.from({ length: count }, (_, row) => first + row),
      );
      for (const dispatch of getRows(name, { ids, output: decoded, tokens: count }, this.#context())) {
        await this.#dispatch(pass, { ...dispatch, edits: this.#edits.get(name) ?? [] });
      }
    }
    await this.#dispatch(pass, {
      kernel: "row_statistics",
      constants: { WIDTH: this.#gpu.width, RECORD: this.#words },
      bindings: { 1: this.#buffers.upload("rows", table), 2: decoded, 3: out },
      uniform: () => [0, count],
      grid: () => flatGrid(count),
    });
    pass.end();

    const total = recordBytes + (values === null ? 0 : valueBytes);
    const staging = this.#buffers.named("staging", total, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    encoder.copyBufferToBuffer(out.buffer, 0, staging, 0, recordBytes);
    if (values !== null) encoder.copyBufferToBuffer(decoded.buffer, 0, staging, recordBytes, valueBytes);
    device.queue.submit([encoder.finish()]);
    const mapped = await this.#gpu.mapped(staging, total);
    records.set(new Uint32Array(mapped, 0, recordBytes / 4), first * this.#words);
    values?.set(new Float32Array(mapped, recordBytes, valueBytes / 4), first * columns);
    staging.unmap();
  }

  #context() {
    return { weights: this.#weights, width: this.#gpu.width };
  }

  async #dispatch(pass: GPUComputePassEncoder, dispatch: Dispatch): Promise<void> {
    const step = { tokens: 0, posStart: 0, keys: 0 };
    const uniform = { buffer: this.#buffers.uniform(dispatch.uniform?.(step) ?? []) };
    const pipeline = await this.#pipelines.get(dispatch.kernel, dispatch.constants, dispatch.edits);
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup(this.#gpu, pipeline, { 0: uniform, ...dispatch.bindings }));
    pass.dispatchWorkgroups(...dispatch.grid(step));
  }
}
