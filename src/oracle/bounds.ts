/**
 * What right arithmetic may give: each op's output by the oracle, with a rigorous and a statistical bound for each element. One row
 * a kind; formulas and sources stand in docs/numerics.md, section "The audit". u is the unit roundoff of the engine's sums.
 */
import type { OpModel } from "../model/model.ts";
import type { Op, OpKind, OpOf } from "../model/ops.ts";
import { ropeFrequencies } from "../model/rope.ts";
import type { Arithmetic } from "./arithmetic.ts";
import { type Bounded, stored } from "./bounded.ts";
import { type Dot, dot, EITHER_WAY, gamma, LAMBDA, sumBounds, TINY } from "./dot-bounds.ts";
import { boundedLinear } from "./linear-bounds.ts";
import { evaluate, type Matrix, matrix, type OracleContext } from "./ops.ts";

type Bound<K extends OpKind> = (
  op: OpOf<K>,
  inputs: readonly Matrix[],
  context: OracleContext,
  how: Arithmetic,
  model: OpModel,
) => Bounded;

function input(inputs: readonly Matrix[], index: number): Matrix {
  const found = inputs[index];
  if (found === undefined) throw new Error(`input ${index} of ${inputs.length}`);
  return found;
}

/** An op element by element: `of` gives [worst, likely] of element i, whose right value is y. */
function elementwise(y: Matrix, of: (i: number, y: number) => readonly [worst: number, likely: number]): Bounded {
  const [worst, likely] = [new Float64Array(y.data.length), new Float64Array(y.data.length)];
  for (let i = 0; i < y.data.length; i++) {
    const bounds = of(i, y.data[i] as number);
    worst[i] = bounds[0];
    likely[i] = bounds[1];
  }
  return { rows: y.rows, columns: y.columns, expected: y.data, worst, likely };
}

/** Roundings, in u, of a square root, its reciprocal and two products: WGSL allows 2 to 2.5 ULP each, an ULP is at most 2 u. */
const RECIPROCAL_ROOT = 12;
/** Of exp at x, in u: WGSL allows 3 + 2 |x| ULP; engines that mean it stay within 2 ULP. */
const expWorst = (x: number) => 6 + 4 * Math.abs(x);
const EXP_LIKELY = 4;
/** Of a division, in u: 2.5 ULP. */
const DIVISION = 5;

/** q . k and p . v: `terms` products an element, in the layout that `evaluate` gives. */
function attention(
  y: Matrix,
  how: Arithmetic,
  extra: number,
  factor: number,
  of: (row: number, column: number) => { terms: number; cachedSize: number } | null,
  products: (row: number, column: number, out: Dot) => void,
): Bounded {
  const dots = { sum: 0, magnitude: 0, squares: 0 };
  return elementwise(y, (i) => {
    const row = Math.floor(i / y.columns);
    const seen = of(row, i % y.columns);
    if (seen === null) return [0, 0];
    products(row, i % y.columns, dots);
    const { worst, likely } = sumBounds(dots, seen.terms, extra, how);
    // Keys and values kept shorter in the cache than they were computed.
    const kept = how.cache * dots.magnitude + (how.cache > 0 ? 2 ** -25 * seen.cachedSize : 0);
    const keptLikely = LAMBDA * how.cache * Math.sqrt(dots.squares) + (how.cache > 0 ? 2 ** -25 * seen.cachedSize : 0);
    return [factor * (worst + kept), factor * (likely + keptLikely)];
  });
}

const sumOf = (x: Float64Array, from: number, stride: number, count: number) => {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.abs(x[from + i * stride] as number);
  return sum;
};

