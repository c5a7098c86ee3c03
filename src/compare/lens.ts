/**
 * The logit lens: what the model would say after each layer, were it the last. Each row of the residual stream is put through the
 * model's own final norm and head by the f64 oracle, whoever made the row, so that rows of several runs can be held side by side.
 */
import type { Model } from "../model/model.ts";
import { evaluate, type Matrix, matrix } from "../oracle/ops.ts";
import { OracleWeights, oracleContext } from "../oracle/oracle.ts";
import { TraceError } from "../trace/errors.ts";
import type { TraceRecord } from "../trace/record.ts";
import { isResidualStream, layerOfTap } from "../trace/taps.ts";

/** The residual stream of one position: `embed`, and the output of each layer that ran. */
export interface HiddenRow {
  readonly tap: string;
  readonly row: ArrayLike<number>;
}

export interface LensToken {
  readonly id: number;
  readonly logit: number;
  readonly probability: number;
}

export interface LensRow {
  readonly tap: string;
  readonly layer: number | null;
  /** Most likely tokens, of equals the lowest id first; empty where a logit is not finite. */
  readonly top: readonly LensToken[];
  /** Smallest and largest logit; null where one is not finite. */
  readonly low: number | null;
  readonly high: number | null;
  /** Of the softmax, in nats; null where a logit is not finite. */
  readonly entropy: number | null;
  /** KL(last row's softmax || this one's) in nats; null where either is not finite. */
  readonly kl: number | null;
  /** True where no token is told from another. */
  readonly isFlat: boolean;
  readonly nonFinite: number;
  /** Natural logarithms of all probabilities; null where a logit is not finite. */
  readonly logProbabilities: Float64Array | null;
}

export interface Lens {
  readonly rows: readonly LensRow[];
  /** ln of the vocabulary: the entropy of knowing nothing. */
  readonly uniform: number;
  /** First row whose logits are not finite or flat; null where all tell tokens apart. */
  readonly collapse: LensRow | null;
}

/**
 * Logits whose spread is s (standard deviation) have a softmax s^2 / 2 nats below uniform, to second order. Below 0.01 nats (s =
 * 0.14) the most likely of 32000 tokens is less than twice as likely as the mean one: 4 s is what the largest of them stands out by.
 */
const FLAT = 0.01;

/** The last row of each record of the stream of one step. Throws TraceError where one has no values. */
export function hiddenRows(records: Iterable<Pick<TraceRecord, "tap" | "values" | "shape">>): HiddenRow[] {
  const rows: HiddenRow[] = [];
  for (const { tap, values, shape } of records) {
    if (!isResidualStream(tap)) continue;
    if (values === null) throw new TraceError(`${tap} has no values; trace with --capture full`);
    rows.push({ tap, row: values.subarray(values.length - (shape.at(-1) ?? 0)) });
  }
  return rows;
}

/** The lens over the stream's rows, in order; `top` tokens each. Throws TraceError where a row is not of the model's width. */
export function lensOf(model: Model, hidden: readonly HiddenRow[], top: number): Lens {
  const { embd } = model.parameters;
  const strange = hidden.find(({ row }) => row.length !== embd);
  if (strange !== undefined) {
    throw new TraceError(
      `${strange.tap} has rows of ${strange.row.length}, ${model.file.name} has ${embd}; give its own model`,
    );
  }
  const logits = headOf(model, hidden);
  const last = logits.rows === 0 ? null : softmax(rowOf(logits, logits.rows - 1));
  const rows = hidden.map(({ tap }, i): LensRow => {
    const row = rowOf(logits, i);
    const nonFinite = row.reduce((count, x) => count + (Number.isFinite(x) ? 0 : 1), 0);
    const own = softmax(row);
    const named = { tap, layer: layerOfTap(tap), nonFinite, logProbabilities: own };
    if (own === null) return { ...named, top: [], low: null, high: null, entropy: null, kl: null, isFlat: false };
    const entropy = -own.reduce((sum, lp) => sum + Math.exp(lp) * lp, 0);
    const ids = largest(row, top);
    return {
      ...named,
      top: ids.map((id) => ({ id, logit: row[id] as number, probability: Math.exp(own[id] as number) })),
      ...{ low: row.reduce((a, b) => Math.min(a, b)), high: row[ids[0] ?? 0] as number },
      ...{ entropy, kl: divergence(last, own), isFlat: Math.log(row.length) - entropy < FLAT },
    };
  });
  const collapse = rows.find(({ isFlat, nonFinite }) => isFlat || nonFinite > 0) ?? null;
  return { rows, uniform: Math.log(logits.columns), collapse };
}

/** KL(other || lens) in nats, one a row of the lens; null where the other lacks the tap, or a logit is not finite. */
export function divergences(lens: Lens, other: Lens): readonly (number | null)[] {
  const theirs = new Map(other.rows.map(({ tap, logProbabilities }) => [tap, logProbabilities]));
  return lens.rows.map(({ tap, logProbabilities }) => divergence(theirs.get(tap) ?? null, logProbabilities));
}

/** What follows the last layer on the page (final norm, head), over rows of the stream. */
function headOf(model: Model, hidden: readonly HiddenRow[]): Matrix {
  const { embd } = model.parameters;
  let x = matrix(hidden.length, embd);
  for (const [i, { row }] of hidden.entries()) x.data.set(Float64Array.from(row), i * embd);
  const context = oracleContext(model, new OracleWeights(model), 0, [0]);
  const from = model.graph.findLastIndex(({ op: { tap } }) => isResidualStream(tap));
  for (const { op } of model.graph.slice(from + 1)) x = evaluate(op, [x], context);
  return x;
}

const rowOf = ({ data, columns }: Matrix, row: number) => data.subarray(row * columns, (row + 1) * columns);

/** Log probabilities; null where a logit is not finite. */
function softmax(logits: Float64Array): Float64Array | null {
  if (!logits.every(Number.isFinite)) return null;
  const most = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const log = most + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - most), 0));
  return logits.map((x) => x - log);
}

/** KL(p || q) of log probabilities; null where one is not known. */
const divergence = (p: Float64Array | null, q: Float64Array | null) =>
  p === null || q === null
    ? null
    : Math.max(
        0,
        p.reduce((sum, lp, i) => sum + Math.exp(lp) * (lp - (q[i] as number)), 0),
      );

function largest(row: Float64Array, count: number): number[] {
  return Array.from(row.keys())
    .sort((a, b) => (row[b] as number) - (row[a] as number) || a - b)
    .slice(0, count);
}
