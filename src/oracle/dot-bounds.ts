/**
 * Sums of products with what rounding may do to each: value, size of its terms, and the two bounds. docs/numerics.md, section "The
 * audit", derives the formulas; the constants are named here.
 *
 *   worst   |fl(x.y) - x.y| <= ((1 + u)^n - 1) sum |x_i y_i|: Higham, Accuracy and Stability, 3.1
 *   likely  independent roundings of a sum whose terms pass n of them: LAMBDA u sqrt(n (s^2 + sum (x_i y_i)^2)), Hoeffding's
 *           inequality: exceeded with probability 2 exp(-LAMBDA^2 / 2) an element. Independent means to nearest: engines that cut
 *           sums off in f32 would exceed it over some 300 terms in order (this program's own order stays within).
 */
import { type Arithmetic, SINGLE, UNIT } from "./arithmetic.ts";

/** 2 exp(-32) = 2.5e-14: a thousand million elements without a false alarm, were roundings independent. */
export const LAMBDA = 8;

/** WGSL rounds + - * correctly, up or down as it likes: off by an ULP, 2 u, at most. To nearest, as most do, it is u. */
export const EITHER_WAY = 2;

/** What n roundings of u make of a number, up or down, multiplied or divided: (1 + u)^n - 1 and (1 - u)^-n - 1 are below, for any n u. */
export const gamma = (n: number, u: number) => Math.expm1((n * u) / (1 - u));

/** Smallest normal f32: what lies below many devices flush to zero. */
export const TINY = 2 ** -126;

/** The smallest normal number of what is summed in. */
export const smallest = ({ sums }: Arithmetic) => (sums === UNIT.f16 ? 2 ** -14 : TINY);

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

/** A sum beside its products. */
export interface SumShape {
  readonly terms: number;
  /** Roundings that follow it: a factor, a bias. */
  readonly extra: number;
  /** Activations in a product: 1 beside a weight; 2 where one comes out of the cache. */
  readonly operands: 1 | 2;
  /** Sum of the magnitudes of all factors: what a factor too small for its format is multiplied by. */
  readonly factors: number;
}

/**
 * Both bounds of a sum of products in this arithmetic. A cache shorter than f32 rounds both factors: what is cached, and (ggml) what it
 * is multiplied with. Too small for their format may be the factors, the products and the partial sums; halves lose 2^-24 of a factor.
 */
export function sumBounds({ sum, magnitude, squares }: Dot, shape: SumShape, how: Arithmetic) {
  const { terms, extra, operands, factors } = shape;
  const n = how.roundings(terms) + extra + 1;
  const u = how.sums;
  const cache = operands === 2 ? how.cache : 0;
  const isHalf = cache === UNIT.f16 || (how.inputs > 0 && how.store === "f16");
  const ofFactors = (isHalf ? 2 ** -24 : 0) * factors;
  const passed = 2 * terms + extra + factors;
  const given = Math.max(2 * how.inputs, EITHER_WAY * cache) * Math.sqrt(operands);
  // Sums in less than f32 lose addends below half a unit: of positive terms, in one direction.
  const lost = u > SINGLE ? n * u * Math.abs(sum) : 0;
  return {
    worst:
      Math.expm1((EITHER_WAY * (n * u + operands * (how.inputs + cache))) / (1 - u)) * magnitude +
      smallest(how) * passed +
      ofFactors,
    likely:
      LAMBDA * Math.hypot(u * Math.sqrt(n * (sum * sum + squares)), given * Math.sqrt(squares)) +
      lost +
      Math.min(2 ** -25, smallest(how)) * passed +
      ofFactors,
  };
}
