/** Small faults are found: each of these is an op that some engine got wrong, on data where it shows little. */
import { describe, expect, it } from "vitest";
import { evaluate, type Matrix } from "../../src/oracle/ops.ts";
import { type BoundCase, CASES, type Declared, judged, rightOf } from "../support/bound-cases.ts";
import { emulated, emulatedEngine } from "../support/emulated-ops.ts";
import type { Data } from "../support/hard-data.ts";
import { f32Weight, memoryModel } from "../support/memory-model.ts";
import { normals } from "../support/random.ts";
import { FORMATS } from "../support/rounding.ts";

const normal: Data = (count, seed) => normals(seed, count);
const run = (of: BoundCase, changes: Parameters<typeof emulatedEngine>[0] = {}) =>
  emulated(of.op, of.inputs, of.context, emulatedEngine(changes));
const withInput = (of: BoundCase, change: (x: Matrix, index: number) => Matrix): BoundCase => ({
  ...of,
  inputs: of.inputs.map(change),
});

describe("eps of a norm", () => {
  const norm = CASES.rms_norm({ rows: 40, terms: 576 }, normal, 3);
  const withEps = (eps: number) => run(norm.op.kind === "rms_norm" ? { ...norm, op: { ...norm.op, eps } } : norm);

  it("1e-6 for 1e-5 at RMS 1 is likely, by the factor that all elements share", () => {
    const own = judged(norm, withEps(1e-6));
    expect(own.verdict).toBe("likely");
    expect(own.beyondWorst).toBe(0);
    expect(own.factor.value).toBeGreaterThan(4e-6);
    expect(own.factor.value).toBeLessThan(5e-6);
    expect(own.factor.allowed).toBeLessThan(own.factor.value / 2);
  });

  it("1e-5 itself is clean, to a hundredth of its value", () => {
    expect(judged(norm, withEps(1.01e-5)).verdict).toBe("clean");
  });

  it("is proved where rows are small", () => {
    const small = CASES.rms_norm({ rows: 4, terms: 576 }, (count, seed) => normals(seed, count, 0.02), 3);
    const op = small.op.kind === "rms_norm" ? { ...small.op, eps: 1e-6 } : small.op;
    expect(judged(small, run({ ...small, op })).verdict).toBe("proved");
  });
});

describe.each(Object.entries(CASES))("%s", (kind, build) => {
  const of = build({ rows: 12, terms: kind === "attn_scores" ? 64 : 576 }, normal, 8);

  it("one element off by a thousandth is proved", () => {
    const actual = run(of);
    const largest = actual.reduce((at, value, i) => (Math.abs(value) > Math.abs(actual[at] as number) ? i : at), 0);
    actual[largest] = (actual[largest] as number) * 1.001;
    const own = judged(of, actual);
    expect(own).toMatchObject({ verdict: "proved", beyondWorst: 1, at: { index: largest } });
  });

  it("stored in bf16 and not said so is proved, in f16 it is not clean", () => {
    const [half, brain] = [run(of, { store: FORMATS.f16 }), run(of, { store: FORMATS.bf16 })];
    expect(judged(of, half).verdict).not.toBe("clean");
    expect(judged(of, brain).verdict).toBe("proved");
    // 1536 terms in any order may be off by more than a half is.
    const isShort = judged(of, half).worst < 2 ** -12;
    if (isShort) expect(judged(of, half).verdict).toBe("proved");
    const declared: Declared = { dtype: "f16", settings: { inputs: "stored", between: "f32" } };
    expect(judged(of, half, declared).verdict).toBe("clean");
    expect(judged(of, brain, declared).verdict).toBe("proved");
  });

  it("two neighbours in each other's place are proved", () => {
    const actual = run(of);
    [actual[0], actual[1]] = [actual[1] as number, actual[0] as number];
    if (actual[0] === actual[1]) throw new Error("the neighbours are alike");
    expect(judged(of, actual).verdict).toBe("proved");
  });

  it("NaN and Inf where the value is finite are proved", () => {
    for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const actual = run(of);
      actual[5] = wrong;
      const own = judged(of, actual);
      expect(own.verdict).toBe("proved");
      expect(own.nonFinite).toMatchObject({ unexplained: 1, first: 5 });
    }
  });

  it("zeros, and results twice as large, are proved", () => {
    const actual = run(of);
    expect(
      judged(
        of,
        actual.map(() => 0),
      ).verdict,
    ).toBe("proved");
    expect(
      judged(
        of,
        actual.map((value) => 2 * value),
      ).verdict,
    ).toBe("proved");
  });
});