const BOUNDS: { readonly [K in Exclude<OpKind, "linear">]: Bound<K> } = {
  embed: (op, inputs, context, how, model) => {
    const y = evaluate(op, inputs, context);
    const isQuantised = model.file.tensor(op.weights[0] ?? "").type.elements > 1;
    // A product and a sum, whose terms are at most twice as large as the row's largest weight.
    const largest = Array.from({ length: y.rows }, (_, row) => largestOf(y.data, row * y.columns, y.columns));
    return elementwise(y, (i) => {
      const off = isQuantised ? 4 * how.sums * (largest[Math.floor(i / y.columns)] ?? 0) : 0;
      return [off, off];
    });
  },

  rms_norm: (op, inputs, context, how) => {
    const columns = input(inputs, 0).columns;
    const n = how.roundings(columns) + 1;
    const u = how.sums;
    // Squares are positive, so the sum's relative error is gamma_n at most; the root halves it.
    const worst = gamma(n, EITHER_WAY * u) / 2 + RECIPROCAL_ROOT * u + 2 * how.inputs;
    const likely = LAMBDA * u * Math.sqrt(n / 2) + RECIPROCAL_ROOT * u + 2 * how.inputs;
    return elementwise(evaluate(op, inputs, context), (_i, y) => [
      worst * Math.abs(y) + TINY,
      likely * Math.abs(y) + TINY,
    ]);
  },

  rope: (op, inputs, context, how, model) => {
    const x = input(inputs, 0);
    const { frequencies, magnitude } = ropeFrequencies(model.parameters.rope);
    const pairs = op.headDim / 2;
    const u = how.sums;
    return elementwise(evaluate(op, inputs, context), (i) => {
      const at = i - (i % 2);
      const [a, b] = [Math.abs(x.data[at] as number), Math.abs(x.data[at + 1] as number)];
      const pair = ((i % x.columns) >> 1) % pairs;
      const position = context.posStart + Math.floor(i / x.columns);
      const angle = position * (frequencies[pair] as number);
      // Angles made in f32, a frequency by up to `pair` multiplications, drift by some (pair + 2) u of themselves.
      const drift = how.exactAngles ? 0 : (2 * pair + 4) * u * Math.min(angle, 2 / u);
      const size = (a + b) * magnitude;
      return [size * (8 * u + 1.5 * drift + how.inputs) + TINY, size * (4 * u + drift + how.inputs) + TINY];
    });
  },

  attn_scores: (op, inputs, context, how) => {
    const [q, k] = [input(inputs, 0), input(inputs, 1)];
    const group = op.heads / op.kvHeads;
    const at = (row: number, s: number) => ({
      q: (row % q.rows) * q.columns + Math.floor(row / q.rows) * op.headDim,
      k: s * k.columns + Math.floor(Math.floor(row / q.rows) / group) * op.headDim,
    });
    return attention(
      evaluate(op, inputs, context),
      how,
      2,
      Math.abs(op.scale),
      (row, s) =>
        s > context.posStart + (row % q.rows)
          ? null
          : { terms: op.headDim, cachedSize: sumOf(q.data, at(row, s).q, 1, op.headDim) },
      (row, s, out) => dot(q.data, at(row, s).q, k.data, at(row, s).k, 1, op.headDim, out),
    );
  },

  causal_softmax: (op, inputs, context, how) => {
    const x = input(inputs, 0);
    const y = evaluate(op, inputs, context);
    const u = how.sums;
    const [worst, likely] = [new Float64Array(y.data.length), new Float64Array(y.data.length)];
    for (let row = 0; row < x.rows; row++) {
      const seen = context.posStart + (row % context.tokens.length) + 1;
      const at = row * x.columns;
      let largest = Number.NEGATIVE_INFINITY;
      for (let s = 0; s < seen; s++) largest = Math.max(largest, x.data[at + s] as number);
      // Relative errors of exp(x - largest): of the scores (which may be scaled here), their difference, and exp itself.
      const shared = (s: number) => {
        const score = x.data[at + s] as number;
        const difference = largest - score;
        return (u + 2 * how.inputs) * (Math.abs(score) + Math.abs(largest)) + u * difference;
      };
      const n = how.roundings(seen) + 1;
      let [meanWorst, meanLikely] = [
        gamma(n, EITHER_WAY * u) + DIVISION * u,
        LAMBDA * u * Math.sqrt(2 * n) + DIVISION * u,
      ];
      for (let s = 0; s < seen; s++) {
        const p = y.data[at + s] as number;
        meanWorst += p * (shared(s) + u * expWorst(largest - (x.data[at + s] as number)));
        meanLikely += p * (shared(s) + EXP_LIKELY * u);
      }
      for (let s = 0; s < seen; s++) {
        const p = y.data[at + s] as number;
        const own = expWorst(largest - (x.data[at + s] as number)) * u;
        // What is below the smallest normal number may be flushed, in exp and after the division.
        worst[at + s] = p * Math.expm1(Math.min(700, shared(s) + own + meanWorst)) + 2 * TINY;
        likely[at + s] = p * Math.expm1(Math.min(700, shared(s) + EXP_LIKELY * u + meanLikely)) + 2 * TINY;
      }
    }
    return { rows: y.rows, columns: y.columns, expected: y.data, worst, likely };
  },

  attn_ctx: (op, inputs, context, how) => contextOver(op, inputs, context, how, (t) => context.posStart + t + 1),

  swiglu: (op, inputs, context, how) => {
    const [gate, up] = [input(inputs, 0), input(inputs, 1)];
    const u = how.sums;
    return elementwise(evaluate(op, inputs, context), (i, y) => {
      const g = gate.data[i] as number;
      const negative = 1 / (1 + Math.exp(g)); // sigmoid(-g): how much of exp's error the sum shows
      const given = how.inputs * (2 + Math.abs(g));
      // Where exp(-g) exceeds f32 the result is 0; the true one is below |g up| 2^-126.
      const lost = (Math.abs(g) * Math.abs(up.data[i] as number) + 1) * 2 * TINY;
      const size = Math.abs(y);
      return [
        size * (u * (negative * expWorst(g) + 1 + DIVISION + 2) + given) + lost,
        size * (u * (negative * EXP_LIKELY + 1 + DIVISION + 2) + given) + lost,
      ];
    });
  },

  add: (op, inputs, context, how) => {
    const [a, b] = [input(inputs, 0), input(inputs, 1)];
    return elementwise(evaluate(op, inputs, context), (i, y) => {
      const given = how.inputs * (Math.abs(a.data[i] as number) + Math.abs(b.data[i] as number));
      const off = EITHER_WAY * how.sums * Math.abs(y) + given + TINY;
      return [off, off];
    });
  },
};

