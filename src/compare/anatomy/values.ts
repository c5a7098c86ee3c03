/** Facts of value: what the wrong elements hold, and how few of them carry the error. */
import type { Tally } from "./tally.ts";

export interface ValueFact {
  /**
   * `non-finite`: wrong elements are NaN or Inf. `constant`: they all hold `value`. `sign`: they are the negative of what is expected.
   * `all-or-nothing`: elements are right, or wrong by a good part of their size. `grid`: all are halves (`value` 16) or bfloat16
   * (`value` 8, its significant bits). `concentrated`: `count` elements hold `share` of the energy.
   */
  readonly kind: "non-finite" | "constant" | "sign" | "all-or-nothing" | "f16-grid" | "bf16-grid" | "concentrated";
  /** Elements that it holds for, and the share that they are of those looked at. */
  readonly count: number;
  readonly share: number;
  /** The constant; the median of |error| / |expected| for all-or-nothing; 0 elsewhere. */
  readonly value: number;
}

/** Share of the elements looked at that must have a property, and how many at least. */
const NEARLY_ALL = 0.9;
const LEAST = 4;

export function valueFacts(tally: Tally): ValueFact[] {
  return [nonFinite(tally), ...equalities(tally), ...grids(tally)].filter((each) => each !== null);
}

function nonFinite({ nan, inf, wrong }: Tally): ValueFact | null {
  const count = nan + inf;
  return count === 0
    ? null
    : { kind: "non-finite", count, share: count / wrong, value: nan > 0 ? Number.NaN : Number.POSITIVE_INFINITY };
}

/** Wrong elements are all one number, or the negative of what is expected. */
function equalities({ of, isWrong, wrong, error }: Tally): (ValueFact | null)[] {
  const constant = candidate(of.actual, isWrong);
  let [equal, flipped] = [0, 0];
  for (let i = 0; i < isWrong.length; i++) {
    if (isWrong[i] === 0) continue;
    const a = of.actual[i] as number;
    const e = of.expected[i] as number;
    if (a === constant) equal++;
    // What is left of -e is within a thousandth of the error, which is 2 e.
    if (a !== 0 && Math.abs(a + e) < 1e-3 * Math.abs(error[i] as number)) flipped++;
  }
  const fact = (kind: ValueFact["kind"], count: number, value: number): ValueFact | null =>
    count >= LEAST && count >= NEARLY_ALL * wrong ? { kind, count, share: count / wrong, value } : null;
  return [fact("constant", equal, constant), fact("sign", flipped, 0)];
}

/** The only value that can be that of more than half of the wrong elements (Boyer and Moore's vote). */
function candidate(actual: ArrayLike<number>, isWrong: Uint8Array): number {
  let [value, votes] = [Number.NaN, 0];
  for (let i = 0; i < isWrong.length; i++) {
    if (isWrong[i] === 0) continue;
    const a = actual[i] as number;
    if (votes === 0) value = a;
    votes += a === value ? 1 : -1;
  }
  return value;
}

const bits = new Uint32Array(1);
const asFloat = new Float32Array(bits.buffer);

/** 13 of f32's 24 significant bits are free in a half, 16 in a bfloat16. */
const isHalf = (x: number) => {
  if (Math.abs(x) < 2 ** -14) return Number.isInteger(x * 2 ** 24);
  asFloat[0] = x;
  return asFloat[0] === x && Math.abs(x) <= 65504 && ((bits[0] as number) & 0x1fff) === 0;
};
const isBfloat = (x: number) => {
  asFloat[0] = x;
  return asFloat[0] === x && ((bits[0] as number) & 0xffff) === 0;
};

/** Elements that must lie on a grid, all of them: by chance each does once in 2^13. */
const LEAST_ON_GRID = 32;

function grids({ of, error }: Tally): (ValueFact | null)[] {
  const onGrid = (kind: "f16-grid" | "bf16-grid", holds: (x: number) => boolean): ValueFact | null => {
    let [looked, expected] = [0, 0];
    for (let i = 0; i < of.actual.length; i++) {
      const a = of.actual[i] as number;
      if (a === 0 || !Number.isFinite(a)) continue;
      if (!holds(a)) return null;
      looked++;
      if (error[i] === 0) expected++;
    }
    return looked >= LEAST_ON_GRID && expected <= looked / 2 ? { kind, count: looked, share: 1, value: 0 } : null;
  };
  const coarse = onGrid("bf16-grid", isBfloat);
  return [coarse ?? onGrid("f16-grid", isHalf)];
}

/** Right and wrong elements of each that are needed; an error that is a good part of the value. */
const LEAST_OF_EACH = 16;
const GOOD_PART = 0.1;

/** Wrong elements are wrong by a good part of their size, the others are right: writes that are lost, or other values. */
export function allOrNothing({ of, isWrong, error, wrong, count }: Tally): ValueFact | null {
  if (wrong < LEAST_OF_EACH || count - wrong < LEAST_OF_EACH) return null;
  let large = 0;
  const some: number[] = [];
  const every = Math.max(1, Math.floor(wrong / 1024));
  for (let i = 0, seen = 0; i < isWrong.length; i++) {
    if (isWrong[i] === 0) continue;
    const part = Math.abs(error[i] as number) / Math.abs(of.expected[i] as number);
    if (part >= GOOD_PART) large++;
    if (seen++ % every === 0) some.push(part);
  }
  const median = some.sort((a, b) => a - b)[Math.floor(some.length / 2)] ?? 0;
  if (large < NEARLY_ALL * wrong) return null;
  return { kind: "all-or-nothing", count: wrong, share: wrong / count, value: median };
}

/** Elements that hold most of the energy, of which there are at most one in a hundred. */
export function concentrated({ error, energy, count }: Tally): ValueFact | null {
  if (energy === 0) return null;
  // By powers of two of the square: counted from the top, without sorting.
  const [energies, counts] = [new Float64Array(BUCKETS), new Uint32Array(BUCKETS)];
  for (let i = 0; i < error.length; i++) {
    const square = (error[i] as number) * (error[i] as number);
    asFloat[0] = square / energy;
    // The exponent of an f32 stands above 23 bits, 127 for 1.
    const bucket = 127 - ((bits[0] as number) >>> 23);
    if (bucket >= BUCKETS) continue;
    energies[bucket] = (energies[bucket] as number) + square;
    counts[bucket] = (counts[bucket] as number) + 1;
  }
  let [held, few] = [0, 0];
  for (let bucket = 0; bucket < BUCKETS && held < NEARLY_ALL * energy; bucket++) {
    held += energies[bucket] as number;
    few += counts[bucket] as number;
  }
  return few * 100 <= count ? { kind: "concentrated", count: few, share: held / energy, value: 0 } : null;
}

const BUCKETS = 64;