describe.each([
  ["add", 2.5e38],
  ["swiglu", 3e19],
] as const)("%s beyond what f32 holds", (kind, size) => {
  const of = CASES[kind](
    { rows: 4, terms: 8 },
    (count, seed) => normals(seed, count).map((x) => Math.sign(x) * size),
    6,
  );
  const right = rightOf(of);
  const beyond = [...right.keys()].filter((i) => Math.abs(right[i] as number) === Number.POSITIVE_INFINITY);

  it("is infinite of its sign; of the other sign it is proved wrong", () => {
    expect(beyond.length).toBeGreaterThan(3);
    expect(judged(of, run(of)).nonFinite).toMatchObject({ unexplained: 0, overflowed: beyond.length });
    for (const i of beyond) {
      const actual = run(of);
      actual[i] = -(actual[i] as number);
      expect(judged(of, actual)).toMatchObject({ verdict: "proved", nonFinite: { unexplained: 1 } });
    }
  });
});

describe("a sum", () => {
  const linear = CASES.linear({ rows: 8, terms: 1536 }, normal, 4);

  it("without the last of its 1536 terms is proved", () => {
    const cut = withInput(linear, (x) => ({ ...x, data: x.data.map((value, i) => (i % 1536 === 1535 ? 0 : value)) }));
    expect(judged(linear, run(cut)).verdict).toBe("proved");
  });

  it("in f16 that is not declared is proved, declared it is clean", () => {
    const actual = run(linear, { round: FORMATS.f16, store: FORMATS.f16 });
    expect(judged(linear, actual).verdict).toBe("proved");
    const halves = withInput(linear, (x) => ({ ...x, data: x.data.map(FORMATS.f16) }));
    const declared: Declared = { dtype: "f16", settings: { accumulate: "f16", inputs: "stored" } };
    expect(judged(halves, actual, declared).verdict).toBe("clean");
  });

  it("without its bias is proved", () => {
    if (linear.op.weights.length !== 2) throw new Error("the case has no bias");
    const bare: BoundCase = { ...linear, op: { ...linear.op, weights: ["w"] } };
    expect(judged(linear, run(bare)).verdict).toBe("proved");
  });

  it("of f16 keys that are not declared is proved", () => {
    const scores = CASES.attn_scores({ rows: 8, terms: 64 }, normal, 4);
    const actual = run(scores, { cache: FORMATS.f16 });
    expect(judged(scores, actual).verdict).toBe("proved");
    expect(judged(scores, actual, { settings: { kv: "f16" } }).verdict).toBe("clean");
  });

  it("with one wrong weight of 1536 is proved", () => {
    const weights = normals(12, 3 * 1536);
    const one = { ...linear, op: { ...linear.op, weights: ["w"] } };
    const right = { ...one, model: memoryModel({ w: f32Weight(3, weights) }) };
    const bent = weights.slice();
    bent[700] = (bent[700] as number) + 0.2;
    const given = evaluate(one.op, one.inputs, {
      ...one.context,
      weight: () => ({ rows: 3, columns: 1536, data: Float64Array.from(bent) }),
    });
    expect(judged(right, Float32Array.from(given.data)).verdict).toBe("proved");
  });
});

describe("an activation", () => {
  const swiglu = CASES.swiglu({ rows: 8, terms: 64 }, normal, 6);
  const [gate, up] = swiglu.inputs;
  const through = (of: (g: number) => number) =>
    Float32Array.from(gate?.data ?? [], (g, i) => of(g) * (up?.data[i] as number));

  it.each([
    ["gelu of tanh", (g: number) => 0.5 * g * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3)))],
    ["gelu by sigmoid", (g: number) => g / (1 + Math.exp(-1.702 * g))],
    ["relu", (g: number) => Math.max(0, g)],
    ["a silu of f16 exponentials", (g: number) => g / (1 + FORMATS.f16(Math.exp(-g)))],
  ])("%s for silu is proved", (_name, wrong) => {
    expect(judged(swiglu, through(wrong)).verdict).toBe("proved");
    expect(
      judged(
        swiglu,
        through((g) => g / (1 + Math.exp(-g))),
      ).verdict,
    ).toBe("clean");
  });
});

it("a softmax one key short, and one at another temperature, are proved", () => {
  const softmax = CASES.causal_softmax({ rows: 8, terms: 40 }, normal, 6);
  const short = withInput(softmax, (x) => ({
    ...x,
    data: x.data.map((value, i) => (i % x.columns === 0 ? -90 : value)),
  }));
  expect(judged(softmax, run(short)).verdict).toBe("proved");
  const hot = withInput(softmax, (x) => ({ ...x, data: x.data.map((value) => value * 1.0005) }));
  expect(judged(softmax, run(hot)).verdict).toBe("proved");
  expect(judged(softmax, rightOf(softmax)).verdict).toBe("clean");
});

it("a factor that all elements share is likely long before an element is proved", () => {
  for (const kind of ["linear", "attn_scores", "attn_ctx"] as const) {
    const of = CASES[kind]({ rows: 60, terms: kind === "attn_scores" ? 128 : 1536 }, normal, 6);
    const own = judged(
      of,
      rightOf(of).map((value) => value * (1 + 3e-5)),
    );
    expect([kind, own.verdict, own.beyondWorst]).toEqual([kind, "likely", 0]);
  }
});
