/** Facts of form: the error as a multiple of what is expected, or as something added. */
import type { Tally } from "./tally.ts";

export interface FitFact {
  /**
   * `factor`: actual = value * expected. `row-factor`: a factor for each row, least and most of them. `offset`: actual = expected +
   * value. `column-offset`: the same is added to a column in all rows, largest by magnitude.
   */
  readonly kind: "factor" | "row-factor" | "offset" | "column-offset";
  readonly value: number;
  readonly most: number;
  /** Share of the error's energy that the fit explains, less what as many free numbers would explain of noise. */
  readonly r2: number;
}

/** A fit is a fact if it explains this share of the energy, and the energy is spread over at least so many elements. */
const EXPLAINED = 0.9;
const LEAST_SPREAD = 8;
/** Elements a free number is fitted to, at least. */
const LEAST_ELEMENTS = 16;
/** Rows in which a column's offset must repeat, at least. */
const LEAST_ROWS = 4;

/** The simplest fit that explains the error; none where none does. */
export function fitFacts(tally: Tally): FitFact[] {
  const { count, columns, rows, energy } = tally;
  if (count < LEAST_ELEMENTS || energy === 0 || spread(tally) < LEAST_SPREAD) return [];
  const sums = sumsOf(tally);
  const fits = [
    fitted("factor", 1 + sums.ed / sums.ee, sums.ed ** 2 / sums.ee, 1),
    fitted("offset", sums.d / count, sums.d ** 2 / count, 1),
    ...(columns >= LEAST_ELEMENTS && rows > 1 ? [rowFactors(tally)] : []),
    ...(rows >= LEAST_ROWS && columns > 1 ? [columnOffsets(tally)] : []),
  ];
  const found = fits.find(({ explained, free }) => adjusted(explained, energy, count, free) >= EXPLAINED);
  if (found === undefined) return [];
  const { kind, value, most, explained, free } = found;
  return [{ kind, value, most, r2: adjusted(explained, energy, count, free) }];
}

interface Fit extends Pick<FitFact, "kind" | "value" | "most"> {
  /** Energy explained, and numbers that were free. */
  readonly explained: number;
  readonly free: number;
}

const fitted = (kind: FitFact["kind"], value: number, explained: number, free: number, most = value): Fit => ({
  ...{ kind, value, most, explained, free },
});

/** Noise of n elements lets f free numbers explain f / n of it. NaN, where nothing is expected, is no fit. */
function adjusted(explained: number, energy: number, count: number, free: number): number {
  return 1 - ((1 - explained / energy) * count) / (count - free);
}

/** The number of elements that would hold the energy if it were spread evenly: (sum d^2)^2 / sum d^4. */
function spread({ error, energy }: Tally): number {
  let fourth = 0;
  for (let i = 0; i < error.length; i++) {
    const square = (error[i] as number) * (error[i] as number);
    fourth += square * square;
  }
  return energy ** 2 / fourth;
}

function sumsOf({ of, error }: Tally) {
  const sums = { ed: 0, ee: 0, d: 0 };
  for (let i = 0; i < error.length; i++) {
    const e = of.expected[i] as number;
    const d = error[i] as number;
    if (!Number.isFinite(e)) continue;
    sums.ed += e * d;
    sums.ee += e * e;
    sums.d += d;
  }
  return sums;
}

function rowFactors({ of, error, rows, columns }: Tally): Fit {
  let [explained, least, most] = [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let row = 0; row < rows; row++) {
    let [ed, ee] = [0, 0];
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      const e = of.expected[i] as number;
      if (!Number.isFinite(e)) continue;
      ed += e * (error[i] as number);
      ee += e * e;
    }
    if (ee === 0) continue;
    explained += ed ** 2 / ee;
    least = Math.min(least, 1 + ed / ee);
    most = Math.max(most, 1 + ed / ee);
  }
  return fitted("row-factor", least, explained, rows, most);
}

function columnOffsets({ error, rows, columns }: Tally): Fit {
  const sums = new Float64Array(columns);
  for (let i = 0; i < error.length; ) {
    for (let c = 0; c < columns; c++) sums[c] = (sums[c] as number) + (error[i++] as number);
  }
  const largest = sums.reduce((most, sum) => (Math.abs(sum) > Math.abs(most) ? sum : most), 0);
  const explained = sums.reduce((total, sum) => total + sum * sum, 0) / rows;
  return fitted("column-offset", largest / rows, explained, columns);
}
