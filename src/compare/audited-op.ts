/** One op of one step held against its bounds: what it got wrong by itself, and how surely. */
import type { Bounded } from "../oracle/bounded.ts";

/**
 * clean: within what independent roundings explain. suspicious: beyond that, within what any right computation may show. likely: an
 * error with a pattern that rounding does not have. proved: no right computation gives this. not-judged: see `reason`.
 */
export type AuditVerdict = "clean" | "suspicious" | "likely" | "proved" | "not-judged";

/** An element and what stood there. */
export interface AuditedElement {
  /** Flat row-major index. */
  readonly index: number;
  readonly expected: number;
  readonly actual: number;
  /** The rigorous bound of its error. */
  readonly allowed: number;
}

/** What an op got from above and what it added, against a second run; relative to the second run's output. */
export interface ErrorParts {
  readonly total: number;
  readonly inherited: number;
  readonly added: number;
  /** How much of both took one another back: sqrt(inherited^2 + added^2 - total^2), 0 where they did not. */
  readonly cancelled: number;
  /** Relative error of the output through the inputs, over the relative error of the inputs; null where these are equal. */
  readonly amplification: number | null;
}

export interface OwnError {
  readonly verdict: AuditVerdict;
  /** ||actual - expected|| / ||expected||, over elements that are finite on both sides. */
  readonly relL2: number;
  /** The same of the statistical and the rigorous bound. */
  readonly likely: number;
  readonly worst: number;
  /** Largest |error| / bound of any element, for both. Above 1 is beyond it. */
  readonly likelyShare: number;
  readonly worstShare: number;
  /** Elements beyond each. */
  readonly beyondLikely: number;
  readonly beyondWorst: number;
  /** Elements in all. */
  readonly count: number;
  /** The element with the largest share of its rigorous bound. */
  readonly at: AuditedElement | null;
  /** All elements scaled by 1 + value; `allowed` is what roundings explain of that. */
  readonly factor: { readonly value: number; readonly allowed: number };
  readonly nonFinite: NonFiniteCounts;
}

export interface NonFiniteCounts {
  /** Not finite although the inputs are, and within the range of what it is stored in. */
  readonly unexplained: number;
  /** Infinite because the right value exceeds what it is stored in. */
  readonly overflowed: number;
  /** Not finite because an input is. */
  readonly inherited: number;
  /** Finite although an input that takes part is not. */
  readonly absorbed: number;
  /** The first element of the first two kinds, or -1. */
  readonly first: number;
}

/** Largest finite value of each storage format. */
const LARGEST: Readonly<Record<string, number>> = { f16: 65504, bf16: 3.3895313892515355e38 };
const LARGEST_SINGLE = 3.4028234663852886e38;
/** What exp, division and square root may be off by in all elements alike, in u = 2^-24. */
const ALIKE = 8 * 2 ** -24;

const share = (error: number, bound: number) => (error === 0 ? 0 : error / bound);

/** Judges what an op gave. `store` is the format it is stored in. */
export function ownError(bounded: Bounded, actual: Float32Array, store: string): OwnError {
  const { expected, worst, likely, alike, keepsSign, rows, columns } = bounded;
  const largest = LARGEST[store] ?? LARGEST_SINGLE;
  const nonFinite = { unexplained: 0, overflowed: 0, inherited: 0, absorbed: 0, first: -1 };
  let [error2, expected2, likely2, worst2, along, together] = [0, 0, 0, 0, 0, 0];
  const rowsLikely = new Map<number, number>();
  let [likelyShare, worstShare, beyondLikely, beyondWorst, at] = [0, 0, 0, 0, -1];
  for (let row = 0; row < rows; row++) {
    let [rowLikely, row2] = [0, 0];
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      const [e, a] = [expected[i] as number, actual[i] as number];
      if (!Number.isFinite(e) || !Number.isFinite(a)) {
        if (!Number.isFinite(e)) nonFinite[Number.isFinite(a) ? "absorbed" : "inherited"]++;
        else {
          const size = keepsSign ? e * Math.sign(a) : Math.abs(e);
          const overflows = !Number.isNaN(a) && size + (worst[i] as number) >= largest;
          nonFinite[overflows ? "overflowed" : "unexplained"]++;
          if (nonFinite.first < 0) nonFinite.first = i;
        }
        continue;
      }
      const error = Math.abs(a - e);
      const [ofWorst, ofLikely] = [share(error, worst[i] as number), share(error, likely[i] as number)];
      if (ofWorst > 1) beyondWorst++;
      if (ofLikely > 1) beyondLikely++;
      if (ofLikely > likelyShare) likelyShare = ofLikely;
      if (at < 0 || ofWorst > worstShare) [worstShare, at] = [ofWorst, i];
      error2 += error * error;
      row2 += e * e;
      likely2 += (likely[i] as number) ** 2;
      worst2 += (worst[i] as number) ** 2;
      along += (a - e) * e;
      rowLikely += Math.abs(e) * (likely[i] as number);
    }
    expected2 += row2;
    together += row2 * (alike[row] as number);
    // Rows of one sum of squares are taken to be the same row, whose error is the same.
    rowsLikely.set(row2, (rowsLikely.get(row2) ?? 0) + rowLikely);
  }
  const relative = (square: number) => (square === 0 ? 0 : Math.sqrt(square / expected2));
  // Rows err independently; within a row errors may be one (a norm's scale). So the rows' allowed parts add up in quadrature, but for
  // what has a direction.
  let independent2 = 0;
  for (const rowLikely of rowsLikely.values()) independent2 += rowLikely * rowLikely;
  const factor = {
    value: expected2 === 0 ? 0 : along / expected2,
    allowed: expected2 === 0 ? 0 : (Math.sqrt(independent2) + together) / expected2 + ALIKE,
  };
  const isUnknown = expected.length > 0 && nonFinite.inherited + nonFinite.absorbed === expected.length;
  const verdict = isUnknown
    ? "not-judged"
    : beyondWorst > 0 || nonFinite.unexplained > 0
      ? "proved"
      : Math.abs(factor.value) > factor.allowed
        ? "likely"
        : beyondLikely > 0
          ? "suspicious"
          : "clean";
  return {
    verdict,
    relL2: relative(error2),
    likely: relative(likely2),
    worst: relative(worst2),
    ...{ likelyShare, worstShare, beyondLikely, beyondWorst, count: expected.length, factor, nonFinite },
    at: elementAt(at < 0 ? nonFinite.first : at, bounded, actual),
  };
}

function elementAt(index: number, { expected, worst }: Bounded, actual: Float32Array): AuditedElement | null {
  if (index < 0) return null;
  return {
    index,
    expected: expected[index] as number,
    actual: actual[index] as number,
    allowed: worst[index] as number,
  };
}
