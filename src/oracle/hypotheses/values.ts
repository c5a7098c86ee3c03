/** What all hypotheses are written with: matrices changed by a rule, ops evaluated with something changed, outputs compared. */
import type { Op } from "../../model/ops.ts";
import { earlierSteps, type OpCase } from "../op-case.ts";
import { evaluate, type Matrix, matrix, type OracleContext } from "../ops.ts";
import type { Prediction, Seen } from "./hypothesis.ts";

export function input(op: OpCase, index: number): Matrix {
  const found = op.inputs[index];
  if (found === undefined) throw new Error(`${op.node.op.tap}: input ${index} of ${op.inputs.length}`);
  return found;
}

/** Each element by a rule. `i` is the flat index. */
export function mapped({ rows, columns, data }: Matrix, of: (x: number, i: number) => number): Matrix {
  return matrix(rows, columns, data.map(of));
}

/** The same matrix with its row t taken from row `from(t)`; zeros where there is none. */
export function withRows(m: Matrix, from: (row: number) => number): Matrix {
  const y = matrix(m.rows, m.columns);
  for (let row = 0; row < m.rows; row++) y.data.set(rowOf(m, from(row)), row * m.columns);
  return y;
}

/** A row; empty where the matrix has none of that number. */
export function rowOf(m: Matrix, row: number): Float64Array {
  return row < 0 || row >= m.rows ? new Float64Array(0) : m.data.subarray(row * m.columns, (row + 1) * m.columns);
}

interface Changes {
  readonly op?: Op;
  readonly inputs?: readonly Matrix[];
  readonly context?: Partial<OracleContext>;
}

/** The op evaluated with something changed. */
export function evaluated(of: OpCase, { op = of.node.op, inputs = of.inputs, context = {} }: Changes): Matrix {
  return evaluate(op, inputs, { ...of.context, ...context });
}

/** Rows of a cached tap of all steps so far at their positions; null where the run lacks some. */
export async function cacheOf(op: OpCase, tap: string): Promise<Matrix | null> {
  const { posStart, tokens } = op.context;
  let all: Matrix | null = null;
  for (const step of earlierSteps(op, op.step)) {
    const rows = await op.values(tap, step);
    if (rows === null) return null;
    all ??= matrix(posStart + tokens.length, rows.columns);
    all.data.set(rows.data, (op.steps[step]?.posStart ?? 0) * rows.columns);
  }
  return all;
}

/** One prediction, without a number. */
export function predicted(output: Matrix, parameter?: string): readonly Prediction[] {
  return [parameter === undefined ? { output } : { output, parameter }];
}

/**
 * Relative L2 distance over the elements that are finite on both sides; infinite where the two are not the same kind of
 * non-finite. 0 where both are zero, infinite where only the first is.
 */
export function distance(from: ArrayLike<number>, to: ArrayLike<number>): number {
  let difference = 0;
  let scale = 0;
  for (let i = 0; i < from.length; i++) {
    const a = from[i] as number;
    const b = to[i] as number;
    if (!Number.isFinite(a) || !Number.isFinite(b)) {
      if (!Object.is(a, b)) return Number.POSITIVE_INFINITY;
      continue;
    }
    difference += (a - b) ** 2;
    scale += a * a;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / scale);
}

/** Nearest to the actual output first; as they are where that is not known. */
export function nearestFirst(predictions: readonly Prediction[], { actual }: Seen): readonly Prediction[] {
  if (actual === null) return predictions;
  const away = new Map(predictions.map((each) => [each, distance(actual.data, each.output.data)]));
  return [...predictions].sort((a, b) => (away.get(a) ?? 0) - (away.get(b) ?? 0));
}

/** Root of the mean square of a row's finite elements. */
export function rms(row: Float64Array): number {
  let sum = 0;
  let count = 0;
  for (const x of row) {
    if (!Number.isFinite(x)) continue;
    sum += x * x;
    count++;
  }
  return count === 0 ? 0 : Math.sqrt(sum / count);
}

/** What a right element may be off by, of its row's RMS: far above f32's rounding, far below what is seen of a bug. */
const RIGHT_WITHIN = 1e-4;

/** Which elements are wrong, as far as a pattern needs to know. The ranking of hypotheses applies the proper bound later. */
export function wrongElements(expected: Matrix, actual: Matrix): boolean[] {
  const wrong: boolean[] = [];
  for (let row = 0; row < expected.rows; row++) {
    const [e, a] = [rowOf(expected, row), rowOf(actual, row)];
    const allowed = RIGHT_WITHIN * rms(e);
    for (const [i, x] of e.entries()) wrong.push(!Object.is(x, a[i]) && !(Math.abs((a[i] as number) - x) <= allowed));
  }
  return wrong;
}

/** Elements of the expected output, replaced where `at` says so. */
export function patched(expected: Matrix, at: readonly boolean[], by: (i: number) => number): Matrix {
  return mapped(expected, (x, i) => (at[i] ? by(i) : x));
}

/** At most `count` of the numbers 0 ... length - 1, evenly spread. */
export function spread(length: number, count: number): number[] {
  const step = Math.max(1, length / count);
  return Array.from({ length: Math.min(length, count) }, (_, i) => Math.floor(i * step));
}

/** Few digits, as people write numbers: `1e-6`, `500000`, `0.354`. */
export function brief(x: number): string {
  const short = Number.isInteger(x) ? x : Number(x.toPrecision(3));
  return short !== 0 && Math.abs(short) < 1e-3 ? short.toExponential() : String(short);
}
