/** Details of a pair against plain sums over all its elements. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { opDetail, type PairValues } from "../../src/compare/op-detail.ts";

const value = fc.float({ noNaN: true, min: -100, max: 100 });

/** Tensors of `outer` blocks, of which some tokens are compared. */
const pairs: fc.Arbitrary<PairValues> = fc
  .record({
    outer: fc.integer({ min: 1, max: 5 }),
    tokens: fc.integer({ min: 1, max: 60 }),
    columns: fc.integer({ min: 1, max: 90 }),
    first: fc.nat(3),
  })
  .chain(({ outer, tokens, columns, first }) => {
    const count = outer * (tokens + first) * columns;
    const array = fc.array(value, { minLength: count, maxLength: count }).map((list) => Float32Array.from(list));
    return fc.record({
      layout: fc.constant({
        ...{ outer, columns, expectedColumns: columns, actualColumns: columns },
        ...{ expectedTokens: tokens + first, actualTokens: tokens + first },
      }),
      ranges: fc.constant([{ expectedToken: first, actualToken: first, count: tokens }]),
      expected: array,
      actual: array,
    });
  });

/** Expected and actual of every compared element. */
function elementsOf({ layout, ranges, expected, actual }: PairValues): [number, number][] {
  const found: [number, number][] = [];
  for (let o = 0; o < layout.outer; o++) {
    for (const { expectedToken, count } of ranges) {
      const from = (o * layout.expectedTokens + expectedToken) * layout.columns;
      for (let i = from; i < from + count * layout.columns; i++) found.push([expected[i] ?? 0, actual[i] ?? 0]);
    }
  }
  return found;
}

const sum = (values: readonly number[]) => values.reduce((all, each) => all + each, 0);
const near = (a: number, b: number) => expect(Math.abs(a - b)).toBeLessThanOrEqual(1e-9 * Math.max(1, Math.abs(b)));

describe("a pair in detail", () => {
  it("has all of the difference's energy in its grid, and all elements in its histogram", () => {
    fc.assert(
      fc.property(pairs, (pair) => {
        const { grid, histogram } = opDetail(pair, null);
        const elements = elementsOf(pair);
        const energy = sum(elements.map(([e]) => e * e));
        const size = energy === 0 ? 1 : energy / elements.length;
        const rowsOf = (r: number) => {
          const row = grid.rows[r];
          return row === undefined ? 0 : row.last - row.first + 1;
        };
        const cells = grid.values.flatMap((row, r) =>
          row.map((rms, c) => {
            const column = grid.columns[c];
            return rms * rms * size * rowsOf(r) * (column === undefined ? 0 : column.last - column.first + 1);
          }),
        );
        near(sum(cells), sum(elements.map(([e, a]) => (a - e) ** 2)));
        expect(histogram.equal + sum(histogram.below) + sum(histogram.above)).toBe(elements.length);
      }),
      { numRuns: 60 },
    );
  });

  it("lists the largest differences, largest first", () => {
    fc.assert(
      fc.property(pairs, (pair) => {
        const off = elementsOf(pair)
          .map(([e, a]) => Math.abs(a - e))
          .sort((a, b) => b - a);
        const listed = opDetail(pair, null).worst.map(({ expected, actual }) => Math.abs(actual - expected));
        expect(listed).toEqual(off.slice(0, 12).filter((each) => each > 0));
      }),
      { numRuns: 60 },
    );
  });

  it("puts what is not finite on one side first, with its place, and keeps it out of sums", () => {
    const layout = { outer: 2, columns: 4, expectedColumns: 4, actualColumns: 4, expectedTokens: 3, actualTokens: 3 };
    const expected = Float32Array.from({ length: 24 }, (_, i) => i + 1);
    const actual = expected.slice();
    actual[17] = Number.NaN;
    actual[2] = 40;
    const ranges = [{ expectedToken: 0, actualToken: 0, count: 3 }];
    const { worst, histogram, heads } = opDetail({ layout, ranges, expected, actual }, null);
    expect(worst[0]).toEqual({ outer: 1, token: 1, column: 1, expected: 18, actual: Number.NaN });
    expect(worst[1]).toEqual({ outer: 0, token: 0, column: 2, expected: 3, actual: 40 });
    expect([histogram.equal, sum(histogram.below), sum(histogram.above)]).toEqual([22, 0, 1]);
    expect(heads[0]).toBeGreaterThan(0);
    expect(heads[1]).toBeNaN();
  });

  it("NaN on both sides is not taken for nothing", () => {
    const layout = { outer: 1, columns: 4, expectedColumns: 4, actualColumns: 4, expectedTokens: 1, actualTokens: 1 };
    const values = Float32Array.of(1, Number.NaN, 3, 4);
    const ranges = [{ expectedToken: 0, actualToken: 0, count: 1 }];
    const { grid, histogram } = opDetail({ layout, ranges, expected: values, actual: values.slice() }, null);
    expect(grid.values).toEqual([[0, Number.NaN, 0, 0]]);
    expect(histogram.equal).toBe(3);
  });
});
