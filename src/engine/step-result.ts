/** What a step left behind: the logits of its last row, and what was recorded, put together over the passes of the step. */

import { recordPlan } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import type { Recording } from "../trace/capture.ts";
import { elementsOf, parseDims, rowsAndColumns, shapeOf } from "../trace/dims.ts";
import type { TraceRecord } from "../trace/record.ts";
import type { StepShape } from "./lowering.ts";
import { recordWords, tensorSummary } from "./row-records.ts";
import type { StepOutcome } from "./steps.ts";

interface Collected {
  readonly records: Uint32Array;
  readonly values: Float32Array | null;
  readonly columns: number;
}

/**
 * How the rows of a pass lie among the rows of its step. A step is cut along its tokens, and tokens need not be the slowest
 * axis: row `(o * tokens + t) * inner + i` of a pass is row `(o * stepTokens + firstRow + t) * inner + i` of the step.
 */
export class RowMap {
  readonly #inner: number;
  readonly #tokens: number;
  readonly #stepTokens: number;
  readonly #firstRow: number;

  constructor(dims: string, shape: readonly number[], stepTokens: number, firstRow: number) {
    const leading = parseDims(dims).slice(0, -1);
    const token = leading.findIndex((axis) => axis.includes("token"));
    if (token < 0) throw new Error(`dims "${dims}" have no token axis`);
    this.#inner = elementsOf(shape.slice(token + 1, -1));
    this.#tokens = shape[token] ?? 0;
    this.#stepTokens = stepTokens;
    this.#firstRow = firstRow;
  }

  /** The step's row of a pass's row. */
  of(row: number): number {
    const inner = row % this.#inner;
    const outerToken = (row - inner) / this.#inner;
    const token = outerToken % this.#tokens;
    const outer = (outerToken - token) / this.#tokens;
    return (outer * this.#stepTokens + this.#firstRow + token) * this.#inner + inner;
  }

  /** True if the pass is the whole step. */
  get whole(): boolean {
    return this.#tokens === this.#stepTokens;
  }
}

export class StepResult implements StepOutcome {
  readonly step: StepShape;
  /** Logits of the last row. */
  logits = new Float32Array(0);
  readonly #model: Model;
  readonly #dtype: string;
  readonly #recording: Recording | undefined;
  readonly #collected = new Map<string, Collected>();

  /** `step` spans all passes. */
  constructor(model: Model, step: StepShape, recording: Recording | undefined, dtype: string) {
    this.#model = model;
    this.#dtype = dtype;
    this.step = step;
    this.#recording = recording;
  }

  /** Words of a row's record. */
  get words(): number {
    return recordWords(this.#recording?.level ?? "stats");
  }

  /** Takes the row records of one tensor of a pass. */
  addRecords(tap: string, dims: string, map: RowMap, records: Uint32Array): void {
    const { records: all } = this.#tensor(tap, dims);
    copyRows(all, records, this.words, map);
  }

  /** Takes the values of one tensor of a pass. */
  addValues(tap: string, dims: string, map: RowMap, values: Float32Array): void {
    const { values: all, columns } = this.#tensor(tap, dims);
    if (all !== null) copyRows(all, values, columns, map);
  }

  /** The trace's records of this step, in execution order. */
  *records(stepNumber: number): Generator<Omit<TraceRecord, "seq">> {
    const sizes = this.#model.axes(this.step.tokens, this.step.keys);
    for (const node of this.#model.graph) {
      const collected = this.#collected.get(node.op.tap);
      if (collected === undefined) continue;
      const { records, values, columns } = collected;
      yield {
        ...recordPlan(node, stepNumber, this.step.posStart, sizes, this.#dtype),
        ...tensorSummary(records, this.words, columns),
        elapsedUs: null,
        values,
      };
    }
  }

  #tensor(tap: string, dims: string): Collected {
    const found = this.#collected.get(tap);
    if (found !== undefined) return found;
    const { rows, columns } = rowsAndColumns(shapeOf(dims, this.#model.axes(this.step.tokens, this.step.keys)));
    const values = this.#recording?.level === "full" ? new Float32Array(rows * columns) : null;
    const created = { records: new Uint32Array(rows * this.words), values, columns };
    this.#collected.set(tap, created);
    return created;
  }
}

function copyRows<A extends Uint32Array | Float32Array>(to: A, from: A, length: number, map: RowMap): void {
  if (map.whole) {
    to.set(from);
    return;
  }
  for (let row = 0; row * length < from.length; row++) {
    to.set(from.subarray(row * length, (row + 1) * length), map.of(row) * length);
  }
}
