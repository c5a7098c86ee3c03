/** The fewest insertions and deletions that make one sequence of ids another. */

/** A run that differs: the ids from `expectedFrom` up to `expectedTo` stand where the other side has its own. One may be empty, not both. */
export interface Edit {
  readonly expectedFrom: number;
  readonly expectedTo: number;
  readonly actualFrom: number;
  readonly actualTo: number;
}

/**
 * Insertions and deletions up to which the fewest are looked for. Time grows with the sequences' length times this, memory with its
 * square (4 MB); sequences further apart are other sequences, and differ in one run from the first difference to the last.
 */
const MOST_EDITS = 1000;

/**
 * The runs that differ, in order: what lies between them is equal on both sides. By E. W. Myers, "An O(ND) Difference Algorithm and
 * Its Variations" (1986), after what both begin and end with is set aside.
 */
export function tokenEdits(expected: readonly number[], actual: readonly number[]): Edit[] {
  const shortest = Math.min(expected.length, actual.length);
  let head = 0;
  while (head < shortest && expected[head] === actual[head]) head++;
  let tail = 0;
  while (tail < shortest - head && expected.at(-1 - tail) === actual.at(-1 - tail)) tail++;
  const [e, a] = [expected.slice(head, expected.length - tail), actual.slice(head, actual.length - tail)];
  if (e.length === 0 && a.length === 0) return [];
  return runsOf([...equalPairs(e, a), [e.length, a.length]]).map((edit) => ({
    expectedFrom: edit.expectedFrom + head,
    expectedTo: edit.expectedTo + head,
    actualFrom: edit.actualFrom + head,
    actualTo: edit.actualTo + head,
  }));
}

/** The places [expected, actual] that are equal on a shortest way from one sequence to the other. */
function equalPairs(e: readonly number[], a: readonly number[]): [number, number][] {
  const most = Math.min(e.length + a.length, MOST_EDITS);
  /** reach[depth][k + depth]: how far into `actual` that many edits lead on diagonal k = actual - expected. */
  const reach: Int32Array[] = [];
  const at = (depth: number, k: number) => reach[depth]?.[k + depth] ?? -1;
  /** Where the way comes from: an insertion from diagonal k - 1, a deletion from k + 1. */
  const isInsertion = (depth: number, k: number) =>
    k === depth || (k !== -depth && at(depth - 1, k - 1) + 1 > at(depth - 1, k + 1));
  for (let depth = 0; depth <= most; depth++) {
    const row = new Int32Array(2 * depth + 1);
    reach.push(row);
    for (let k = -depth; k <= depth; k += 2) {
      let y = depth === 0 ? 0 : isInsertion(depth, k) ? at(depth - 1, k - 1) + 1 : at(depth - 1, k + 1);
      while (y - k < e.length && y < a.length && y >= k && e[y - k] === a[y]) y++;
      row[k + depth] = y;
      if (y >= a.length && y - k >= e.length) return wayBack(depth, k, at, isInsertion);
    }
  }
  return [];
}

/** The equal places along the way that ends after `depth` edits on diagonal k. */
function wayBack(
  depth: number,
  k: number,
  at: (depth: number, k: number) => number,
  isInsertion: (depth: number, k: number) => boolean,
): [number, number][] {
  const pairs: [number, number][] = [];
  for (let y = at(depth, k); ; depth--) {
    const insertion = depth > 0 && isInsertion(depth, k);
    const before = insertion ? k - 1 : k + 1;
    const start = depth === 0 ? 0 : at(depth - 1, before) + (insertion ? 1 : 0);
    while (y > start) pairs.push([--y - k, y]);
    if (depth === 0) return pairs.reverse();
    [y, k] = [at(depth - 1, before), before];
  }
}

/** The gaps between equal places, the last of which is the end of both. */
function runsOf(pairs: readonly (readonly [number, number])[]): Edit[] {
  const runs: Edit[] = [];
  let [expectedFrom, actualFrom] = [0, 0];
  for (const [expectedTo, actualTo] of pairs) {
    if (expectedTo > expectedFrom || actualTo > actualFrom)
      runs.push({ expectedFrom, expectedTo, actualFrom, actualTo });
    [expectedFrom, actualFrom] = [expectedTo + 1, actualTo + 1];
  }
  return runs;
}
