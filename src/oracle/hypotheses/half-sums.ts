/** Projections whose sums are kept in half precision: each partial sum computed in f32 and rounded, in several orders. */
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis, type Prediction, type Seen } from "./hypothesis.ts";
import { input, rowOf, spread } from "./values.ts";

/** To a grid, by way of f32. */
export type Rounding = (x: number) => number;

const value = new Float32Array(1);
const bits = new Uint32Array(value.buffer);
/** 1.5 * 2^28: f64 sums near it are multiples of 2^-24, the unit of subnormal halves. */
const SUBNORMAL = 1.5 * 2 ** 28;

/** The nearest half of a number's f32, ties to even; infinite from 65520 on. */
export const toHalf: Rounding = (x) => {
  value[0] = x;
  const b = bits[0] as number;
  const magnitude = b & 0x7fffffff;
  if (magnitude >= 0x477ff000) return magnitude > 0x7f800000 ? Number.NaN : b >>> 31 ? -Infinity : Infinity;
  if (magnitude < 0x38800000) return (value[0] as number) + SUBNORMAL - SUBNORMAL;
  bits[0] = (b + 0xfff + ((b >>> 13) & 1)) & 0xffffe000;
  return value[0] as number;
};

/** The nearest bfloat16 of a number's f32, ties to even. */
export const toBfloat16: Rounding = (x) => {
  value[0] = x;
  const b = bits[0] as number;
  if ((b & 0x7fffffff) > 0x7f800000) return Number.NaN;
  bits[0] = (b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000;
  return value[0] as number;
};

/** A dot product, every partial sum rounded. */
type Dot = (w: Float64Array, x: Float64Array, round: Rounding) => number;

/** docs/numerics.md, "Order of sums": blocks of 32, four lanes in each, blocks one after the other. */
const blocks: Dot = (w, x, round) => {
  let sum = 0;
  const lanes = new Float64Array(4);
  for (let start = 0; start < x.length; start += 32) {
    lanes.fill(0);
    for (let k = start; k < Math.min(start + 32, x.length); k++) {
      lanes[k & 3] = round((lanes[k & 3] as number) + (w[k] as number) * (x[k] as number));
    }
    const pair = (i: number) => round((lanes[i] as number) + (lanes[i + 2] as number));
    sum = round(sum + round(pair(0) + pair(1)));
  }
  return sum;
};

const serial: Dot = (w, x, round) => {
  let sum = 0;
  for (let k = 0; k < x.length; k++) sum = round(sum + (w[k] as number) * (x[k] as number));
  return sum;
};

/** Term k goes to lane k mod `width`; lanes add up as a tree. */
const strided =
  (width: number): Dot =>
  (w, x, round) => {
    const lanes = new Float64Array(width);
    for (let k = 0; k < x.length; k++) {
      lanes[k % width] = round((lanes[k % width] as number) + (w[k] as number) * (x[k] as number));
    }
    for (let half = width / 2; half >= 1; half /= 2) {
      for (let i = 0; i < half; i++) lanes[i] = round((lanes[i] as number) + (lanes[i + half] as number));
    }
    return lanes[0] as number;
  };

const ORDERS: readonly (readonly [name: string, dot: Dot])[] = [
  ["blocks of 32 in four lanes", blocks],
  ["one after the other", serial],
  ...[4, 8, 16, 32, 64, 128, 256].map((width) => [`${width} lanes`, strided(width)] as const),
];

/** Products that are rounded one by one at most. */
const MOST_PRODUCTS = 3e7;
/** Rows and columns of the output that orders are tried on. */
const TRIED = 12;
/** An order explains something where it leaves less than this part of the error's energy. */
const EXPLAINS = 0.5;

function summed(op: OpCase, dot: Dot, round: Rounding): (t: number, n: number) => number {
  const x = input(op, 0);
  const [weight = "", bias] = op.node.op.weights;
  const w = op.context.weight(weight);
  const added = bias === undefined ? null : op.context.weight(bias).data;
  return (t, n) => dot(rowOf(w, n), rowOf(x, t), round) + (added?.[n] ?? 0);
}

/** `unit`: unit roundoff of the grid. One rounding in 64 may fall the other way, which adds an eighth of the unit. */
function inHalf(op: OpCase, { expected, actual }: Seen, round: Rounding, unit: number): readonly Prediction[] {
  const { rows, columns } = expected;
  // From a sketch all elements of an order must be summed.
  if (actual === null && rows * columns * input(op, 0).columns > MOST_PRODUCTS) return [];
  const at = spread(rows, TRIED).flatMap((t) => spread(columns, TRIED).map((n) => [t, n] as const));
  const left = (of: (t: number, n: number) => number) =>
    at.reduce((sum, [t, n]) => sum + ((actual?.data[t * columns + n] as number) - of(t, n)) ** 2, 0);
  const wrong = left((t, n) => expected.data[t * columns + n] as number);
  const tried = ORDERS.map(([name, dot]) => ({ name, of: summed(op, dot, round) }));
  const chosen =
    actual === null
      ? tried.slice(0, 2)
      : tried
          .map((each) => ({ ...each, left: left(each.of) }))
          .filter((each) => each.left < EXPLAINS * wrong)
          .sort((a, b) => a.left - b.left)
          .slice(0, 1);
  return chosen.map(({ name, of }) => ({
    output: every(rows, columns, of),
    parameter: `sums of ${name}`,
    slack: unit / 8,
  }));
}

function every(rows: number, columns: number, of: (t: number, n: number) => number): Matrix {
  const y = matrix(rows, columns);
  for (let i = 0; i < y.data.length; i++) y.data[i] = of(Math.floor(i / columns), i % columns);
  return y;
}

export const HALF_SUMS: readonly Hypothesis[] = family("linear", { kinds: ["linear"] } as const, {
  "f16-accumulate": {
    what: "its sums kept in half precision",
    predict: (op, seen) => inHalf(op, seen, toHalf, 2 ** -11),
  },
  "bf16-accumulate": {
    what: "its sums kept in bfloat16",
    predict: (op, seen) => inHalf(op, seen, toBfloat16, 2 ** -8),
  },
});
