/** Distances: against their definitions in f64, and by the laws that sketches and statistics must keep. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sketchSlack } from "../../src/compare/budget.ts";
import { relativeDistance, sketchDistance, statisticsDistance, valueDistance } from "../../src/compare/metrics.ts";
import type { Layout } from "../../src/compare/pairs.ts";
import { normals } from "../support/random.ts";
import { recordOf } from "../support/traces.ts";

const layoutOf = (outer: number, tokens: number, columns: number): Layout => ({
  ...{ outer, columns, expectedTokens: tokens, actualTokens: tokens, expectedColumns: columns, actualColumns: columns },
});
const whole = (tokens: number) => [{ expectedToken: 0, actualToken: 0, count: tokens }];

/** ||a - e|| / ||e||, written once more. */
function definition(e: Float32Array, a: Float32Array): number {
  let [difference, scale] = [0, 0];
  e.forEach((x, i) => {
    difference += ((a[i] ?? 0) - x) ** 2;
    scale += x * x;
  });
  return Math.sqrt(difference / scale);
}

const shapes = fc.record({
  outer: fc.integer({ min: 1, max: 4 }),
  tokens: fc.integer({ min: 1, max: 6 }),
  columns: fc.integer({ min: 1, max: 70 }),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

/** The distance that statistics prove; these tests have all statistics. */
function proved(...arguments_: Parameters<typeof statisticsDistance>): number {
  const distance = statisticsDistance(...arguments_);
  if (distance === null) throw new Error("nothing is known");
  return relativeDistance(distance);
}

describe("values", () => {
  it("give relL2 by its definition, of the whole and of each token over its heads", () => {
    fc.assert(
      fc.property(shapes, ({ outer, tokens, columns, seed }) => {
        const e = normals(seed, outer * tokens * columns);
        const a = normals(seed + 1, e.length).map((x, i) => (e[i] ?? 0) + 0.1 * x);
        const distance = valueDistance(e, a, layoutOf(outer, tokens, columns), whole(tokens));
        expect(relativeDistance(distance)).toBeCloseTo(definition(e, a), 12);
        for (const { token, difference } of distance.tokens) {
          let sum = 0;
          for (let o = 0; o < outer; o++) {
            for (let c = 0; c < columns; c++) {
              const i = (o * tokens + token) * columns + c;
              sum += ((a[i] ?? 0) - (e[i] ?? 0)) ** 2;
            }
          }
          expect(difference).toBeCloseTo(sum, 10);
        }
        const largest = Math.max(...e.map((x, i) => Math.abs((a[i] ?? 0) - x)));
        expect(Math.abs((distance.largest?.actual ?? 0) - (distance.largest?.expected ?? 0))).toBeCloseTo(largest, 6);
      }),
    );
  });

  it("are 0 for the same bits and 1 for a cosine", () => {
    const e = normals(3, 60);
    const distance = valueDistance(e, e.slice(), layoutOf(1, 3, 20), whole(3));
    expect([relativeDistance(distance), distance.cosine, distance.largest]).toEqual([0, 1, null]);
    expect(distance.ulps).toEqual({ median: 0, p99: 0 });
  });

  it("count ULPs across zero and between neighbours", () => {
    const e = Float32Array.of(1, 1e-45, 0);
    const a = Float32Array.of(1 + 2 ** -23, -1e-45, 0);
    expect(valueDistance(e, a, layoutOf(1, 1, 3), whole(1)).ulps).toEqual({ median: 2, p99: 2 });
  });

  it("compare only shared rows and columns", () => {
    // Expected: 3 tokens of 4 keys; actual: token 1 alone, of 6 keys. Keys beyond the fourth are masked.
    const e = Float32Array.of(1, 0, 0, 0, 2, 3, 0, 0, 4, 5, 6, 0);
    const a = Float32Array.of(2, 3.5, 0, 0, 0, 0);
    const layout = { outer: 1, columns: 4, expectedTokens: 3, actualTokens: 1, expectedColumns: 4, actualColumns: 6 };
    const distance = valueDistance(e, a, layout, [{ expectedToken: 1, actualToken: 0, count: 1 }]);
    expect([distance.difference, distance.expected]).toEqual([0.25, 13]);
  });

  it("count what is not finite by place and kind, and judge the rest", () => {
    const [nan, inf] = [Number.NaN, Number.POSITIVE_INFINITY];
    const e = Float32Array.of(1, nan, inf, inf, 2, nan);
    const a = Float32Array.of(1, nan, inf, -inf, nan, 3);
    const { nonFinite, difference, expected } = valueDistance(e, a, layoutOf(1, 2, 3), whole(2));
    expect(nonFinite).toMatchObject({ same: 2, differing: 3, first: { token: 0, column: 1 } });
    expect([difference, expected]).toEqual([0, 1]);
  });

  it("measure rows whose squares leave the range of f64's neighbours", () => {
    const e = Float32Array.of(3e38, 1e38);
    const distance = valueDistance(e, Float32Array.of(3e38, -1e38), layoutOf(1, 1, 2), whole(1));
    expect(relativeDistance(distance)).toBeCloseTo(2 / Math.sqrt(10), 6);
  });
});

describe("sketches", () => {
  it("estimate the distance of values, within the slack that budgets give them", () => {
    fc.assert(
      fc.property(shapes, ({ outer, tokens, columns, seed }) => {
        const dims = "head token key";
        const e = normals(seed, outer * tokens * columns);
        const a = normals(seed + 1, e.length).map((x, i) => (e[i] ?? 0) + 0.01 * x);
        const shape = [outer, tokens, columns];
        const [re, ra] = [recordOf("t", dims, shape, e), recordOf("t", dims, shape, a)];
        const estimate = relativeDistance(sketchDistance(re, ra, layoutOf(outer, tokens, columns), whole(tokens)));
        const ratio = estimate / definition(e, a);
        // A row of few columns has fewer than 16 independent projections; one column has one, and is exact.
        expect(ratio).toBeLessThan(Math.max(sketchSlack(outer * tokens), columns < 16 ? 4 : 0));
        if (columns >= 16) expect(ratio).toBeGreaterThan(0.3);
      }),
    );
  });

  it("see a permutation that keeps all statistics", () => {
    const e = normals(5, 64);
    const shape = [1, 64];
    const [re, ra] = [recordOf("t", "token embd", shape, e), recordOf("t", "token embd", shape, e.slice().reverse())];
    const layout = layoutOf(1, 1, 64);
    expect(proved(re, ra, layout, whole(1))).toBeLessThan(1e-6);
    expect(relativeDistance(sketchDistance(re, ra, layout, whole(1)))).toBeGreaterThan(0.5);
  });
});

describe("statistics", () => {
  it("never claim more distance than there is", () => {
    fc.assert(
      fc.property(shapes, fc.double({ min: 1e-3, max: 3, noNaN: true }), ({ outer, tokens, columns, seed }, size) => {
        const dims = "head token key";
        const e = normals(seed, outer * tokens * columns);
        const a = normals(seed + 1, e.length).map((x, i) => (e[i] ?? 0) + size * x);
        const shape = [outer, tokens, columns];
        const [re, ra] = [recordOf("t", dims, shape, e), recordOf("t", dims, shape, a)];
        const bound = proved(re, ra, layoutOf(outer, tokens, columns), whole(tokens));
        expect(bound).toBeLessThanOrEqual(definition(e, a) * (1 + 1e-5) + 1e-6);
      }),
    );
  });

  it("prove a change of scale", () => {
    const e = normals(7, 128);
    const shape = [2, 64];
    const [re, ra] = [
      recordOf("t", "token embd", shape, e),
      recordOf(
        "t",
        "token embd",
        shape,
        e.map((x) => 1.5 * x),
      ),
    ];
    expect(proved(re, ra, layoutOf(1, 2, 64), whole(2))).toBeCloseTo(0.5, 5);
  });
});
