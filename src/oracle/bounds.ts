/**
 * What right arithmetic may give: each op's output by the oracle, with a rigorous and a statistical bound for each element. One row
 * a kind; formulas and sources stand in docs/numerics.md, section "The audit". u is the unit roundoff of the engine's sums.
 */
import type { OpModel } from "../model/model.ts";
import type { Op, OpKind, OpOf } from "../model/ops.ts";
import { ropeFrequencies } from "../model/rope.ts";
import type { Arithmetic } from "./arithmetic.ts";
import { type Bounded, type Computed, stored } from "./bounded.ts";
import { type Dot, dot, EITHER_WAY, LAMBDA, smallest, sumBounds, TINY } from "./dot-bounds.ts";
import { boundedLinear } from "./linear-bounds.ts";
import { evaluate, type Matrix, matrix, type OracleContext } from "./ops.ts";

type Bound<K extends OpKind> = (
  op: OpOf<K>,
  inputs: readonly Matrix[],
  context: OracleContext,
  how: Arithmetic,
  model: OpModel,
) => Computed;

function input(inputs: readonly Matrix[], index: number): Matrix {
  const found = inputs[index];
  if (found === undefined) throw new Error(`input ${index} of ${inputs.length}`);
  return found;
}

/** An op element by element: `of` gives [worst, likely] of element i, whose right value is y. */
function elementwise(y: Matrix, of: (i: number, y: number) => readonly [worst: number, likely: number]): Computed {
  const [worst, likely] = [new Float64Array(y.data.length), new Float64Array(y.data.length)];
  for (let i = 0; i < y.data.length; i++) {
    const bounds = of(i, y.data[i] as number);
    worst[i] = bounds[0];
    likely[i] = bounds[1];
  }
  return { rows: y.rows, columns: y.columns, expected: y.data, worst, likely };
}

/**
 * Of a mean, eps, a square root, its reciprocal and two products, in u. WGSL allows divisions 2.5 ULP and 1/sqrt 2 ULP, a square root
 * both together, and rounds products and sums either way; an ULP is at most 2 u: (5 + 2) / 2 halved by the root, 9, 5, 2 and 2.
 */
const RECIPROCAL_ROOT = 22;
/** Engines that mean it are within half an ULP in each; 1/sqrt of 2 ULP. */
const RECIPROCAL_ROOT_LIKELY = 12;
/** Of exp at x, in u: WGSL allows 3 + 2 |x| ULP; engines that mean it stay within 2 ULP. */
const expWorst = (x: number) => 6 + 4 * Math.abs(x);
const EXP_LIKELY = 4;
/** Of a division, in u: 2.5 ULP. */
const DIVISION = 5;

/** Silu in u: exp aside, 1 + exp, the division and two products, rounded either way; to nearest. */
const SILU = EITHER_WAY + DIVISION + 2 * EITHER_WAY;
const SILU_LIKELY = 1 + DIVISION + 2;

/** q . k and p . v: `terms` products an element, whose factors sum up to `factors`, in the layout that `evaluate` gives. */
function attention(
  y: Matrix,
  how: Arithmetic,
  extra: number,
  factor: number,
  of: (row: number, column: number) => { terms: number; factors: number } | null,
  products: (row: number, column: number, out: Dot) => void,
): Computed {
  const dots = { sum: 0, magnitude: 0, squares: 0 };
  // A cache that is cut off, not rounded, makes all products smaller.
  const alike = new Float64Array(y.rows).fill(2 * EITHER_WAY * how.cache);
  const computed = elementwise(y, (i) => {
    const row = Math.floor(i / y.columns);
    const seen = of(row, i % y.columns);
    if (seen === null) return [0, 0];
    products(row, i % y.columns, dots);
    const { worst, likely } = sumBounds(dots, { ...seen, extra, operands: 2 }, how);
    // The sum may be kept before it is scaled, and what is small may be lost once more.
    const kept = extra === 0 ? 0 : how.between * (Math.abs(dots.sum) + worst);
    const last = extra === 0 ? 0 : smallest(how);
    return [factor * (worst + EITHER_WAY * kept) + last, factor * (likely + kept) + last];
  });
  return { ...computed, alike };
}

const sumOf = (x: Float64Array, from: number, stride: number, count: number) => {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.abs(x[from + i * stride] as number);
  return sum;
};

/**
 * Sum of squares, and the part of it (relative) that may be lost in one direction: a square below 4 u of the sum is rounded to nothing
 * or to one step of the sum, whichever order it comes in, and what it loses is the same for all rows that are made alike.
 */
