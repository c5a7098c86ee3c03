/** One pair of records in detail: where its difference lies, how it is spread, its worst elements, its likeliest tokens. */
import type { RecordSummary, Trace } from "../trace/reader.ts";
import { largest } from "./logits.ts";
import type { Place } from "./metrics.ts";
import type { Layout, Pair, RowRange } from "./pairs.ts";

/** Values of a pair, whole tensors in the layout. */
export interface PairValues {
  readonly layout: Layout;
  readonly ranges: readonly RowRange[];
  readonly expected: Float32Array;
  readonly actual: Float32Array;
}

export interface OpDetail {
  /** RMS of the difference over the expected RMS of the whole, in cells of rows (blocks of tokens) and columns; NaN where either side is not finite. */
  readonly grid: Grid;
  /** relL2 of each of the blocks (heads); of merged axes of each `headDim` columns. Empty where there are none. */
  readonly heads: readonly number[];
  readonly histogram: Histogram;
  /** Largest differences first; what is not finite on one side only before all. */
  readonly worst: readonly Place[];
  /** Expected and actual, evenly spread over the tensor, finite ones. */
  readonly sample: readonly (readonly [expected: number, actual: number])[];
}

export interface Grid {
  /** First and last of each cell's rows (block, token of the actual record) and columns. */
  readonly rows: readonly { readonly outer: number; readonly first: number; readonly last: number }[];
  readonly columns: readonly { readonly first: number; readonly last: number }[];
  readonly values: readonly (readonly number[])[];
}

/** Counts of |actual - expected| / RMS(expected), by powers of ten. */
export interface Histogram {
  /** Lower edges, as exponents of ten; the first bin takes all that is smaller. */
  readonly edges: readonly number[];
  readonly below: readonly number[];
  readonly above: readonly number[];
  /** Elements that are finite and equal. */
  readonly equal: number;
}

const ROWS = 48;
const COLUMNS = 64;
const WORST = 12;
const SAMPLE = 400;
const EXPONENTS = Array.from({ length: 24 }, (_, i) => i / 2 - 9);

/** Values of a pair; null where a side has none, or columns (keys) that the other lacks. */
export async function pairValues(expected: Trace, actual: Trace, pair: Pair): Promise<PairValues | null> {
  const [e, a] = [expected.records[pair.expected], actual.records[pair.actual]] as [RecordSummary, RecordSummary];
  const { layout, ranges } = pair;
  if (!e.hasValues || !a.hasValues || layout.expectedColumns !== layout.actualColumns) return null;
  return { layout, ranges, expected: await expected.values(pair.expected), actual: await actual.values(pair.actual) };
}

/** The detail of a pair. `headDim`: columns of a head where axes are merged, else null. */
export function opDetail(values: PairValues, headDim: number | null): OpDetail {
  const size = rmsOf(values);
  const heads =
    values.layout.outer > 1
      ? bands(values, values.layout.outer, ({ outer }) => outer)
      : headDim === null || headDim >= values.layout.columns
        ? []
        : bands(values, values.layout.columns / headDim, ({ column }) => Math.floor(column / headDim));
  return {
    ...{ grid: gridOf(values, size), heads, histogram: histogramOf(values, size) },
    ...{ worst: worstOf(values), sample: sampleOf(values) },
  };
}

interface Element extends Place {
  /** Number of the compared row, counted over blocks and tokens. */
  readonly row: number;
}

/** All compared elements, by block, token, column. The element that is handed out is used again for the next. */
function each({ layout, ranges, expected, actual }: PairValues, visit: (element: Element) => void): void {
  const element = { row: -1, outer: 0, token: 0, column: 0, expected: 0, actual: 0 };
  for (let outer = 0; outer < layout.outer; outer++) {
    for (const { expectedToken, actualToken, count } of ranges) {
      for (let t = 0; t < count; t++) {
        const e0 = (outer * layout.expectedTokens + expectedToken + t) * layout.columns;
        const a0 = (outer * layout.actualTokens + actualToken + t) * layout.columns;
        element.row++;
        element.outer = outer;
        element.token = actualToken + t;
        for (let column = 0; column < layout.columns; column++) {
          element.column = column;
          element.expected = expected[e0 + column] as number;
          element.actual = actual[a0 + column] as number;
          visit(element);
        }
      }
    }
  }
}

const areFinite = (element: Element) => Number.isFinite(element.expected) && Number.isFinite(element.actual);
const isAlike = (element: Element) =>
  Object.is(element.expected, element.actual) || element.expected === element.actual;

/** Square of a difference. NaN where a side is not finite, though both be alike: that is never nothing. */
const squareOf = (element: Element) => (areFinite(element) ? (element.actual - element.expected) ** 2 : Number.NaN);

/** RMS of the finite expected elements; 1 where all are 0, so that differences stand for themselves. */
function rmsOf(values: PairValues): number {
  let [squares, count] = [0, 0];
  each(values, ({ expected }) => {
    if (!Number.isFinite(expected)) return;
    squares += expected * expected;
    count++;
  });
  return squares === 0 ? 1 : Math.sqrt(squares / count);
}

