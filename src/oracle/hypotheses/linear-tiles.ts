/** Products of a projection's sums left out: the last ones, or a tile of them. Which, is found on a few outputs. */
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import type { Prediction, Seen } from "./hypothesis.ts";
import { evaluated, input, rowOf, spread } from "./values.ts";

/** Products `first` up to `end` of each sum. */
interface Range {
  readonly first: number;
  readonly end: number;
}

const USUAL_TILES = [512, 256, 128, 64, 32, 16];
/** All multiples of 8 up to 512. */
const TILES = Array.from({ length: 64 }, (_, i) => 8 * (i + 1));
/** Rows and columns of the output that ranges are tried on. */
const TRIED = 24;
/** A range explains something where it leaves less than this part of the error's energy. */
const EXPLAINS = 0.5;

const width = (op: OpCase) => input(op, 0).columns;

/** The output without these products: that of an input which is 0 there. */
function without(op: OpCase, { first, end }: Range): Matrix {
  const x = input(op, 0);
  const data = x.data.map((each, i) => (i % x.columns >= first && i % x.columns < end ? 0 : each));
  return evaluated(op, { inputs: [matrix(x.rows, x.columns, data)] });
}

/** The last products of each sum: K mod tile of them. */
export function tailDropped(op: OpCase, seen: Seen): readonly Prediction[] {
  const k = width(op);
  const tails = USUAL_TILES.filter((tile) => tile < k && k % tile !== 0).map((tile) => ({
    first: k - (k % tile),
    end: k,
  }));
  const any = Array.from({ length: Math.floor(k / 2) }, (_, i) => ({ first: k - 1 - i, end: k }));
  return ranges(op, seen, tails, any).map((range) => ({
    output: without(op, range),
    parameter: `the last ${k - range.first} of ${k}`,
  }));
}

/** One whole tile that is not the last: any where the actual output is known, else the second. */
export function tileDropped(op: OpCase, seen: Seen): readonly Prediction[] {
  const k = width(op);
  const second = USUAL_TILES.filter((tile) => 2 * tile <= k).map((tile) => ({ first: tile, end: 2 * tile }));
  const any = TILES.flatMap((tile) =>
    Array.from({ length: Math.floor(k / tile) }, (_, i) => ({ first: i * tile, end: (i + 1) * tile })),
  );
  return ranges(
    op,
    seen,
    second,
    any.filter(({ first, end }) => end - first < k),
  ).map((range) => ({
    output: without(op, range),
    parameter: `products ${range.first} to ${range.end - 1} of ${k}`,
  }));
}

/** The usual ranges without an actual output; with it the one of all that explains it best, if it explains it. */
function ranges(
  op: OpCase,
  { expected, actual }: Seen,
  usual: readonly Range[],
  all: readonly Range[],
): readonly Range[] {
  if (actual === null) return usual;
  const samples = prefixSums(op, expected, actual);
  const left = ({ first, end }: Range) =>
    samples.reduce((sum, { error, sums }) => sum + (error + (sums[end] as number) - (sums[first] as number)) ** 2, 0);
  const best = all.reduce<Range | null>((a, b) => (a === null || left(b) < left(a) ? b : a), null);
  return best !== null && left(best) < EXPLAINS * left({ first: 0, end: 0 }) ? [best] : [];
}

interface Sample {
  /** Actual minus expected. */
  readonly error: number;
  /** Sums of the first 0, 1, 2 ... products. */
  readonly sums: Float64Array;
}

function prefixSums(op: OpCase, expected: Matrix, actual: Matrix): Sample[] {
  const x = input(op, 0);
  const w = op.context.weight(op.node.op.weights[0] ?? "");
  return spread(expected.rows, TRIED).flatMap((t) =>
    spread(expected.columns, TRIED).map((n) => {
      const [xs, ws] = [rowOf(x, t), rowOf(w, n)];
      const sums = new Float64Array(x.columns + 1);
      for (let k = 0; k < x.columns; k++) sums[k + 1] = (sums[k] as number) + (xs[k] as number) * (ws[k] as number);
      const i = t * expected.columns + n;
      return { error: (actual.data[i] as number) - (expected.data[i] as number), sums };
    }),
  );
}
