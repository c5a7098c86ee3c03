/** What a fault of an op is diagnosed from: its steps, with the op recomputed on the inputs it was given. */
import type { GraphNode } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import { narrowed, type OpCase, opCase, type RunValues } from "../oracle/op-case.ts";
import { evaluate, type Matrix, matrix } from "../oracle/ops.ts";
import { OracleWeights } from "../oracle/oracle.ts";
import type { Evidence } from "./diagnose.ts";

/** Output columns above which a projection is narrowed to some of them, and how many of them are looked at. */
const WIDE = 4096;
const KEPT = 768;

/** What is known of an op in a step. */
export interface Observed {
  readonly step: number;
  readonly isFault: boolean;
  readonly values: Float32Array | null;
  readonly sketch: Float32Array | null;
  readonly tolerance: number;
  /** The element that is furthest off, if known: it must be among those looked at. */
  readonly worst?: number;
}

/** Evidence of an op in one step; `inputs` is the run that its inputs are taken from. */
export async function evidenceOf(
  model: Model,
  inputs: RunValues,
  node: GraphNode,
  observed: Observed,
  weights = new OracleWeights(model),
): Promise<Evidence> {
  const { step, values, sketch, tolerance, isFault } = observed;
  const whole = await opCase(model, inputs, step, node, (name, ids) => weights.get(name, ids));
  const outputs = node.op.kind === "linear" ? model.file.tensor(node.op.weights[0] ?? "").rows : 0;
  // A sketch is one of whole rows.
  const kept = outputs > WIDE && values !== null ? someColumns(outputs, (observed.worst ?? 0) % outputs) : null;
  const op: OpCase = kept === null ? whole : narrowed(whole, kept);
  const expected = evaluate(node.op, op.inputs, op.context);
  return {
    ...{ op, expected, tolerance, isFault },
    actual: values === null ? null : columnsOf(values, expected.rows, kept ?? null),
    sketch: values === null ? sketch : null,
  };
}

/** Columns spread evenly, the last ones (where tails are), and the worst. */
function someColumns(count: number, worst: number): number[] {
  const even = Array.from({ length: KEPT }, (_, i) => Math.floor((i * count) / KEPT));
  const tail = Array.from({ length: 64 }, (_, i) => count - 64 + i);
  return [...new Set([...even, ...tail, worst])].sort((a, b) => a - b);
}

function columnsOf(values: Float32Array, rows: number, kept: readonly number[] | null): Matrix {
  const columns = values.length / rows;
  if (kept === null) return matrix(rows, columns, Float64Array.from(values));
  const part = matrix(rows, kept.length);
  for (let row = 0; row < rows; row++) {
    for (const [i, column] of kept.entries()) {
      part.data[row * kept.length + i] = values[row * columns + column] as number;
    }
  }
  return part;
}
