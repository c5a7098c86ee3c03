/**
 * Sums of products with what rounding may do to each: value, size of its terms, and the two bounds. docs/numerics.md, section "The
 * audit", derives the formulas; the constants are named here.
 *
 *   worst   |fl(x.y) - x.y| <= gamma_n sum |x_i y_i|, gamma_n = n u / (1 - n u): Higham, Accuracy and Stability, 3.1
 *   likely  independent roundings of a sum whose terms pass n of them: LAMBDA u sqrt(n (s^2 + sum (x_i y_i)^2)), Hoeffding's
 *           inequality: exceeded with probability 2 exp(-LAMBDA^2 / 2) an element
 */
import type { Arithmetic } from "./arithmetic.ts";

/** 2 exp(-32) = 2.5e-14: a thousand million elements without a false alarm, were roundings independent. */
export const LAMBDA = 8;

/** WGSL rounds + - * correctly, up or down as it likes: off by an ULP, 2 u, at most. To nearest, as most do, it is u. */
export const EITHER_WAY = 2;

/** gamma_n for unit roundoff u. */
export const gamma = (n: number, u: number) => (n * u) / (1 - Math.min(0.5, n * u));

/** Smallest normal f32: what lies below many devices flush to zero. */
export const TINY = 2 ** -126;

/** Rows of one factor with what bounds need of them besides: sums over blocks of its elements. */
export interface BlockSums {
  /** Elements of a block. */
  readonly elements: number;
  /** Of each row and block: sum |x|, and the largest |x|. */
  readonly sums: Float64Array;
  readonly largest: Float64Array;
}

export function blockSums(x: ArrayLike<number>, rows: number, columns: number, elements: number): BlockSums {
  const blocks = Math.ceil(columns / elements);
  const [sums, largest] = [new Float64Array(rows * blocks), new Float64Array(rows * blocks)];
  for (let row = 0; row < rows; row++) {
    for (let c = 0; c < columns; c++) {
      const magnitude = Math.abs(x[row * columns + c] as number);
      const block = row * blocks + Math.floor(c / elements);
      sums[block] = (sums[block] as number) + magnitude;
      if (!(magnitude <= (largest[block] as number))) largest[block] = magnitude;
    }
  }
  return { elements, sums, largest };
}

/** Sum, sum of magnitudes and sum of squares of products: what a bound is made of. */
export interface Dot {
  sum: number;
  magnitude: number;
  squares: number;
}

/** Of `length` products a[i] b[j], i from `aAt` by 1, j from `bAt` by `bStride`; into `out`. */
export function dot(
  a: Float64Array | Float32Array,
  aAt: number,
  b: Float64Array | Float32Array,
  bAt: number,
  bStride: number,
  length: number,
  out: Dot,
): void {
  let [sum, magnitude, squares] = [0, 0, 0];
  for (let i = 0, j = bAt; i < length; i++, j += bStride) {
    const p = (a[aAt + i] as number) * (b[j] as number);
    sum += p;
    magnitude += Math.abs(p);
    squares += p * p;
  }
  out.sum = sum;
  out.magnitude = magnitude;
  out.squares = squares;
}

/** Both bounds of a sum of `terms` products in this arithmetic; `extra` roundings follow it (a factor, a bias). */
export function sumBounds({ sum, magnitude, squares }: Dot, terms: number, extra: number, how: Arithmetic) {
  const n = how.roundings(terms) + extra + 1;
  const u = how.sums;
  const underflow = n * TINY;
  return {
    worst: gamma(n, EITHER_WAY * u) * magnitude + 2 * how.inputs * magnitude + underflow,
    likely:
      LAMBDA * Math.hypot(u * Math.sqrt(n * (sum * sum + squares)), 2 * how.inputs * Math.sqrt(squares)) + underflow,
  };
}
