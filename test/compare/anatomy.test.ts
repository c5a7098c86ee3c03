/** Errors of known shape, planted in random tensors of random sizes: the shape is named; rounding has none. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Anatomised, type AnatomyFact, anatomyOf } from "../../src/compare/anatomy.ts";
import { anatomyText } from "../../src/report/anatomy.ts";
import { normals, uniform } from "../support/random.ts";

const HEAD_DIM = 16;
/** tokens, heads and a seed; columns are heads of 16. */
const sizes = fc.record({
  tokens: fc.integer({ min: 3, max: 24 }),
  heads: fc.integer({ min: 3, max: 12 }),
  seed: fc.integer({ min: 1, max: 1e6 }),
});
type Sizes = typeof sizes extends fc.Arbitrary<infer T> ? T : never;

/** A tensor of `token (head head_dim)`, and the same after f32 rounding of its sums. */
function tensor({ tokens, heads, seed }: Sizes): Anatomised & { actual: Float32Array; columns: number } {
  const columns = heads * HEAD_DIM;
  const expected = normals(seed, tokens * columns);
  const rounding = normals(seed + 1, tokens * columns, 2 ** -23);
  const actual = expected.map((x, i) => x + (rounding[i] ?? 0));
  return { dims: "token (head head_dim)", shape: [tokens, columns], expected, actual, headDim: HEAD_DIM, columns };
}

type Wrong = (value: number, place: { token: number; column: number; head: number; dim: number }) => number;

function planted(of: Sizes, wrong: Wrong) {
  const clean = tensor(of);
  const actual = clean.actual.map((value, i) => {
    const [token, column] = [Math.floor(i / clean.columns), i % clean.columns];
    return wrong(value, { token, column, head: Math.floor(column / HEAD_DIM), dim: column % HEAD_DIM });
  });
  return { ...clean, actual };
}

const factsOf = (of: Anatomised) => anatomyOf(of).facts;
const find = (facts: readonly AnatomyFact[], kind: AnatomyFact["kind"]) => facts.find((fact) => fact.kind === kind);
const check = (property: (of: Sizes) => void) => fc.assert(fc.property(sizes, property), { numRuns: 60 });

/** Another value of the same size, that of nothing in the tensor. */
const other = (seed: number) => {
  const random = uniform(seed);
  return () => (random() < 0.5 ? -1 : 1) * (1 + random());
};

describe("rounding", () => {
  it("has no shape", () => {
    check((of) => {
      expect(factsOf(tensor(of))).toEqual([]);
    });
  });

  it("has none either where it is ten times what it may be", () => {
    check((of) => {
      const clean = tensor(of);
      const bound = Float64Array.from(clean.expected, () => 2 ** -23 / 10);
      expect(factsOf({ ...clean, bound })).toEqual([]);
    });
  });

  it("has none where only a few elements are beyond it", () => {
    check((of) => {
      const clean = tensor(of);
      const bound = Float64Array.from(clean.expected, () => 2.5 * 2 ** -23);
      expect(factsOf({ ...clean, bound })).toEqual([]);
    });
  });

  it("has none where its size is that of each row or column", () => {
    check((of) => {
      const clean = tensor(of);
      const row = normals(of.seed + 2, of.tokens + clean.columns).map((x) => Math.exp(x));
      const size = (i: number) =>
        (row[Math.floor(i / clean.columns)] ?? 1) * (row[of.tokens + (i % clean.columns)] ?? 1);
      const expected = Float64Array.from(clean.expected, (x, i) => x * size(i));
      const actual = Float64Array.from(clean.actual, (x, i) => x * size(i));
      expect(factsOf({ ...clean, expected, actual })).toEqual([]);
    });
  });
});