/** Cuts 0 to `count` into at most `most` runs of one length. */
function runs(count: number, most: number): { first: number; last: number }[] {
  const length = Math.max(1, Math.ceil(count / most));
  return Array.from({ length: Math.ceil(count / length) }, (_, i) => ({
    first: i * length,
    last: Math.min(count, (i + 1) * length) - 1,
  }));
}

function gridOf(values: PairValues, size: number): Grid {
  const { layout, ranges } = values;
  const tokens = ranges.flatMap(({ actualToken, count }) => Array.from({ length: count }, (_, t) => actualToken + t));
  // Rows of one cell are of one block.
  const perBlock = runs(tokens.length, Math.max(1, Math.floor(ROWS / layout.outer)));
  const columns = runs(layout.columns, COLUMNS);
  const rowLength = (perBlock[0]?.last ?? 0) + 1;
  const columnLength = (columns[0]?.last ?? 0) + 1;
  const squares = Array.from({ length: layout.outer * perBlock.length }, () => new Float64Array(columns.length));
  const counts = squares.map((row) => new Float64Array(row.length));
  each(values, (element) => {
    const cell =
      element.outer * perBlock.length + Math.floor((element.row - element.outer * tokens.length) / rowLength);
    const column = Math.floor(element.column / columnLength);
    const [sums, numbers] = [squares[cell], counts[cell]];
    if (sums === undefined || numbers === undefined) return;
    numbers[column] = (numbers[column] ?? 0) + 1;
    sums[column] = (sums[column] ?? 0) + squareOf(element);
  });
  const at = (row: number) => tokens[row] ?? 0;
  return {
    rows: Array.from({ length: layout.outer }, (_, outer) =>
      perBlock.map(({ first, last }) => ({ outer, first: at(first), last: at(last) })),
    ).flat(),
    columns,
    values: squares.map((row, r) => Array.from(row, (sum, c) => Math.sqrt(sum / (counts[r]?.[c] ?? 1)) / size)),
  };
}

function bands(values: PairValues, count: number, bandOf: (element: Element) => number): number[] {
  const [difference, energy] = [new Float64Array(count), new Float64Array(count)];
  each(values, (element) => {
    const band = bandOf(element);
    energy[band] = (energy[band] ?? 0) + element.expected ** 2;
    difference[band] = (difference[band] ?? 0) + squareOf(element);
  });
  return Array.from(difference, (sum, band) => (sum === 0 ? 0 : Math.sqrt(sum / (energy[band] ?? 0))));
}

function histogramOf(values: PairValues, size: number): Histogram {
  const [below, above] = [EXPONENTS.map(() => 0), EXPONENTS.map(() => 0)];
  let equal = 0;
  each(values, (element) => {
    if (!areFinite(element)) return;
    if (isAlike(element)) {
      equal++;
      return;
    }
    const difference = (element.actual - element.expected) / size;
    const exponent = Math.log10(Math.abs(difference));
    const bin = Math.max(0, Math.min(EXPONENTS.length - 1, Math.floor(2 * (exponent - (EXPONENTS[0] ?? 0)))));
    const side = difference < 0 ? below : above;
    side[bin] = (side[bin] ?? 0) + 1;
  });
  return { edges: EXPONENTS, below, above, equal };
}

function worstOf(values: PairValues): Place[] {
  const found: (Place & { readonly off: number })[] = [];
  let least = 0;
  each(values, (element) => {
    if (isAlike(element)) return;
    const off = areFinite(element) ? Math.abs(element.actual - element.expected) : Number.POSITIVE_INFINITY;
    if (found.length === WORST && off <= least) return;
    const { outer, token, column, expected, actual } = element;
    const at = found.findIndex((other) => off > other.off);
    found.splice(at < 0 ? found.length : at, 0, { outer, token, column, expected, actual, off });
    if (found.length > WORST) found.pop();
    least = found.at(-1)?.off ?? 0;
  });
  return found.map(({ off: _, ...place }) => place);
}

function sampleOf(values: PairValues): [number, number][] {
  const { layout, ranges } = values;
  const total = layout.outer * layout.columns * ranges.reduce((sum, { count }) => sum + count, 0);
  // A step that shares no factor with the columns meets all of them.
  let stride = Math.max(1, Math.floor(total / SAMPLE));
  while (stride > 1 && greatestCommon(stride, layout.columns) > 1) stride++;
  const found: [number, number][] = [];
  let index = 0;
  each(values, (element) => {
    if (index++ % stride === 0 && areFinite(element)) found.push([element.expected, element.actual]);
  });
  return found;
}

const greatestCommon = (a: number, b: number): number => (b === 0 ? a : greatestCommon(b, a % b));

/** What a row of logits would choose: the likeliest ids with logit and probability, likeliest first. */
export function choices(logits: Float32Array): { id: number; logit: number; probability: number }[] {
  const top = largest(logits);
  const most = logits[top[0] ?? 0] as number;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] as number) - most);
  return top.map((id) => {
    const logit = logits[id] as number;
    return { id, logit, probability: Math.exp(logit - most) / sum };
  });
}