function squaresOf(x: Float64Array, u: number): { sum: number; vanishing: number } {
  let [sum, vanishing] = [0, 0];
  for (const value of x) sum += value * value;
  for (const value of x) if (value * value < 4 * u * sum) vanishing += Math.min(u, (value * value) / sum);
  return { sum, vanishing };
}

const BOUNDS: { readonly [K in Exclude<OpKind, "linear">]: Bound<K> } = {
  embed: (op, inputs, context, how, model) => {
    const y = evaluate(op, inputs, context);
    const isQuantised = model.file.tensor(op.weights[0] ?? "").type.elements > 1;
    // A product and a sum, whose terms are at most twice as large as the row's largest weight.
    const largest = Array.from({ length: y.rows }, (_, row) => largestOf(y.data, row * y.columns, y.columns));
    return elementwise(y, (i) => {
      const off = TINY + (isQuantised ? 4 * how.sums * (largest[Math.floor(i / y.columns)] ?? 0) : 0);
      return [off, off];
    });
  },

  rms_norm: (op, inputs, context, how) => {
    const x = input(inputs, 0);
    const { columns } = x;
    const gain = context.weight(op.weights[0] ?? "").data;
    const n = how.roundings(columns) + 1;
    const u = how.sums;
    const alike = new Float64Array(x.rows);
    const rows = Array.from(alike, (_, row) => {
      const { sum, vanishing } = squaresOf(x.data.subarray(row * columns, (row + 1) * columns), u);
      const whole = sum + columns * op.eps;
      // Squares are positive, so the sum's relative error is gamma_n at most; the root halves it. Some may be too small for the format.
      const small = Math.min(1, (columns * smallest(how)) / whole);
      alike[row] = vanishing / 2;
      return {
        scale: Math.sqrt(columns / whole),
        worst: Math.expm1(
          (EITHER_WAY * n * u) / 2 + RECIPROCAL_ROOT * u + small + 2 * EITHER_WAY * (how.inputs + how.between),
        ),
        likely:
          LAMBDA * u * Math.sqrt(n / 2) + vanishing / 2 + RECIPROCAL_ROOT_LIKELY * u + 2 * (how.inputs + how.between),
      };
    });
    const computed = elementwise(evaluate(op, inputs, context), (i, y) => {
      const row = rows[Math.floor(i / columns)] ?? { scale: 0, worst: 0, likely: 0 };
      const g = Math.abs(gain[i % columns] as number);
      // Too small may be x, x times the scale, the gain, and the result.
      const tiny = smallest(how) * (1 + g + row.scale * (g + Math.abs(x.data[i] as number)));
      return [row.worst * Math.abs(y) + tiny, row.likely * Math.abs(y) + tiny];
    });
    return { ...computed, alike };
  },

  rope: (op, inputs, context, how, model) => {
    const x = input(inputs, 0);
    const { rope } = model.parameters;
    const { frequencies, magnitude } = ropeFrequencies(rope);
    const pairs = op.headDim / 2;
    const u = how.sums;
    const slowed = frequencies.map((frequency, j) => rope.base ** ((-2 * j) / rope.dimensions) / frequency);
    const slowest = largestOf(slowed, 0, slowed.length) * (1 - 1e-6);
    // Between its own frequency and the slowed one a pair's share of both is off by some 4 u, of the larger of them.
    const mixing = (pair: number) => {
      const by = slowed[pair] as number;
      return by > 1 + 1e-6 && by < slowest ? 4 * by : 0;
    };
    return elementwise(evaluate(op, inputs, context), (i) => {
      const at = i - (i % 2);
      const [a, b] = [Math.abs(x.data[at] as number), Math.abs(x.data[at + 1] as number)];
      const pair = ((i % x.columns) >> 1) % pairs;
      const position = context.posStart + Math.floor(i / x.columns);
      const angle = position * (frequencies[pair] as number);
      // Angles made in f32, a frequency by up to `pair` multiplications, drift by some (pair + 2) u of themselves.
      const drift = how.exactAngles ? 0 : (2 * pair + 4 + mixing(pair)) * u * Math.min(angle, 2 / u);
      const size = (a + b) * magnitude;
      // Table, product and sum are 6 u, rounded either way; a table in f32 has the function's 2 ULP and the magnitude's roundings.
      const [worst, likely] = how.exactAngles ? [8 * u, 4 * u] : [14 * u, 7 * u];
      const given = how.inputs + 2 * how.between;
      const tiny = 5 * smallest(how) * (1 + a + b);
      return [size * (worst + 1.5 * drift + EITHER_WAY * given) + tiny, size * (likely + drift + given) + tiny];
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
          : {
              terms: op.headDim,
              factors: sumOf(q.data, at(row, s).q, 1, op.headDim) + sumOf(k.data, at(row, s).k, 1, op.headDim),
            },
      (row, s, out) => dot(q.data, at(row, s).q, k.data, at(row, s).k, 1, op.headDim, out),
    );
  },

  causal_softmax: (op, inputs, context, how) => {
    const x = input(inputs, 0);
    const y = evaluate(op, inputs, context);
    const u = how.sums;
    const [worst, likely] = [new Float64Array(y.data.length), new Float64Array(y.data.length)];
    const alike = new Float64Array(y.rows);
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
      const ownWorst = (s: number) => -Math.log1p(-u * expWorst(largest - (x.data[at + s] as number)));
      const n = how.roundings(seen) + 1;
      // Addends of one size, or beside a large one, are off in one direction: n u is what rounding to nearest can do to their sum
      // (Jeannerod and Rump, "Improved error bounds for inner products", SIAM J. Matrix Anal. Appl. 34, 2013).
      let [meanWorst, meanLikely] = [(EITHER_WAY * n * u) / (1 - u) + DIVISION * u, n * u + DIVISION * u];
      for (let s = 0; s < seen; s++) {
        const p = y.data[at + s] as number;
        meanWorst += p * (EITHER_WAY * shared(s) + ownWorst(s));
        meanLikely += p * (shared(s) + EXP_LIKELY * u);
      }
      let [together, squares] = [0, 0];
      for (let s = 0; s < seen; s++) {
        const p = y.data[at + s] as number;
        // What is below the smallest normal number may be flushed, in exp and after the division.
        const tiny = 2 * smallest(how);
        worst[at + s] = p * Math.expm1(Math.min(700, EITHER_WAY * shared(s) + ownWorst(s) + meanWorst)) + tiny;
        likely[at + s] = p * Math.expm1(Math.min(700, shared(s) + EXP_LIKELY * u + meanLikely)) + tiny;
        together += p * (likely[at + s] as number);
        squares += p * p;
      }
      alike[row] = squares > 0 ? together / squares : 0;
    }
    return { rows: y.rows, columns: y.columns, expected: y.data, worst, likely, alike };
  },

  attn_ctx: (op, inputs, context, how) => contextOver(op, inputs, context, how, (t) => context.posStart + t + 1),

  swiglu: (op, inputs, context, how) => {
    const [gate, up] = [input(inputs, 0), input(inputs, 1)];
    const u = how.sums;
    return elementwise(evaluate(op, inputs, context), (i, y) => {
      const g = gate.data[i] as number;
      const negative = 1 / (1 + Math.exp(g)); // sigmoid(-g): how much of exp's error the sum shows
      const given = how.inputs * (2 + Math.abs(g)) + 2 * how.between;
      // Where exp(-g) exceeds f32 the result is 0; the true one is below |g up| 2^-126. So may each factor be lost.
      const lost = (1 + Math.abs(g)) * (1 + Math.abs(up.data[i] as number)) * 2 * smallest(how);
      const size = Math.abs(y);
      // Second orders: no more than the first in an exponent.
      const worst = u * (negative * expWorst(g) * (1 + 2 * u * expWorst(g)) + SILU) + EITHER_WAY * given;
      return [
        size * Math.expm1(Math.min(700, worst)) + lost,
        size * (u * (negative * EXP_LIKELY + SILU_LIKELY) + given) + lost,
      ];
    });
  },

  add: (op, inputs, context, how) => {
    const [a, b] = [input(inputs, 0), input(inputs, 1)];
    return elementwise(evaluate(op, inputs, context), (i, y) => {
      const given = how.inputs * (Math.abs(a.data[i] as number) + Math.abs(b.data[i] as number));
      // Both terms and the sum may be flushed.
      const off = EITHER_WAY * how.sums * Math.abs(y) + EITHER_WAY * given + 3 * smallest(how);
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
): Computed {
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
    factors:
      sumOf(p.data, row(t, column), 1, seen(t)) +
      sumOf(v.data, Math.floor(headOf(column) / group) * op.headDim + (column % op.headDim), v.columns, seen(t)),
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
  const isOpen = p.data.some((value, i) => value !== 0 && isMasked(i));
  // A dense product takes 0 times the NaN of a later key in, too.
  if (!isOpen && input(inputs, 1).data.every(Number.isFinite)) return null;
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

/**
 * Ops made of products and at most one sum. Where more is added, and in a rotation (a product added to a rounded one), what is added
 * first may overflow against the value's sign.
 */
const KEEPS_SIGN: ReadonlySet<OpKind> = new Set(["embed", "rms_norm", "swiglu", "add"]);

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
  return stored({ ...row(op, inputs, context, how, model), keepsSign: KEEPS_SIGN.has(op.kind) }, how);
}
