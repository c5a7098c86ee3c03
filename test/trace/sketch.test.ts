/** Sketch and hash: the published vectors, and the laws that make them useful. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fmix32, hashOf, sketchOf } from "../../src/trace/sketch.ts";
import { statisticsOf } from "../../src/trace/statistics.ts";
import { normals } from "../support/random.ts";

/** The second vector of the format's specification: 10 rows of 100. */
const SPECIFIED = Float32Array.from({ length: 1000 }, (_, i) => (((i * 37) % 101) - 50) / 8);

describe("the vectors of the specification", () => {
  it("one row of 1 2 3 4", () => {
    const values = Float32Array.of(1, 2, 3, 4);
    expect([...sketchOf(values, 1, 4)]).toEqual([0, -6, 10, -6, -2, -10, -10, 0, -4, 6, 6, -4, -2, 8, 2, -2]);
    expect(hashOf(values).toString(16)).toBe("1abb971cb65947ab");
  });

  it("ten rows of a hundred", () => {
    const sketch = [...sketchOf(SPECIFIED, 10, 100)];
    const row0 = [22.25, -25.5, -64.25, -10.75, 58.25, -58, -28, -23, 60.75, -30.5, -89, 8, 6, -17, 18, -28];
    const row9 = [-23.5, 40.75, -18.5, 7, -31.75, 11, 50.5, -3.25, -43, 22.75, 50.25, 31.25, -19.25, -47, -7.25, 0];
    expect(sketch.slice(0, 16)).toEqual(row0);
    expect(sketch.slice(144)).toEqual(row9);
    expect(hashOf(SPECIFIED).toString(16)).toBe("3a9bceb960dd3a6e");
    const { statistics } = statisticsOf(SPECIFIED, 10, 100);
    expect(statistics.rms).toBeCloseTo(3.647443453982529, 14);
    expect(statistics.mean).toBe(0.00125);
  });
});

describe("laws", () => {
  const floats = fc.array(fc.float({ noNaN: true, min: -1e6, max: 1e6 }), { minLength: 1, maxLength: 40 });

  it("the sketch of a sum is the sum of sketches", () => {
    fc.assert(
      fc.property(floats, (list) => {
        const a = Float32Array.from(list, Math.fround);
        const b = a.map((x) => x / 4);
        const both = sketchOf(
          Float32Array.from(a, (x, i) => x + (b[i] ?? 0)),
          1,
          a.length,
        );
        const [sa, sb] = [sketchOf(a, 1, a.length), sketchOf(b, 1, b.length)];
        const scale = a.reduce((sum, x) => sum + Math.abs(x), 1e-30);
        for (let j = 0; j < 16; j++) {
          expect(Math.abs((both[j] ?? 0) - ((sa[j] ?? 0) + (sb[j] ?? 0)))).toBeLessThanOrEqual(scale * 2 ** -21);
        }
      }),
    );
  });

  it("swapping two different elements changes the hash", () => {
    fc.assert(
      fc.property(floats, fc.nat(), fc.nat(), (list, first, second) => {
        const a = Float32Array.from(list, Math.fround);
        const [i, j] = [first % a.length, second % a.length];
        const swapped = a.slice();
        swapped[i] = a[j] as number;
        swapped[j] = a[i] as number;
        expect(hashOf(swapped) === hashOf(a)).toBe(Object.is(a[i], a[j]));
      }),
    );
  });

  it("the distance of sketches estimates the distance of rows: within 20 % over 64 rows", () => {
    const [rows, columns] = [64, 300];
    const a = normals(1, rows * columns);
    const b = a.map((x, i) => x + 0.01 * (normals(2, 1)[0] ?? 0) * ((i % 7) - 3));
    const [sa, sb] = [sketchOf(a, rows, columns), sketchOf(b, rows, columns)];
    const distance = (x: Float32Array, y: Float32Array) => Math.hypot(...x.map((value, i) => value - (y[i] ?? 0)));
    const ratio = distance(sa, sb) / 4 / distance(a, b);
    expect(ratio).toBeGreaterThan(0.8);
    expect(ratio).toBeLessThan(1.2);
  });

  it("what is not finite is left out of the sketch, but not of the hash", () => {
    const with0 = Float32Array.of(1, 0, 3);
    const withNaN = Float32Array.of(1, Number.NaN, 3);
    expect(sketchOf(withNaN, 1, 3)).toEqual(sketchOf(with0, 1, 3));
    expect(hashOf(withNaN)).not.toBe(hashOf(with0));
  });

  it("fmix32 is a permutation on a sample", () => {
    const seen = new Set(Array.from({ length: 100_000 }, (_, i) => fmix32(i)));
    expect(seen.size).toBe(100_000);
  });
});
