/**
 * How far two tensors are apart: errors as energies per token, so that the whole and its worst token come from one pass. Nothing is
 * divided by single elements or by a maximum. What is not finite is counted apart and must agree in place and kind.
 */
import { SKETCH_SIZE } from "../trace/sketch.ts";
import type { Statistics } from "../trace/statistics.ts";
import type { Layout, RowRange } from "./pairs.ts";

/** What the figures rest on. `statistics` gives a lower bound of the distance only. */
export type Evidence = "values" | "sketch" | "statistics";

export interface NonFinite {
  /** Elements that are not finite on one side only, or not in the same way. */
  readonly differing: number;
  /** Elements that are NaN, or Inf of one sign, on both sides. */
  readonly same: number;
  /** The first of them: coordinates as in Place, and both values. */
  readonly first: Place | null;
}

/** One element: its block (head), token and column, both values. */
export interface Place {
  readonly outer: number;
  /** Token row of the actual record. */
  readonly token: number;
  readonly column: number;
  readonly expected: number;
  readonly actual: number;
}

export interface Distance {
  readonly evidence: Evidence;
  /** Energies of the whole: sum of (actual - expected)^2, and of expected^2. */
  readonly difference: number;
  readonly expected: number;
  /** Per compared token: sum over its elements of (actual - expected)^2, and of expected^2. */
  readonly tokens: readonly { readonly token: number; readonly difference: number; readonly expected: number }[];
  /** 1 for equal directions; null without values. */
  readonly cosine: number | null;
  readonly largest: Place | null;
  readonly nonFinite: NonFinite;
  /** ULPs between the two in f32: median and 99th percentile of some 256 elements, evenly spread; null without values. */
  readonly ulps: { readonly median: number; readonly p99: number } | null;
}

export const NO_NON_FINITE: NonFinite = { differing: 0, same: 0, first: null };

/** relL2 of a distance: ||actual - expected|| / ||expected||. 0 where both are 0, Infinity where only expected is. */
export function relativeDistance({ difference, expected }: Distance): number {
  return ratio(difference, expected);
}

/** Root of an energy ratio. */
export function ratio(difference: number, expected: number): number {
  return difference === 0 ? 0 : Math.sqrt(difference / expected);
}

/** Distance of values, one pass. Arrays are whole tensors in the layout. */
export function valueDistance(
  expected: Float32Array,
  actual: Float32Array,
  layout: Layout,
  ranges: readonly RowRange[],
): Distance {
  const { outer, columns, expectedColumns, actualColumns } = layout;
  if (expectedColumns !== actualColumns) {
    // What one side lacks are masked places: whatever is not 0 there is a difference.
    const wide = Math.max(expectedColumns, actualColumns);
    const sizes = { columns: wide, expectedColumns: wide, actualColumns: wide };
    const sides = [widened(expected, expectedColumns, wide), widened(actual, actualColumns, wide)] as const;
    return valueDistance(...sides, { ...layout, ...sizes }, ranges);
  }
  const tokens: { token: number; difference: number; expected: number }[] = [];
  let [sumExpected, sumActual, sumDifference] = [0, 0, 0];
  let largest = 0;
  let largestE = -1;
  let largestA = -1;
  let nonFinite = NO_NON_FINITE;
  const sums: RowSums = { difference: 0, expected: 0, actual: 0, largest: 0, column: -1 };
  for (const { expectedToken, actualToken, count } of ranges) {
    for (let t = 0; t < count; t++) {
      let [difference, energy] = [0, 0];
      for (let o = 0; o < outer; o++) {
        const e0 = (o * layout.expectedTokens + expectedToken + t) * layout.expectedColumns;
        const a0 = (o * layout.actualTokens + actualToken + t) * layout.actualColumns;
        rowSums(expected, actual, e0, a0, columns, sums);
        if (!Number.isFinite(sums.difference + sums.expected + sums.actual)) {
          const rows = [expected.subarray(e0, e0 + columns), actual.subarray(a0, a0 + columns)] as const;
          nonFinite = addNonFinite(nonFinite, finiteSums(...rows, sums), o, actualToken + t);
        }
        if (sums.largest > largest) {
          largest = sums.largest;
          largestE = e0 + sums.column;
          largestA = a0 + sums.column;
        }
        difference += sums.difference;
        energy += sums.expected;
        sumActual += sums.actual;
      }
      tokens.push({ token: actualToken + t, difference, expected: energy });
      sumDifference += difference;
      sumExpected += energy;
    }
  }
  const product = Math.sqrt(sumExpected * sumActual);
  return {
    evidence: "values",
    difference: sumDifference,
    expected: sumExpected,
    tokens,
    cosine: product === 0 ? null : (sumExpected + sumActual - sumDifference) / (2 * product),
    largest: largestA < 0 ? null : placeOf(layout, largestE, largestA, expected, actual),
    nonFinite,
    ulps: ulpQuantiles(expected, actual, layout, ranges),
  };
}

