/** A set of indices below `of`, told by its size and its ranges. */
export interface Spread {
  readonly of: number;
  readonly count: number;
  /** Ascending, both ends in; the first few of them where `more` is true. */
  readonly ranges: readonly (readonly [first: number, last: number])[];
  readonly more: boolean;
}

/** Ranges told of a set. */
const TOLD = 16;

/** The spread of the indices whose mark is not 0. */
export function spreadOf(marks: Uint8Array): Spread {
  const ranges: [number, number][] = [];
  let count = 0;
  for (let i = 0; i < marks.length; i++) {
    if (marks[i] === 0) continue;
    count++;
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === i - 1) last[1] = i;
    else ranges.push([i, i]);
  }
  return { of: marks.length, count, ranges: ranges.slice(0, TOLD), more: ranges.length > TOLD };
}
