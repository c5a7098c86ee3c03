/** The fewest edits between two sequences: laws, and a plain table of longest common subsequences beside them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { tokenEdits } from "../../src/compare/token-edits.ts";

const ids = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 14 });

/** Length of the longest common subsequence, by the textbook's table. */
function longestCommon(e: readonly number[], a: readonly number[]): number {
  let above = new Array<number>(a.length + 1).fill(0);
  for (const id of e) {
    const row = [0];
    for (const [j, other] of a.entries())
      row.push(id === other ? (above[j] ?? 0) + 1 : Math.max(above[j + 1] ?? 0, row[j] ?? 0));
    above = row;
  }
  return above.at(-1) ?? 0;
}

describe("tokenEdits", () => {
  it("an insertion, a deletion, a replacement", () => {
    expect(tokenEdits([1, 2, 3], [1, 9, 2, 3])).toEqual([
      { expectedFrom: 1, expectedTo: 1, actualFrom: 1, actualTo: 2 },
    ]);
    expect(tokenEdits([1, 2, 3], [2, 3])).toEqual([{ expectedFrom: 0, expectedTo: 1, actualFrom: 0, actualTo: 0 }]);
    expect(tokenEdits([1, 2, 3], [1, 9, 8, 3])).toEqual([
      { expectedFrom: 1, expectedTo: 2, actualFrom: 1, actualTo: 3 },
    ]);
    expect(tokenEdits([1, 2], [1, 2])).toEqual([]);
    expect(tokenEdits([], [])).toEqual([]);
  });

  it("applied to one sequence they give the other, what they leave is equal, and no fewer would do", () => {
    fc.assert(
      fc.property(ids, ids, (e, a) => {
        const edits = tokenEdits(e, a);
        const made: number[] = [];
        let [from, changed] = [0, 0];
        for (const { expectedFrom, expectedTo, actualFrom, actualTo } of edits) {
          made.push(...e.slice(from, expectedFrom), ...a.slice(actualFrom, actualTo));
          changed += expectedTo - expectedFrom + actualTo - actualFrom;
          expect(made.length).toBe(actualTo);
          from = expectedTo;
        }
        expect([...made, ...e.slice(from)]).toEqual(a);
        expect(changed).toBe(e.length + a.length - 2 * longestCommon(e, a));
      }),
      { numRuns: 1000 },
    );
  });

  it("swapping the sides swaps insertions and deletions in number", () => {
    const size = (edits: ReturnType<typeof tokenEdits>) =>
      edits.reduce((sum, { expectedFrom: e, expectedTo: f, actualFrom: a, actualTo: b }) => sum + f - e + b - a, 0);
    fc.assert(fc.property(ids, ids, (e, a) => size(tokenEdits(e, a)) === size(tokenEdits(a, e))));
  });

  it("long sequences: few edits are found one by one, very many are one run", () => {
    const long = Array.from({ length: 30_000 }, (_, i) => i);
    const changed = long.filter((id) => id % 3000 !== 7);
    expect(tokenEdits(long, changed).length).toBe(10);
    const other = long.map((id) => (id === 5000 ? id : id + 100_000));
    expect(tokenEdits(long, other)).toEqual([{ expectedFrom: 0, expectedTo: 30_000, actualFrom: 0, actualTo: 30_000 }]);
  });
});