/** Rows of `columns` with zeros after them, up to `wide`. */
function widened(values: Float32Array, columns: number, wide: number): Float32Array {
  if (columns === wide) return values;
  const rows = values.length / columns;
  const output = new Float32Array(rows * wide);
  for (let row = 0; row < rows; row++) output.set(values.subarray(row * columns, (row + 1) * columns), row * wide);
  return output;
}

/** Energies of one row, its largest difference and the column of that. */
interface RowSums {
  difference: number;
  expected: number;
  actual: number;
  largest: number;
  column: number;
}

/** The inner loop. */
function rowSums(
  expected: Float32Array,
  actual: Float32Array,
  e0: number,
  a0: number,
  columns: number,
  sums: RowSums,
): void {
  // Two chains of sums: additions of one wait for one another, those of two overlap.
  let d2 = 0;
  let e2 = 0;
  let a2 = 0;
  let d3 = 0;
  let e3 = 0;
  let a3 = 0;
  let largest = 0;
  let at = -1;
  const pairs = columns - (columns % 2);
  for (let c = 0; c < pairs; c += 2) {
    const e = expected[e0 + c] as number;
    const a = actual[a0 + c] as number;
    const f = expected[e0 + c + 1] as number;
    const b = actual[a0 + c + 1] as number;
    const d = (a - e) * (a - e);
    const g = (b - f) * (b - f);
    d2 += d;
    d3 += g;
    e2 += e * e;
    e3 += f * f;
    a2 += a * a;
    a3 += b * b;
    if (d > largest) {
      largest = d;
      at = c;
    }
    if (g > largest) {
      largest = g;
      at = c + 1;
    }
  }
  if (pairs < columns) {
    const e = expected[e0 + pairs] as number;
    const a = actual[a0 + pairs] as number;
    const d = (a - e) * (a - e);
    d2 += d;
    e2 += e * e;
    a2 += a * a;
    if (d > largest) {
      largest = d;
      at = pairs;
    }
  }
  sums.difference = d2 + d3;
  sums.expected = e2 + e3;
  sums.actual = a2 + a3;
  sums.largest = Math.sqrt(largest);
  sums.column = at;
}

function placeOf(layout: Layout, e: number, a: number, expected: Float32Array, actual: Float32Array): Place {
  const row = Math.floor(a / layout.actualColumns);
  return {
    outer: Math.floor(row / layout.actualTokens),
    token: row % layout.actualTokens,
    column: a % layout.actualColumns,
    expected: expected[e] as number,
    actual: actual[a] as number,
  };
}

interface RowNonFinite {
  differing: number;
  same: number;
  first: { readonly column: number; readonly expected: number; readonly actual: number } | null;
}

/** Sums of a row that holds what is not finite: only elements finite on both sides count, the others are counted apart. */
function finiteSums(expected: Float32Array, actual: Float32Array, sums: RowSums): RowNonFinite {
  Object.assign(sums, { difference: 0, expected: 0, actual: 0, largest: 0, column: -1 });
  const nonFinite: RowNonFinite = { differing: 0, same: 0, first: null };
  for (let c = 0; c < expected.length; c++) {
    const e = expected[c] as number;
    const a = actual[c] as number;
    if (Number.isFinite(e) && Number.isFinite(a)) {
      const d = a - e;
      sums.difference += d * d;
      sums.expected += e * e;
      sums.actual += a * a;
      if (Math.abs(d) > sums.largest) {
        sums.largest = Math.abs(d);
        sums.column = c;
      }
    } else {
      nonFinite[Object.is(e, a) ? "same" : "differing"]++;
      nonFinite.first ??= { column: c, expected: e, actual: a };
    }
  }
  return nonFinite;
}

