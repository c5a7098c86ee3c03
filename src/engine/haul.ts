/**
 * The way back to the host. A pass is submitted in hauls: runs of segments whose records and values fit into one staging buffer.
 * A haul's dispatches are followed by the statistics of its recorded tensors, copies, and one map.
 */

import type { Model } from "../model/model.ts";
import type { Recording } from "../trace/capture.ts";
import { rowsAndColumns, shapeOf } from "../trace/dims.ts";
import type { Buffers } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { bindGroup } from "./kernels.ts";
import { flatGrid, type StepShape } from "./lowering.ts";
import { ARENAS, type Place, type Plan, type PlannedOp } from "./plan.ts";
import type { ReadyPlan, ReadySegment } from "./ready-plan.ts";
import { RowMap, type StepResult } from "./step-result.ts";

/** Records and values of one submission, unless a single segment has more. */
const HAUL_BYTES = 64 << 20;
/** Words of a row in the table that row_statistics.wgsl reads. */
const ROW_WORDS = 4;

/** A tensor that is recorded: its rows stand at `firstRecord` among the haul's records. */
interface RecordedTensor {
  readonly planned: PlannedOp;
  readonly rows: number;
  readonly columns: number;
  readonly firstRecord: number;
  readonly map: RowMap;
}

/** A segment with its recorded tensors, by arena; the records of an arena are consecutive. */
export interface HaulPart {
  readonly segment: ReadySegment;
  readonly arenas: readonly (readonly RecordedTensor[])[];
}

export interface Haul {
  readonly parts: HaulPart[];
  rows: number;
  valueBytes: number;
}

/** Cuts a pass into hauls. `firstRow` is the pass's first row in its step; without a recording there is one haul. */
export function planHauls(
  model: Model,
  ready: ReadyPlan,
  step: StepShape,
  firstRow: number,
  result: StepResult,
  recording: Recording | undefined,
  haulBytes = HAUL_BYTES,
): Haul[] {
  const sizes = model.axes(step.tokens, step.keys);
  const hauls: Haul[] = [];
  for (const segment of ready.segments) {
    const wanted = segment.ops
      .filter((planned) => recording?.wants(planned.op.tap))
      .map((planned) => {
        const shape = shapeOf(planned.op.dims, sizes);
        const map = new RowMap(planned.op.dims, shape, result.step.tokens, firstRow);
        return { planned, ...rowsAndColumns(shape), map };
      });
    const rows = wanted.reduce((sum, tensor) => sum + tensor.rows, 0);
    const values = wanted.reduce((sum, tensor) => sum + 4 * tensor.rows * tensor.columns, 0);
    const valueBytes = recording?.level === "full" ? values : 0;
    let haul = hauls.at(-1);
    if (haul === undefined || 4 * (haul.rows + rows) * result.words + haul.valueBytes + valueBytes > haulBytes) {
      haul = { parts: [], rows: 0, valueBytes: 0 };
      hauls.push(haul);
    }
    let next = haul.rows;
    const arenas = Array.from({ length: ARENAS }, (_, arena) =>
      wanted
        .filter((tensor) => tensor.planned.place.arena === arena)
        .map((tensor) => {
          const firstRecord = next;
          next += tensor.rows;
          return { ...tensor, firstRecord };
        }),
    );
    haul.parts.push({ segment, arenas });
    haul.rows += rows;
    haul.valueBytes += valueBytes;
  }
  return hauls;
}

/** One haul under way: what is encoded for it, and how it is unpacked. */
export class RoundTrip {
  readonly #gpu: Gpu;
  readonly #buffers: Buffers;
  readonly #plan: Plan;
  readonly #haul: Haul;
  readonly #result: StepResult;
  readonly #rows: GPUBuffer;
  readonly #records: GPUBuffer;
  /** Where the values of a tensor stand in the staging buffer. */
  readonly #valuesAt = new Map<RecordedTensor, number>();
  readonly #staging: GPUBuffer;
  readonly #recordBytes: number;
  #nextValues = 0;

