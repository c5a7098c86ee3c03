/** Arithmetic of engines, emulated: a rounding after every operation, sums in any order. */
import { roundToBfloat16, roundToHalf } from "../../src/model/half.ts";

export type Round = (exact: number) => number;

const single = new Float32Array(1);
const bits = new Int32Array(single.buffer);

/** The f32 next to `x` in magnitude: `steps` 1 away from zero, -1 towards it. */
function neighbour(x: number, steps: number): number {
  single[0] = x;
  bits[0] = (bits[0] as number) + steps;
  return single[0] as number;
}

/** The f32 at or below the magnitude, as hardware that cuts off gives it. */
export const truncated: Round = (exact) => {
  const near = Math.fround(exact);
  return Number.isFinite(near) && Math.abs(near) > Math.abs(exact) ? neighbour(near, -1) : near;
};

/** Either f32 beside the value, as WGSL allows. */
export const eitherWay =
  (random: () => number): Round =>
  (exact) => {
    const low = truncated(exact);
    return !Number.isFinite(low) || low === exact || low === 0 || random() < 0.5 ? low : neighbour(low, 1);
  };

const SMALLEST_NORMAL = 2 ** -126;
/** What lies below the smallest normal f32 is 0, as WGSL allows. */
export const flushed =
  (round: Round): Round =>
  (exact) => {
    const near = round(exact);
    return Math.abs(near) < SMALLEST_NORMAL ? 0 : near;
  };

/** The half at or below the magnitude: how some hardware packs halves. */
export const truncatedToHalf: Round = (exact) => {
  const near = roundToHalf(exact);
  if (near === 0) return 0;
  const unit = 2 ** Math.max(-24, Math.floor(Math.log2(Math.abs(exact))) - 10);
  return Math.abs(near) > Math.abs(exact) ? near - Math.sign(exact) * unit : near;
};

/** Formats that results and sums are kept in; all but f32 from an f32. */
export const FORMATS: Readonly<Record<"f32" | "f16" | "bf16", Round>> = {
  f32: Math.fround,
  f16: (exact) => roundToHalf(Math.fround(exact)),
  bf16: roundToBfloat16,
};

/** Sums terms that are already rounded. */
export type Order = (terms: readonly number[], round: Round) => number;

const serial: Order = (terms, round) => terms.reduce((sum, term) => round(sum + term), 0);
const pairwise: Order = (terms, round) => {
  if (terms.length < 2) return terms[0] ?? 0;
  const half = terms.length >> 1;
  return round(pairwise(terms.slice(0, half), round) + pairwise(terms.slice(half), round));
};
const lanes =
  (count: number): Order =>
  (terms, round) =>
    pairwise(
      Array.from({ length: Math.min(count, terms.length) }, (_, lane) =>
        serial(
          terms.filter((_, i) => i % count === lane),
          round,
        ),
      ),
      round,
    );
/** docs/numerics.md: blocks of 32 of four lanes, in order. */
const ownBlock: Order = (terms, round) => {
  const [a, b, c, d] = [0, 1, 2, 3].map((lane) =>
    serial(
      terms.filter((_, i) => i % 4 === lane),
      round,
    ),
  ) as [number, number, number, number];
  return round(round(a + c) + round(b + d));
};
export const blocksOf32: Order = (terms, round) =>
  serial(
    Array.from({ length: Math.ceil(terms.length / 32) }, (_, block) =>
      ownBlock(terms.slice(32 * block, 32 * block + 32), round),
    ),
    round,
  );

export const ORDERS: Readonly<Record<string, Order>> = {
  serial,
  reverse: (terms, round) => serial([...terms].reverse(), round),
  pairwise,
  "8 lanes": lanes(8),
  "64 lanes": lanes(64),
  "blocks of 32": blocksOf32,
  "small first": (terms, round) =>
    serial(
      [...terms].sort((a, b) => Math.abs(a) - Math.abs(b)),
      round,
    ),
  "large first": (terms, round) =>
    serial(
      [...terms].sort((a, b) => Math.abs(b) - Math.abs(a)),
      round,
    ),
};

/** How an engine adds products up. */
export type DotOf = (a: ArrayLike<number>, b: ArrayLike<number>) => number;

/** Products rounded, then added in this order. */
export const dotIn =
  (order: Order, round: Round): DotOf =>
  (a, b) =>
    order(
      Array.from(a, (x, i) => round(x * (b[i] as number))),
      round,
    );

/** Fused multiply-adds, one after the other: the product of two f32 is exact in f64. */
export const fused =
  (round: Round): DotOf =>
  (a, b) =>
    Array.from(a).reduce((sum, x, i) => round(sum + x * (b[i] as number)), 0);