function addNonFinite(sum: NonFinite, row: RowNonFinite, outer: number, token: number): NonFinite {
  return {
    differing: sum.differing + row.differing,
    same: sum.same + row.same,
    first: sum.first ?? (row.first === null ? null : { outer, token, ...row.first }),
  };
}

/** Elements looked at for ULPs: rows evenly spread, and columns evenly spread in each. */
const ULP_ROWS = 16;
const ULP_COLUMNS = 16;

/** Order-preserving integers of f32: neighbours differ by 1, and +0 is -0. */
function ordered(bits: number): number {
  return bits < 0 ? -(bits & 0x7fffffff) : bits;
}

function ulpQuantiles(expected: Float32Array, actual: Float32Array, layout: Layout, ranges: readonly RowRange[]) {
  const e32 = new Int32Array(expected.buffer, expected.byteOffset, expected.length);
  const a32 = new Int32Array(actual.buffer, actual.byteOffset, actual.length);
  const distances: number[] = [];
  const rowStep = Math.max(1, Math.floor((layout.outer * (ranges[0]?.count ?? 1)) / ULP_ROWS));
  const columnStep = Math.max(1, Math.floor(layout.columns / ULP_COLUMNS));
  for (const { expectedToken, actualToken, count } of ranges) {
    for (let row = 0; row < count * layout.outer; row += rowStep) {
      const [o, t] = [Math.floor(row / count), row % count];
      const e0 = (o * layout.expectedTokens + expectedToken + t) * layout.expectedColumns;
      const a0 = (o * layout.actualTokens + actualToken + t) * layout.actualColumns;
      for (let c = row % columnStep; c < layout.columns; c += columnStep) {
        if (expected[e0 + c] === 0 && actual[a0 + c] === 0) continue; // masked places
        distances.push(Math.abs(ordered(e32[e0 + c] as number) - ordered(a32[a0 + c] as number)));
      }
    }
  }
  const sorted = Float64Array.from(distances).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { median: at(0.5), p99: at(0.99) };
}

/**
 * Distance estimated from sketches: 16 projections a row, each of variance ||a - e||^2 (docs/trace-format.md), so their mean square
 * is the energy of the difference. The energy of the expected rows comes from their RMS, over `columns` elements.
 */
export function sketchDistance(
  expected: { readonly sketch: Float32Array; readonly rowRms: Float32Array },
  actual: { readonly sketch: Float32Array },
  layout: Layout,
  ranges: readonly RowRange[],
): Distance {
  const tokens: { token: number; difference: number; expected: number }[] = [];
  for (const { expectedToken, actualToken, count } of ranges) {
    for (let t = 0; t < count; t++) {
      let [difference, energy] = [0, 0];
      for (let o = 0; o < layout.outer; o++) {
        const e = o * layout.expectedTokens + expectedToken + t;
        const a = o * layout.actualTokens + actualToken + t;
        for (let j = 0; j < SKETCH_SIZE; j++) {
          difference +=
            ((actual.sketch[a * SKETCH_SIZE + j] as number) - (expected.sketch[e * SKETCH_SIZE + j] as number)) ** 2 /
            SKETCH_SIZE;
        }
        energy += layout.expectedColumns * (expected.rowRms[e] as number) ** 2;
      }
      tokens.push({ token: actualToken + t, difference, expected: energy });
    }
  }
  return estimated("sketch", tokens);
}

/** Which statistics a bound is drawn from. NaN is one that is not known. */
type Known = Pick<Statistics, "count" | "mean" | "rms" | "max" | "min" | "maxAbs">;

