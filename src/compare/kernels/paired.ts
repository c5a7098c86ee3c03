/** Ratios of times taken in pairs: their median, and an interval that holds the true one, without any guess at how times scatter. */

export interface PairedRatio {
  readonly median: number;
  /** The true median lies between these, but for a chance of `level`. */
  readonly low: number;
  readonly high: number;
  readonly pairs: number;
}

/**
 * own / other, pair by pair. The interval is that of the sign test: of n independent pairs the number below the true median is
 * binomial(n, 1/2), so order statistics k and n - k + 1 enclose it but for 2 P(B < k) (Conover, Practical Nonparametric Statistics,
 * 3.2). Where many cases are asked at once each takes its part of the level (Bonferroni). Throws where no pair was taken.
 */
export function pairedRatio(own: readonly number[], other: readonly number[], level: number): PairedRatio {
  const pairs = Math.min(own.length, other.length);
  if (pairs === 0) throw new Error("no pair of times");
  const ratios = own
    .slice(0, pairs)
    .map((time, i) => time / (other[i] as number))
    .sort((a, b) => a - b);
  const at = (rank: number) => ratios[Math.min(pairs, Math.max(1, rank)) - 1] as number;
  const k = Math.max(1, rankOf(pairs, level));
  const middle = (at(Math.floor((pairs + 1) / 2)) + at(Math.ceil((pairs + 1) / 2))) / 2;
  return { median: middle, low: at(k), high: at(pairs - k + 1), pairs };
}

/** The largest k with 2 P(B < k) within the level; 0 where even k = 1 is not: too few pairs. */
function rankOf(pairs: number, level: number): number {
  let [term, below, k] = [0.5 ** pairs, 0, 0];
  while (2 * (below + term) <= level) {
    below += term;
    k++;
    term *= (pairs - k + 1) / k;
  }
  return k;
}
