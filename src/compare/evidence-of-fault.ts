/** What a fault of an op is diagnosed from: its steps, with the op recomputed on the inputs it was given. */
import type { GraphNode } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import { narrowed, type OpCase, opCase, type RunValues } from "../oracle/op-case.ts";
import { evaluate, type Matrix, matrix } from "../oracle/ops.ts";
import { OracleWeights } from "../oracle/oracle.ts";
import type { Evidence } from "./diagnose.ts";

/** Output columns above which a projection is narrowed to some of them: to a few spread evenly, the last, and those near the worst. */
const WIDE = 384;
const [EVEN, TAIL, NEAR] = [160, 64, 48];
/** Elements of a weight above which it is never looked at as a whole. */
const LARGE = 1 << 23;

/** What is known of an op in a step. */
export interface Observed {
  readonly step: number;
  readonly isFault: boolean;
  readonly values: Float32Array | null;
  readonly sketch: Float32Array | null;
  readonly tolerance: number;
  /** What storing in half precision does to a right prediction, relative; 0 or left out for f32. */
  readonly rounding?: number;
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
  const { step, values, sketch, tolerance, isFault, rounding = 0 } = observed;
  const of = await opCase(model, inputs, step, node, (name, ids) => weights.get(name, ids));
  const evidence = (kept: readonly number[] | null): Evidence => {
    const op: OpCase = kept === null ? of : narrowed(of, kept);
    const expected = evaluate(node.op, op.inputs, op.context);
    return {
      ...{ op, expected, tolerance, rounding, isFault },
      actual: values === null ? null : columnsOf(values, expected.rows, kept),
      sketch: values === null ? sketch : null,
    };
  };
  const weight = node.op.kind === "linear" ? model.file.tensor(node.op.weights[0] ?? "") : null;
  // A sketch is one of whole rows.
  if (weight === null || weight.rows <= WIDE || values === null) return evidence(null);
  let known: Evidence | undefined;
  const whole = async () => {
    if (weight.rows * weight.columns > LARGE) return null;
    known ??= evidence(null);
    return known;
  };
  return { ...evidence(someColumns(weight.rows, (observed.worst ?? 0) % weight.rows)), whole };
}

function someColumns(count: number, worst: number): number[] {
  const even = Array.from({ length: EVEN }, (_, i) => Math.floor((i * count) / EVEN));
  const tail = Array.from({ length: TAIL }, (_, i) => count - TAIL + i);
  const near = Array.from({ length: 2 * NEAR + 1 }, (_, i) => worst - NEAR + i);
  return [...new Set([...even, ...tail, ...near])].filter((n) => n >= 0 && n < count).sort((a, b) => a - b);
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
