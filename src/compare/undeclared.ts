/**
 * Arithmetic that a trace does not declare, tried on a whole op whose declared arithmetic gives finite numbers: named only where it
 * gives NaN and Inf at just the places where the op has them.
 */
import { RANGES, SINGLE_RANGE } from "../oracle/ranges.ts";
import { type Reason, sameInfinity } from "./non-finite-reason.ts";

/** Least number of elements whose order alone (the largest are Inf) shows a limit that no format has. */
const ENOUGH = 3;

/** Right values up to `kept` stayed finite, those from `lost` on, `count` of them, became Inf of their sign. */
export interface Limit {
  readonly kept: number;
  readonly lost: number;
  readonly count: number;
}

/** The limit of an op of which just the largest elements are Inf; null where there is none. */
export function limitOf(right: Float64Array, actual: Float32Array): Limit | null {
  let [kept, lost, count] = [0, Number.POSITIVE_INFINITY, 0];
  for (let i = 0; i < actual.length; i++) {
    const [e, a] = [right[i] as number, actual[i] as number];
    if (Number.isFinite(a)) kept = Math.max(kept, Math.abs(a));
    else {
      if (!sameInfinity(a, e)) return null;
      lost = Math.min(lost, Math.abs(e));
      count++;
    }
  }
  return lost > kept ? { kept, lost, count } : null;
}

/** A store with a smaller range than declared: its limit is a format's, or shows by itself. `size` is the right value asked for. */
export function saturated({ kept, lost, count }: Limit, size: number): Reason | null {
  const format = RANGES.find((range) => range.format !== "f32" && kept <= range.largest && lost >= range.largest);
  if (format === undefined && count < ENOUGH) return null;
  const limit = { format: format?.format ?? null, largest: format?.largest ?? kept };
  return { kind: "sum-overflows", of: "value", size, ...limit, certain: false };
}

/** Arguments from here on overflow exp in f32; below the second exp is no normal number, below the third it is 0. */
export const EXP_LIMIT = Math.log(SINGLE_RANGE.overflows);
const EXP_NORMAL = Math.log(2 ** -126);
const EXP_ZERO = Math.log(2 ** -150);

/** The scores that a row of a softmax sees, and what it gave for them. */
export interface SoftmaxRow {
  readonly scores: Float64Array;
  readonly actual: Float32Array;
}

/**
 * A softmax that does not subtract its row's largest score, in f32: NaN stands where exp overflows (Inf / Inf), unless the device
 * caps exp, and in all of a row where every exp is 0 (0 / 0).
 */
export function unshifted(rows: readonly SoftmaxRow[], row: number, key: number): Reason | null {
  const at = rows[row];
  if (at === undefined || !Number.isNaN(at.actual[key]) || !rows.every(isUnshifted)) return null;
  if (largestOf(at) > EXP_LIMIT)
    return { kind: "exp-overflows", argument: at.scores[key] as number, limit: EXP_LIMIT, certain: false };
  return { kind: "zero-over-zero", what: "exp(score) / sum of exp(score)", certain: false };
}

const largestOf = ({ scores }: SoftmaxRow) =>
  scores.reduce((top, score) => Math.max(top, score), Number.NEGATIVE_INFINITY);

/** True if a row has NaN at just the places where the largest score is missing. */
function isUnshifted(row: SoftmaxRow): boolean {
  const { scores, actual } = row;
  const largest = largestOf(row);
  const isNaNWhere = (where: (score: number) => boolean) =>
    scores.every((score, s) => where(score) === Number.isNaN(actual[s]));
  const none = () => isNaNWhere(() => false);
  if (largest > EXP_LIMIT) return none() || isNaNWhere((score) => score > EXP_LIMIT);
  if (largest < EXP_NORMAL) return isNaNWhere(() => true) || (largest >= EXP_ZERO && none());
  return none();
}

/** silu by a form that takes exp of a large number (x exp(x) / (1 + exp(x)), tanh by exp): NaN just where |gate| passes 88. */
export function exponentiated(gate: Float64Array, actual: Float32Array, at: number): Reason | null {
  const agrees = gate.every((g, i) => Math.abs(g) > EXP_LIMIT === Number.isNaN(actual[i]));
  return agrees
    ? { kind: "exp-overflows", argument: Math.abs(gate[at] as number), limit: EXP_LIMIT, certain: false }
    : null;
}
