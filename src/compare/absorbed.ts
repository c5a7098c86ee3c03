/**
 * Numbers that are not finite and go unseen: an op takes NaN or Inf and gives finite numbers at places that depend on it, or makes
 * Inf inside itself and hides it. Counts of NaN and Inf show none of this.
 */
import type { GraphNode } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import type { OpKind } from "../model/ops.ts";
import { arithmeticOf } from "../oracle/arithmetic.ts";
import { missingInputs, type OpCase, opCase } from "../oracle/op-case.ts";
import type { Matrix } from "../oracle/ops.ts";
import { OracleWeights } from "../oracle/oracle.ts";
import { sumRange } from "../oracle/ranges.ts";
import type { Audit } from "./audit.ts";
import { type ElementPlace, placeOf } from "./element-place.ts";
import type { TraceValues } from "./run-values.ts";

/**
 * right: the limit is finite (softmax of a score of -Inf is 0, silu of -Inf is 0).
 * hidden: the formula gives a finite number that means nothing (a norm's row with an Inf has scale 0, so its other elements are 0).
 * lost: the formula gives NaN or Inf, the op gave a finite number.
 * inside: inputs are finite, Inf arose on the way and became 0 (exp without the largest score taken off; a sum of squares).
 */
export type Absorption = "right" | "hidden" | "lost" | "inside";

export interface Absorbed {
  readonly step: number;
  readonly tap: string;
  readonly kind: Absorption;
  /** Elements, and the first of them. */
  readonly count: number;
  readonly at: ElementPlace;
  readonly value: number;
}

/** What a finite element is that depends on something not finite; null where it does not depend on any. */
type Takes = (row: number, column: number, actual: number) => Absorption | null;

const isBad = (value: number | undefined) => value === undefined || !Number.isFinite(value);
const cell = ({ columns, data }: Matrix, row: number, column: number) => data[row * columns + column] as number;
/** Rows of a matrix by what they hold. */
function rowsWhere({ rows, columns, data }: Matrix, holds: (row: Float64Array) => boolean): Set<number> {
  const found = new Set<number>();
  for (let row = 0; row < rows; row++) if (holds(data.subarray(row * columns, (row + 1) * columns))) found.add(row);
  return found;
}
const badRows = (x: Matrix) => rowsWhere(x, (row) => row.some(isBad));
const lostWhere =
  (takes: (row: number, column: number) => boolean): Takes =>
  (row, column) =>
    takes(row, column) ? "lost" : null;

/** For each kind: from its inputs, which output elements depend on something not finite. */
const TAKES: { readonly [K in OpKind]: (of: OpCase, inputs: readonly [Matrix, Matrix]) => Takes } = {
  embed: () => () => null,
  linear: (_of, [x]) => {
    const rows = badRows(x);
    return lostWhere((row) => rows.has(row));
  },
  rms_norm: (_of, [x]) => {
    const [rows, nan] = [badRows(x), rowsWhere(x, (row) => row.some(Number.isNaN))];
    return (row, column) => (!rows.has(row) ? null : nan.has(row) || isBad(cell(x, row, column)) ? "lost" : "hidden");
  },
  rope: (_of, [x]) => lostWhere((row, column) => isBad(cell(x, row, column)) || isBad(cell(x, row, column ^ 1))),
  attn_scores: ({ node: { op }, context: { posStart, tokens } }, [q, k]) => {
    if (op.kind !== "attn_scores") return () => null;
    const { heads, kvHeads, headDim } = op;
    const heads2 = (x: Matrix) => badRows({ rows: x.data.length / headDim, columns: headDim, data: x.data });
    const [queries, keys] = [heads2(q), heads2(k)];
    return lostWhere((row, key) => {
      const [head, token] = [Math.floor(row / tokens.length), row % tokens.length];
      const kvHead = Math.floor(head / (heads / kvHeads));
      return key <= posStart + token && (queries.has(token * heads + head) || keys.has(key * kvHeads + kvHead));
    });
  },
  causal_softmax: ({ context: { posStart, tokens } }, [x]) => {
    const seen = (row: number) => posStart + (row % tokens.length) + 1;
    const rowOf = (row: number) => x.data.subarray(row * x.columns, row * x.columns + seen(row));
    const bad = Array.from({ length: x.rows }, (_, row) =>
      rowOf(row).some((score) => Number.isNaN(score) || score === Number.POSITIVE_INFINITY),
    );
    const empty = Array.from({ length: x.rows }, (_, row) =>
      rowOf(row).every((score) => score === Number.NEGATIVE_INFINITY),
    );
    return (row, key, actual) => {
      if (key >= seen(row)) return null;
      if (bad[row] || empty[row]) return "lost";
      return cell(x, row, key) === Number.NEGATIVE_INFINITY ? (actual === 0 ? "right" : "lost") : null;
    };
  },
  attn_ctx: ({ node: { op }, context: { posStart, tokens } }, [p, v]) => {
    if (op.kind !== "attn_ctx") return () => null;
    const { heads, kvHeads, headDim } = op;
    // First key at which a column of the values, or a row of probabilities, is not finite.
    const firstKey = (count: number, of: (i: number, key: number) => number, keys: number) =>
      Array.from({ length: count }, (_, i) => {
        for (let key = 0; key < keys; key++) if (isBad(of(i, key))) return key;
        return Number.POSITIVE_INFINITY;
      });
    const values = firstKey(v.columns, (column, key) => cell(v, key, column), v.rows);
    const rows = firstKey(p.rows, (row, key) => cell(p, row, key), p.columns);
    return lostWhere((token, column) => {
      const head = Math.floor(column / headDim);
      const from = Math.floor(head / (heads / kvHeads)) * headDim + (column % headDim);
      const first = Math.min(values[from] as number, rows[head * tokens.length + token] as number);
      return first <= posStart + token;
    });
  },
  swiglu:
    (_of, [gate, up]) =>
    (row, column, actual) => {
      const [g, u] = [cell(gate, row, column), cell(up, row, column)];
      if (!isBad(g) && !isBad(u)) return null;
      return g === Number.NEGATIVE_INFINITY && !isBad(u) && actual === 0 ? "right" : "lost";
    },
  add: (_of, [a, b]) => lostWhere((row, column) => isBad(cell(a, row, column)) || isBad(cell(b, row, column))),
};