describe("places", () => {
  it("the last columns, and what they hold", () => {
    check((of) => {
      const width = of.heads * HEAD_DIM;
      const tail = 4 + (of.seed % 12);
      const facts = factsOf(planted(of, (x, { column }) => (column >= width - tail ? 0 : x)));
      expect(find(facts, "columns")).toMatchObject({ part: "last", of: width });
      expect(find(facts, "columns")).toHaveProperty("members.length", tail);
      expect(find(facts, "heads") ?? null).toBeNull();
      expect(find(facts, "constant")).toMatchObject({ value: 0, share: 1 });
    });
  });

  it("heads", () => {
    check((of) => {
      const wrong = of.seed % of.heads;
      const [one, others] = [true, false].map((isOne) => {
        const value = other(of.seed);
        return factsOf(planted(of, (x, { head }) => ((head === wrong) === isOne ? 3 * value() : x)));
      });
      expect(find(one ?? [], "heads")).toMatchObject({ members: [wrong], of: of.heads });
      expect(find(one ?? [], "columns") ?? null).toBeNull();
      expect(find(others ?? [], "heads")).toHaveProperty("members.length", of.heads - 1);
    });
  });

  it("tokens", () => {
    check((of) => {
      const value = other(of.seed);
      const wrong = of.seed % of.tokens;
      const facts = factsOf(planted(of, (x, { token }) => (token === wrong ? 3 * value() : x)));
      expect(find(facts, "tokens")).toMatchObject({ members: [wrong], of: of.tokens });
    });
  });

  it("even columns, and halves of heads", () => {
    check((of) => {
      const value = other(of.seed);
      const even = factsOf(planted(of, (x, { column }) => (column % 2 === 0 ? 3 * value() : x)));
      expect(find(even, "columns")).toMatchObject({ part: "even" });
      const half = factsOf(planted(of, (x, { dim }) => (dim >= HEAD_DIM / 2 ? 3 * value() : x)));
      expect(find(half, "columns")).toMatchObject({ part: "second-half", of: HEAD_DIM });
    });
  });

  it("heads that are an axis of their own", () => {
    check(({ tokens: some, heads, seed }) => {
      const [tokens, keys] = [some + 3, some + 6];
      const expected = normals(seed, heads * tokens * keys);
      const actual = expected.map((x, i) => (Math.floor(i / (tokens * keys)) === 0 ? x : x + 1));
      const facts = factsOf({ dims: "head token key", shape: [heads, tokens, keys], expected, actual });
      expect(find(facts, "heads")).toMatchObject({ part: "all-but-one", of: heads });
      expect(find(facts, "heads")).toHaveProperty("members.length", heads - 1);
    });
  });
});

describe("forms", () => {
  it("a common factor, however small", () => {
    check((of) => {
      const factor = of.seed % 2 === 0 ? 1.5 : 1 + 1e-5;
      const [fact] = factsOf(planted(of, (x) => x * factor)).filter(({ kind }) => kind === "factor");
      expect(fact).toBeDefined();
      if (fact?.kind === "factor") expect((fact.value - 1) / (factor - 1)).toBeCloseTo(1, 1);
    });
  });

  it("a factor of each row, an offset, an offset of each column", () => {
    check((of) => {
      const rows = factsOf(planted(of, (x, { token }) => x * (1 + 0.1 * (1 - 2 * (token % 2)))));
      expect(find(rows, "row-factor")).toMatchObject({ value: expect.closeTo(0.9, 3), most: expect.closeTo(1.1, 3) });
      expect(find(factsOf(planted(of, (x) => x + 0.25)), "offset")).toMatchObject({ value: expect.closeTo(0.25, 3) });
      if (of.tokens < 4) return;
      const bias = normals(of.seed + 3, of.heads * HEAD_DIM);
      const columns = factsOf(planted(of, (x, { column }) => x + (bias[column] ?? 0)));
      expect(find(columns, "column-offset")).toBeDefined();
    });
  });

  it("periods and blocks", () => {
    check(({ seed, tokens }) => {
      const size = [16, 32, 64, 128, 256][seed % 5] ?? 16;
      const columns = 5 * size;
      const expected = normals(seed, tokens * columns);
      const noise = normals(seed + 1, tokens * columns, 0.01);
      const last = (c: number) => c % size >= size - size / 4;
      const repeated = expected.map((x, i) => x + (noise[i] ?? 0) * (last(i % columns) ? 30 : 1));
      const place = { dims: "token ffn", shape: [tokens, columns], expected };
      expect(find(factsOf({ ...place, actual: repeated }), "period")).toMatchObject({ size });
      const scale = [1, 30, 3, 90, 0.5];
      const blocks = expected.map((x, i) => x + (noise[i] ?? 0) * (scale[Math.floor((i % columns) / size)] ?? 1));
      expect(find(factsOf({ ...place, actual: blocks }), "blocks")).toMatchObject({ size });
      const run = expected.map(
        (x, i) => x + (noise[i] ?? 0) * (i % columns >= 2 * size && i % columns < 3 * size ? 30 : 1),
      );
      expect(find(factsOf({ ...place, actual: run }), "blocks")).toBeUndefined();
    });
  });

  it("growth with the position", () => {
    check((of) => {
      if (of.tokens < 10) return;
      const noise = other(of.seed);
      const facts = factsOf(planted(of, (x, { token }) => x + 0.01 * token * noise()));
      const growth = find(facts, "growth");
      expect(growth).toMatchObject({ at: [1, of.tokens - 1] });
      if (growth?.kind === "growth") expect(growth.slope).toBeCloseTo(1, 0);
    });
  });
});