/** Values weighted by the probabilities of the first `seen` keys. */
function contextOver(
  op: OpOf<"attn_ctx">,
  inputs: readonly Matrix[],
  { tokens }: OracleContext,
  how: Arithmetic,
  seen: (token: number) => number,
): Bounded {
  const [p, v] = [input(inputs, 0), input(inputs, 1)];
  const group = op.heads / op.kvHeads;
  const headOf = (column: number) => Math.floor(column / op.headDim);
  const row = (t: number, column: number) => (headOf(column) * tokens.length + t) * p.columns;
  const products = (t: number, column: number, out: Dot) => {
    const from = Math.floor(headOf(column) / group) * op.headDim + (column % op.headDim);
    dot(p.data, row(t, column), v.data, from, v.columns, seen(t), out);
  };
  const y = matrix(tokens.length, op.heads * op.headDim);
  const sums = { sum: 0, magnitude: 0, squares: 0 };
  for (let i = 0; i < y.data.length; i++) {
    products(Math.floor(i / y.columns), i % y.columns, sums);
    y.data[i] = sums.sum;
  }
  const of = (t: number, column: number) => ({
    terms: seen(t),
    cachedSize: sumOf(p.data, row(t, column), 1, seen(t)),
  });
  return attention(y, how, 0, 1, of, products);
}

/**
 * Another right reading of an op's inputs, or null: where a wrong mask left probabilities to keys after the token, a context that
 * takes them in is as right as one that does not.
 */
export function alternative(
  op: Op,
  inputs: readonly Matrix[],
  context: OracleContext,
  how: Arithmetic,
): Bounded | null {
  if (op.kind !== "attn_ctx") return null;
  const p = input(inputs, 0);
  const { length } = context.tokens;
  const isMasked = (i: number) => i % p.columns > context.posStart + (Math.floor(i / p.columns) % length);
  if (!p.data.some((value, i) => value !== 0 && isMasked(i))) return null;
  return stored(
    contextOver(op, inputs, context, how, () => p.columns),
    how,
  );
}

function largestOf(x: Float64Array, from: number, count: number): number {
  let largest = 0;
  for (let i = from; i < from + count; i++) largest = Math.max(largest, Math.abs(x[i] as number));
  return largest;
}

/** One op on given inputs, with its bounds. `inputs` of a projection may hold rows of several steps. */
export function bounded(
  model: OpModel,
  op: Op,
  inputs: readonly Matrix[],
  context: OracleContext,
  how: Arithmetic,
): Bounded {
  if (op.kind === "linear") return stored(boundedLinear(model, op, input(inputs, 0), how), how);
  const row = BOUNDS[op.kind] as Bound<Exclude<OpKind, "linear">>;
  return stored(row(op, inputs, context, how, model), how);
}