/**
 * What statistics alone prove: a lower bound of the distance, from | ||a|| - ||e|| | <= ||a - e|| for each row, and for the whole
 * from the means (sqrt(n) |mean a - mean e| <= ||a - e||) and the extremes (|max a - max e| <= ||a - e||). It cannot see what keeps
 * them all: a permutation, a rotation. Null where they prove nothing: where no statistic is known on both sides, or no size.
 */
export function statisticsDistance(
  expected: { readonly rowRms: Float32Array; readonly statistics: Known },
  actual: { readonly rowRms: Float32Array; readonly statistics: Known },
  layout: Layout,
  ranges: readonly RowRange[],
): Distance | null {
  const tokens: Distance["tokens"][number][] = [];
  for (const { expectedToken, actualToken, count } of ranges) {
    for (let t = 0; t < count; t++) {
      let [difference, energy] = [0, 0];
      for (let o = 0; o < layout.outer; o++) {
        const row = (rms: Float32Array, columns: number, at: number) => Math.sqrt(columns) * (rms[at] ?? Number.NaN);
        const e = row(expected.rowRms, layout.expectedColumns, o * layout.expectedTokens + expectedToken + t);
        const a = row(actual.rowRms, layout.actualColumns, o * layout.actualTokens + actualToken + t);
        difference += (a - e) ** 2;
        energy += e * e;
      }
      if (!Number.isNaN(difference)) tokens.push({ token: actualToken + t, difference, expected: energy });
    }
  }
  const rows = tokens.length === 0 ? null : estimated("statistics", tokens);
  const [e, a] = [expected.statistics, actual.statistics];
  const isWhole = a.count === e.count && e.count === layout.outer * layout.columns * rowsOf(ranges).length;
  const bounds = isWhole ? wholeBounds(e, a).filter((bound) => !Number.isNaN(bound)) : [];
  // Alike they must be to match, so either side's size is the scale.
  const energy = e.count * (Number.isNaN(e.rms) ? a.rms : e.rms) ** 2;
  if (bounds.length === 0 || Number.isNaN(energy)) return rows;
  const whole = { difference: Math.max(rows?.difference ?? 0, ...bounds), expected: energy };
  return { ...(rows ?? estimated("statistics", [])), ...whole };
}

/** Token rows of a record that are compared. */
export function rowsOf(ranges: readonly RowRange[], side: "expected" | "actual" = "actual"): number[] {
  return ranges.flatMap((range) => Array.from({ length: range.count }, (_, t) => range[`${side}Token`] + t));
}

/** Energies that whole tensors differ by at least; NaN where a statistic is not known on both sides. */
function wholeBounds(e: Known, a: Known): number[] {
  const mean = Math.max(0, Math.abs(a.mean - e.mean) - meanRounding(e) - meanRounding(a));
  const extremes = (["max", "min", "maxAbs"] as const).map((key) => (a[key] - e[key]) ** 2);
  return [e.count * (a.rms - e.rms) ** 2, e.count * mean ** 2, ...extremes];
}

/** Standard deviations of a sum's rounding that are granted. */
const MEAN_MARGIN = 4;

/**
 * Rounding of a mean that comes from one f32 sum of n elements, as some engines print it. Addition k errs by up to u times the sum so
 * far, uniformly, so RMS u / sqrt(3) of it; that sum is about k mean + sqrt(k) rms, and the squares add up to n^3 mean^2 / 3 + n^2 rms^2 / 2.
 */
function meanRounding({ count, mean, rms }: Known): number {
  const size = Number.isNaN(rms) ? Math.abs(mean) : rms;
  return (MEAN_MARGIN * 2 ** -24 * Math.sqrt((count * mean ** 2) / 3 + size ** 2 / 2)) / Math.sqrt(3);
}

function estimated(evidence: Evidence, tokens: Distance["tokens"]): Distance {
  let [difference, expected] = [0, 0];
  for (const token of tokens) {
    difference += token.difference;
    expected += token.expected;
  }
  return { evidence, difference, expected, tokens, cosine: null, largest: null, nonFinite: NO_NON_FINITE, ulps: null };
}
