/** A curve in one line of text. */

const LEVELS = [..."▁▂▃▄▅▆▇█"];
/** Positive figures that span more than this are drawn by their logarithm. */
const WIDE = 20;

/** How figures are drawn: what the lowest and the highest level stand for. */
export interface Scale {
  readonly low: number;
  readonly high: number;
  readonly isLog: boolean;
}

/** One scale for several curves: from the least to the largest finite figure; by logarithm where all are positive and far apart. */
export function scaleOf(values: readonly (number | null)[]): Scale {
  const finite = values.filter((value): value is number => value !== null && Number.isFinite(value));
  const low = finite.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high = finite.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  return { low, high, isLog: low > 0 && high / low > WIDE };
}

/** One character a figure; `?` for what is not known, `!` for NaN and Inf. */
export function sparkline(values: readonly (number | null)[], { low, high, isLog }: Scale = scaleOf(values)): string {
  const drawn = (value: number) => (isLog ? Math.log(value) : value);
  const place = (value: number) => (high === low ? 0.5 : (drawn(value) - drawn(low)) / (drawn(high) - drawn(low)));
  return values
    .map((value) => {
      if (value === null) return "?";
      if (!Number.isFinite(value)) return "!";
      const level = Math.round(place(value) * (LEVELS.length - 1));
      return LEVELS[Math.min(Math.max(level, 0), LEVELS.length - 1)];
    })
    .join("");
}