  /** `tailBytes`: room for what else is read back, the logits. */
  constructor(gpu: Gpu, buffers: Buffers, plan: Plan, haul: Haul, result: StepResult, tailBytes: number) {
    this.#gpu = gpu;
    this.#buffers = buffers;
    this.#plan = plan;
    this.#haul = haul;
    this.#result = result;
    this.#recordBytes = 4 * haul.rows * result.words;
    this.#rows = buffers.upload("rows", rowTable(haul)).buffer;
    this.#records = buffers.named("row records", this.#recordBytes, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC);
    const bytes = haul.valueBytes + this.#recordBytes + tailBytes;
    this.#staging = buffers.named("staging", bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  }

  /** Statistics of a part's recorded tensors: one dispatch per arena. */
  encodeStatistics(pass: GPUComputePassEncoder, pipeline: GPUComputePipeline, { segment, arenas }: HaulPart): void {
    pass.setPipeline(pipeline);
    const { halfBytes } = this.#plan;
    for (const [arena, tensors] of arenas.entries()) {
      const first = tensors[0]?.firstRecord;
      if (first === undefined) continue;
      const count = tensors.reduce((sum, tensor) => sum + tensor.rows, 0);
      const bindings = {
        0: { buffer: this.#buffers.uniform([first, count]) },
        1: { buffer: this.#rows },
        2: { buffer: this.#buffers.arena(arena, halfBytes), offset: segment.half * halfBytes, size: halfBytes },
        3: { buffer: this.#records },
      };
      pass.setBindGroup(0, bindGroup(this.#gpu, pipeline, bindings));
      pass.dispatchWorkgroups(...flatGrid(count));
    }
  }

  /** Copies of a part's values, at level full. */
  encodeValues(encoder: GPUCommandEncoder, { arenas }: HaulPart): void {
    if (this.#haul.valueBytes === 0) return;
    for (const tensor of arenas.flat()) {
      const { arena, byteOffset } = tensor.planned.place;
      const size = 4 * tensor.rows * tensor.columns;
      const from = this.#buffers.arena(arena, this.#plan.halfBytes);
      encoder.copyBufferToBuffer(from, byteOffset, this.#staging, this.#nextValues, size);
      this.#valuesAt.set(tensor, this.#nextValues);
      this.#nextValues += size;
    }
  }

  /** Submits, waits, and hands what came back to the result. `logits`: where a row of logits stands, if the pass is over. */
  async collect(
    encoder: GPUCommandEncoder,
    logits: { place: Place; row: number; bytes: number } | undefined,
  ): Promise<void> {
    const { valueBytes, rows, parts } = this.#haul;
    const tailAt = valueBytes + this.#recordBytes;
    if (rows > 0) encoder.copyBufferToBuffer(this.#records, 0, this.#staging, valueBytes, this.#recordBytes);
    if (logits !== undefined) {
      const { place, row, bytes } = logits;
      const arena = this.#buffers.arena(place.arena, this.#plan.halfBytes);
      encoder.copyBufferToBuffer(arena, place.byteOffset + row * bytes, this.#staging, tailAt, bytes);
    }
    this.#gpu.device.queue.submit([encoder.finish()]);
    const total = tailAt + (logits?.bytes ?? 0);
    if (total === 0) return this.#gpu.finished();
    const mapped = await this.#gpu.mapped(this.#staging, total);
    const records = new Uint32Array(mapped, valueBytes, this.#recordBytes / 4);
    const { words } = this.#result;
    for (const tensor of parts.flatMap((part) => part.arenas.flat())) {
      const { tap, dims } = tensor.planned.op;
      const at = tensor.firstRecord * words;
      this.#result.addRecords(tap, dims, tensor.map, records.subarray(at, at + tensor.rows * words));
      const valuesAt = this.#valuesAt.get(tensor);
      if (valuesAt !== undefined) {
        const values = new Float32Array(mapped, valuesAt, tensor.rows * tensor.columns);
        this.#result.addValues(tap, dims, tensor.map, values);
      }
    }
    if (logits !== undefined) this.#result.logits = new Float32Array(mapped, tailAt, logits.bytes / 4).slice();
    this.#staging.unmap();
  }
}

/** Tells the statistics kernel of each row: its offset in the arena's half, its columns, its flat index, its record. */
function rowTable(haul: Haul): Uint32Array<ArrayBuffer> {
  const table = new Uint32Array(Math.max(1, haul.rows) * ROW_WORDS);
  for (const { planned, rows, columns, firstRecord, map } of haul.parts.flatMap((part) => part.arenas.flat())) {
    for (let row = 0; row < rows; row++) {
      const at = (firstRecord + row) * ROW_WORDS;
      table[at] = planned.place.offsetInHalf / 4 + row * columns;
      table[at + 1] = columns;
      table[at + 2] = map.of(row) * columns;
      table[at + 3] = firstRecord + row;
    }
  }
  return table;
}