describe("values", () => {
  it("NaN, signs, grids, few elements, lost writes", () => {
    check((of) => {
      const some = (i: number) => i % 7 === 3;
      const nan = factsOf(planted(of, (x, { token, column }) => (token === 0 && column === 1 ? Number.NaN : x)));
      expect(nan[0]).toMatchObject({ kind: "non-finite", count: 1, value: Number.NaN });
      const random = uniform(of.seed);
      const sign = factsOf(planted(of, (x) => (random() < 0.4 && Math.abs(x) > 0.01 ? -x : x)));
      expect(find(sign, "sign")).toBeDefined();
      const bf = new Uint32Array(1);
      const bfFloat = new Float32Array(bf.buffer);
      const rounded = (x: number, mask: number) => {
        bfFloat[0] = x;
        bf[0] = (bf[0] ?? 0) & mask;
        return Math.abs(x) < 2 ** -14 ? 0 : (bfFloat[0] ?? 0);
      };
      expect(find(factsOf(planted(of, (x) => rounded(x, 0xffff0000))), "bf16-grid")).toBeDefined();
      expect(find(factsOf(planted(of, (x) => rounded(x, 0xffffe000))), "f16-grid")).toBeDefined();
      const one = factsOf(planted(of, (x, { token, column }) => (token === 1 && column === 5 ? x + 9 : x)));
      if (of.tokens * of.heads * HEAD_DIM >= 200) expect(find(one, "concentrated")).toMatchObject({ count: 1 });
      const value = other(of.seed);
      const lost = factsOf(planted(of, (x) => (some(Math.floor(random() * 97)) ? x + 3 * value() : x)));
      if (of.tokens > 6) expect(find(lost, "all-or-nothing")).toBeDefined();
    });
  });
});

it("is quick on a large tensor", () => {
  const [rows, columns] = [1000, 1536];
  const expected = normals(1, rows * columns);
  const actual = expected.map((x, i) => (i % columns >= 1500 ? 0 : x * 1.001));
  const of = { dims: "token (head head_dim)", shape: [rows, columns], expected, actual, headDim: 64 };
  anatomyOf({
    ...of,
    shape: [10, columns],
    expected: expected.slice(0, 10 * columns),
    actual: actual.slice(0, 10 * columns),
  });
  const before = performance.now();
  anatomyOf(of);
  // Measured 0.2 s; a loaded machine takes longer.
  expect(performance.now() - before).toBeLessThan(2000);
});

describe("words", () => {
  const of: Sizes = { tokens: 12, heads: 9, seed: 7 };
  const value = other(7);
  const cases: readonly [wrong: Wrong, line: string | RegExp][] = [
    [(x, { column }) => (column >= 131 ? 0 : x), "columns 131-143 of 144 hold 0"],
    [(x, { head }) => (head === 8 ? 0 : x), "head 8 of 9 holds 0"],
    [(x, { head }) => (head > 0 ? 3 * value() : x), "heads 1-8 of 9 are wrong, head 0 is right"],
    [(x, { token }) => (token > 0 ? 3 * value() : x), "rows 1-11 of 12 are wrong, row 0 is right"],
    [(x, { column }) => (column % 2 ? 3 * value() : x), "odd columns of 144 are wrong"],
    [(x, { dim }) => (dim < 8 ? 3 * value() : x), "columns 0-7 of each head's 16 are wrong"],
    [(x) => x * (1 - 4.5e-6), /^all are \(1 - 4\.\d+e-6\) times what they should be/],
    [(x) => -x, /^all are -1 times/],
    [
      (x, { token }) => x + 0.02 * token * value(),
      /^grows with the row: 0\.0\d+ at 1, 0\.\d+ at 11, as its power (0\.9|1|1\.1)$/,
    ],
  ];
  it.each(cases)("%#", (wrong, line) => {
    const lines = anatomyText(anatomyOf(planted(of, wrong)));
    if (typeof line === "string") expect(lines).toContain(line);
    else
      expect(
        lines.some((each) => line.test(each)),
        lines.join("\n"),
      ).toBe(true);
  });
});
