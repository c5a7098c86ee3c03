/** Records of rows as row_statistics.wgsl defines them, from src/trace's own hash and sketch, with what rounding may do to the sums. */
import type { ChoreOf } from "../../model/chores.ts";
import { type Arithmetic, arithmeticOf } from "../../oracle/arithmetic.ts";
import type { Bounded } from "../../oracle/bounded.ts";
import { smallest, sumBounds } from "../../oracle/dot-bounds.ts";
import { fmix32, HashFold, SKETCH_SIGN_SEED, SKETCH_SIZE } from "../../trace/sketch.ts";

/** Words of a record: sum and sum of squares, counts and extremes, hash, exponent; a sketch from word 16 on. */
export const SUMS_AT = [0, 1] as const;
const WHOLE = { nan: 2, inf: 3, zeros: 4, least: 5, most: 6, magnitude: 7, column: 8, low: 9, high: 10, exponent: 11 };
/** Words that a record has and the kernel leaves. */
export const RESERVED = [12, 13, 14, 15] as const;
const SKETCH_AT = 16;

/** A row's record: whole numbers by word, which are exact (only where they are defined), and sums with their bounds. */
export interface RecordAnswer {
  readonly whole: ReadonlyMap<number, number>;
  /** A row of sums, in the order of `sumWords`. */
  readonly sums: Bounded;
}

/** Words that hold sums. */
export const sumWords = (words: 16 | 32): number[] => [
  ...SUMS_AT,
  ...(words === 32 ? Array.from({ length: SKETCH_SIZE }, (_, j) => SKETCH_AT + j) : []),
];

/** Order of sums: 64 lanes in order, then a tree: ceil(n/64) + 8 roundings, one of which `sumBounds` adds (docs/numerics.md). */
const HOW: Arithmetic = {
  ...arithmeticOf("f32", { name: "faultline", version: "", device: "", dtype: "f32", settings: {} }),
  roundings: (terms) => Math.ceil(terms / 64) + 7,
};

/** Records by their number. */
export function recordAnswers({ bits, table, first, rows, words }: ChoreOf<"row_statistics">): RecordAnswer[] {
  const answers: RecordAnswer[] = [];
  const fold = new HashFold();
  let hash = 0n;
  for (let row = first; row < first + rows; row++) {
    const [offset = 0, columns = 0, flat = 0, record = 0] = table.subarray(4 * row, 4 * row + 4);
    // Rows follow one another in the tensor; what stands before the first adds to no row.
    if (row === first) {
      fold.add(new Float32Array(flat));
      hash = fold.hash;
    }
    const own = bits.subarray(offset, offset + columns);
    const floats = new Float32Array(own.buffer, own.byteOffset, own.length);
    fold.add(floats);
    const halfOf = (shift: bigint) => Number(((fold.hash >> shift) - (hash >> shift)) & 0xffffffffn);
    const whole = wholeWords(own);
    whole.set(WHOLE.low, halfOf(0n)).set(WHOLE.high, halfOf(32n));
    hash = fold.hash;
    const exponent = (whole.get(WHOLE.exponent) ?? 0) | 0;
    answers[record] = { whole, sums: sumsOf(floats, exponent, words) };
  }
  return answers;
}

/** Counts, keys of extremes (bits ordered as the floats are), the first largest magnitude; without finite elements only counts. */
function wholeWords(own: Uint32Array): Map<number, number> {
  let [nan, inf, zeros, least, most, magnitude, column] = [0, 0, 0, 0xffffffff, 0, -1, 0];
  for (const [c, bits] of own.entries()) {
    const size = bits & 0x7fffffff;
    if (size > 0x7f800000) nan++;
    else if (size === 0x7f800000) inf++;
    else {
      if (size === 0) zeros++;
      const key = (bits >= 0x80000000 ? ~bits : bits | 0x80000000) >>> 0;
      [least, most] = [Math.min(least, key), Math.max(most, key)];
      if (size > magnitude) [magnitude, column] = [size, c];
    }
  }
  const words = new Map([
    [WHOLE.nan, nan],
    [WHOLE.inf, inf],
    [WHOLE.zeros, zeros],
    [WHOLE.exponent, exponentOf(magnitude) >>> 0],
  ]);
  if (magnitude >= 0)
    words.set(WHOLE.least, least).set(WHOLE.most, most).set(WHOLE.magnitude, magnitude).set(WHOLE.column, column);
  return words;
}

/** s: 0 unless all magnitudes are below 2^-50, or the largest is beyond 2^50; then the exponent of the largest. */
function exponentOf(magnitude: number): number {
  const exponent = (magnitude >>> 23) - 127;
  return magnitude > 0 && Math.abs(exponent) > 50 ? Math.max(-126, Math.min(126, exponent)) : 0;
}

function sumsOf(floats: Float32Array, exponent: number, words: 16 | 32): Bounded {
  const columns = sumWords(words).length;
  const [expected, worst, likely] = [0, 1, 2].map(() => new Float64Array(columns)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const scaled = Float64Array.from(floats, (x) => (Number.isFinite(x) ? x * 2 ** -exponent : 0));
  // What an adapter that flushes subnormal numbers may lose of an element as it is read.
  const lost = scaled.map((x) => (Math.abs(x) < smallest(HOW) * 2 ** -exponent ? Math.abs(x) : 0));
  const terms = [
    (i: number) => [scaled[i] as number, lost[i] as number],
    (i: number) => [(scaled[i] as number) ** 2, (lost[i] as number) ** 2],
    ...Array.from({ length: SKETCH_SIZE }, (_, j) => (i: number) => {
      const sign = (fmix32(i ^ SKETCH_SIGN_SEED) >>> j) & 1 ? -1 : 1;
      return [sign * (scaled[i] as number), lost[i] as number];
    }),
  ].slice(0, columns);
  for (const [at, term] of terms.entries()) {
    let [sum, magnitude, squares, flushed] = [0, 0, 0, 0];
    for (let i = 0; i < scaled.length; i++) {
      const [value = 0, loss = 0] = term(i);
      sum += value;
      magnitude += Math.abs(value);
      squares += value * value;
      flushed += loss;
    }
    const shape = { terms: scaled.length, extra: 0, operands: 1, factors: magnitude } as const;
    const bounds = sumBounds({ sum, magnitude, squares }, shape, HOW);
    expected[at] = sum;
    worst[at] = bounds.worst + flushed;
    likely[at] = Math.min(bounds.worst, bounds.likely) + flushed;
  }
  return { rows: 1, columns, expected, worst, likely, alike: new Float64Array(1), keepsSign: false };
}