/** Rows that are 0 throughout, of a proved fault, because something larger than the format arose on the way. */
function insideRows(of: OpCase, largestSum: number, actual: Float32Array, columns: number): Takes {
  const [x] = of.inputs;
  const { kind } = of.node.op;
  if (x === undefined || (kind !== "causal_softmax" && kind !== "rms_norm")) return () => null;
  const seen = (row: number) =>
    kind === "rms_norm" ? x.columns : of.context.posStart + (row % of.context.tokens.length) + 1;
  const term = kind === "rms_norm" ? (each: number) => each * each : Math.exp;
  const overflows = (row: Float64Array) => row.reduce((sum, each) => sum + term(each), 0) > largestSum;
  const rows = new Set<number>();
  for (let row = 0; row < x.rows; row++) {
    const inputs = x.data.subarray(row * x.columns, row * x.columns + seen(row));
    const isZero = actual.subarray(row * columns, (row + 1) * columns).every((each) => each === 0);
    if (isZero && inputs.some((each) => each !== 0) && inputs.every(Number.isFinite) && overflows(inputs))
      rows.add(row);
  }
  return (row, column) => (rows.has(row) && column < seen(row) ? "inside" : null);
}

/** What ops of an audited run absorbed, in execution order, one entry for each op and kind. Ops without values are left out. */
export async function absorbedIn(model: Model, run: TraceValues, audit: Audit): Promise<Absorbed[]> {
  const nodes = new Map(model.graph.map((node) => [node.op.tap, node]));
  const weights = new OracleWeights(model);
  const found: Absorbed[] = [];
  for (const { step, tap, own, reason } of audit.ops) {
    const node = nodes.get(tap);
    const takesBad = node !== undefined && takesNonFinite(run, step, node);
    const mayHide = own?.verdict === "proved" && (node?.op.kind === "rms_norm" || node?.op.kind === "causal_softmax");
    if (node === undefined || reason !== null || !(takesBad || mayHide)) continue;
    const actual = await run.values(step, tap);
    if (actual === null || (await missingInputs(run, step, node)).length > 0) continue;
    const of = await opCase(model, run, step, node, (name, ids) => weights.get(name, ids));
    const record = run.record(step, tap);
    const largest = sumRange(arithmeticOf(record?.dtype ?? "f32", run.trace.manifest.producer)).largest;
    const columns = record?.shape.at(-1) ?? 1;
    const none: Matrix = { rows: 0, columns: 0, data: new Float64Array(0) };
    const [a, b] = of.inputs;
    const takes = takesBad ? TAKES[node.op.kind](of, [a ?? none, b ?? none]) : insideRows(of, largest, actual, columns);
    found.push(
      ...counted(takes, actual, columns).map(([kind, count, index]) => {
        const { posStart, tokens } = run.steps[step] ?? { posStart: 0, tokens: [] };
        const at = placeOf(node.op.dims, model.axes(tokens.length, posStart + tokens.length), posStart, index);
        return { step, tap, kind, count, at, value: actual[index] as number };
      }),
    );
  }
  return found;
}

/** By the records' counts: an input of the op, in this step or in the cache, is not finite somewhere. */
function takesNonFinite(run: TraceValues, step: number, node: GraphNode): boolean {
  return node.inputs.some(({ tap, cached }) =>
    (cached ? [...Array(step + 1).keys()] : [step]).some((at) => {
      const { nanCount, infCount } = run.record(at, tap)?.statistics ?? { nanCount: 0, infCount: 0 };
      return nanCount + infCount > 0;
    }),
  );
}

/** Of each kind: how many finite elements, and the first. */
function counted(takes: Takes, actual: Float32Array, columns: number): [Absorption, number, number][] {
  const found = new Map<Absorption, [number, number]>();
  for (let i = 0; i < actual.length; i++) {
    if (isBad(actual[i])) continue;
    const kind = takes(Math.floor(i / columns), i % columns, actual[i] as number);
    if (kind === null) continue;
    const [count, first] = found.get(kind) ?? [0, i];
    found.set(kind, [count + 1, first]);
  }
  return [...found].map(([kind, [count, first]]) => [kind, count, first]);
}
