/** `withinBudget`: the same verdict as `faultline kernels` gives on the same numbers, for every kind of op, and lengths that are checked. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Given, Kind } from "../../src/api/given.ts";
import { withinBudget } from "../../src/api/index.ts";
import { Answer, anyKernels } from "../../src/compare/kernels/answer.ts";
import { OP_KINDS, type OpKernelCase, opCases } from "../../src/compare/kernels/cases.ts";
import { judgeKernel } from "../../src/compare/kernels/judge.ts";
import { roundToBfloat16 } from "../../src/model/half.ts";
import { evaluate, matrix } from "../../src/oracle/ops.ts";
import { OracleWeights, oracleContext } from "../../src/oracle/oracle.ts";
import { rowsAndColumns, shapeOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";

const weightOf = ({ model, op }: OpKernelCase, index = 0) => {
  const { rows, columns, type } = model.file.tensor(op.weights[index] ?? "");
  const tensor = model.file.tensor(op.weights[index] ?? "");
  return { rows, columns, type: type.name, blocks: model.file.readRows(tensor) };
};
const input = ({ inputs }: OpKernelCase, index = 0) => inputs[index] ?? new Float32Array(0);
const heads = ({ model, posStart }: OpKernelCase) => {
  const { heads, kvHeads, headDim } = model.parameters;
  return { heads, kvHeads, headDim, posStart };
};

/** A case of `faultline kernels` as somebody's own suite would give it. */
const GIVEN: { readonly [K in Kind]: (of: OpKernelCase) => Given[K] } = {
  embed: (of) => ({ table: weightOf(of), ids: of.tokens }),
  rms_norm: (of) => ({
    ...{ x: input(of), eps: 1e-5 },
    gain: of.model.file.decodeRows(of.model.file.tensor(of.op.weights[0] ?? "")),
  }),
  linear: (of) => ({
    ...{ x: input(of), weight: weightOf(of) },
    ...(of.op.weights.length > 1
      ? { bias: of.model.file.decodeRows(of.model.file.tensor(of.op.weights[1] ?? "")) }
      : {}),
  }),
  rope: (of) => ({ x: input(of), ...heads(of) }),
  attn_scores: (of) => ({ q: input(of), k: input(of, 1), ...heads(of) }),
  causal_softmax: (of) => ({
    ...{ scores: input(of), heads: of.model.parameters.heads, tokens: of.tokens.length, posStart: of.posStart },
  }),
  attn_ctx: (of) => ({ probabilities: input(of), values: input(of, 1), ...heads(of) }),
  swiglu: (of) => ({ gate: input(of), up: input(of, 1), columns: shapeOf(of.op.dims, of.model.axes(1, 1))[1] ?? 0 }),
  add: (of) => ({ a: input(of), b: input(of, 1), columns: shapeOf(of.op.dims, of.model.axes(1, 1))[1] ?? 0 }),
};

/** The right output, rounded to f32. */
function right(of: OpKernelCase): Float32Array {
  const { model, op, tokens, posStart } = of;
  const sizes = model.axes(tokens.length, posStart + tokens.length);
  const inputs = of.inputs.map((values, i) => {
    const { rows, columns } = rowsAndColumns(shapeOf(of.inputDims[i] ?? "", sizes));
    return matrix(rows, columns, Float64Array.from(values));
  });
  return Float32Array.from(evaluate(op, inputs, oracleContext(model, new OracleWeights(model), posStart, tokens)).data);
}

function budget<K extends Kind>(kind: K, of: OpKernelCase, output: Float32Array) {
  return withinBudget(kind, output, GIVEN[kind](of), { angles: "f64", weights: "decoded", inputs: "stored" });
}

const smallest = (kind: Kind) =>
  [...opCases((id) => id.startsWith(`${kind} `) && / (F32 |Q4_K |)(normal|nan) f32$/.test(id))].filter(
    ({ inputs, op, model }) =>
      inputs.every((each) => each.length < 20_000) && op.weights.every((name) => model.file.tensor(name).rows < 300),
  );

describe.each(OP_KINDS as Kind[])("%s", (kind) => {
  const cases = smallest(kind);

  it("judges as `faultline kernels` does, right and wrong outputs alike", () => {
    expect(cases.length).toBeGreaterThan(2);
    const run = { unstable: 0, unwritten: 0, border: { before: 0, after: 0 }, milliseconds: null };
    const author = anyKernels({ decodesWeights: true, exactAngles: true });
    const verdicts = new Set<string>();
    for (const of of cases) {
      const exact = right(of);
      const outputs = [
        exact,
        exact.map((value, i) => (i === exact.length >> 1 ? value + 0.5 : value)),
        exact.map((value) => value * 1.001),
        exact.map((value, i) => (i === 0 ? Number.NaN : value)),
      ];
      for (const output of outputs) {
        const facts = budget(kind, of, output);
        const kernel = judgeKernel(of, { values: output, ...run }, new Answer(of, author));
        const isKnown = facts.verdict !== "not-judged";
        if (isKnown) expect([of.id, facts.verdict, facts.reasons]).toEqual([of.id, kernel.verdict, kernel.reasons]);
        expect(facts.ofBound).toBe(kernel.ofWorst);
        verdicts.add(facts.verdict);
      }
    }
    expect([...verdicts]).toEqual(expect.arrayContaining(["pass", "fail"]));
  });

  it("names an element that is off, whichever it is, and passes no wrong length", () => {
    const of = cases.find(({ data }) => data === "normal");
    if (of === undefined) throw new Error("no case");
    const exact = right(of);
    fc.assert(
      fc.property(fc.nat(exact.length - 1), fc.constantFrom(1, -3, Number.NaN, Number.POSITIVE_INFINITY), (at, by) => {
        const output = exact.map((value, i) => (i === at ? value + by * (1 + Math.abs(value)) : value));
        const { verdict, isWithin, worst } = budget(kind, of, output);
        expect([verdict, isWithin, worst?.index]).toEqual(["fail", false, at]);
        expect(worst?.expected).toBeCloseTo(exact[at] as number, 4);
      }),
      { numRuns: 20 },
    );
    expect(() => budget(kind, of, exact.subarray(1))).toThrow(InputError);
    expect(() => budget(kind, of, new Float32Array(0))).toThrow(/output has 0 elements/);
  });
});

describe("what cannot be judged", () => {
  it("is not passed: every right value is NaN", () => {
    const gain = new Float32Array(4).fill(1);
    const x = new Float32Array(4).fill(Number.NaN);
    expect(withinBudget("rms_norm", x, { x, gain, eps: 1e-5 })).toMatchObject({
      verdict: "not-judged",
      isWithin: false,
    });
    const zeros = new Float32Array(4);
    expect(withinBudget("rms_norm", zeros, { x, gain, eps: 1e-5 })).toMatchObject({ reasons: ["absorbed"] });
  });

  const x = new Float32Array(6);
  it.each<[string, () => unknown, RegExp]>([
    [
      "rows",
      () => withinBudget("rms_norm", x, { x, gain: x.subarray(0, 4), eps: 1e-5 }),
      /rms_norm: x has 6 elements, which are no whole rows of 4/,
    ],
    ["nothing", () => withinBudget("add", [], { a: [], b: [] }), /add: columns of a is 0/],
    ["pairs", () => withinBudget("add", x, { a: x, b: x.subarray(1) }), /add: b has 5 elements; 1 x 6 are 6/],
    ["eps", () => withinBudget("rms_norm", x, { x, gain: x, eps: Number.NaN }), /eps is NaN/],
    [
      "type",
      () => withinBudget("linear", x, { x, weight: { rows: 1, columns: 6, type: "Q9", blocks: new Uint8Array(6) } }),
      /no block type "Q9"; there are F32/,
    ],
    [
      "blocks",
      () => withinBudget("linear", x, { x, weight: { rows: 1, columns: 6, type: "Q8_0", blocks: new Uint8Array(6) } }),
      /weight: 6 bytes are not 1 x 6 in Q8_0/,
    ],
    [
      "bias",
      () => withinBudget("linear", x, { x, weight: { rows: 1, columns: 6, values: x }, bias: x }),
      /bias has 6 elements; weight has 1 rows/,
    ],
    [
      "ids",
      () => withinBudget("embed", x, { table: { rows: 1, columns: 6, values: x }, ids: [1] }),
      /embed: id 1 of a table of 1 rows/,
    ],
    ["odd heads", () => withinBudget("rope", x, { x, heads: 2, headDim: 3 }), /rope: headDim is 3/],
    [
      "groups",
      () => withinBudget("attn_scores", x, { q: x, k: x, heads: 3, kvHeads: 2, headDim: 1 }),
      /3 heads over 2 KV heads/,
    ],
    [
      "keys",
      () => withinBudget("attn_ctx", x, { probabilities: x, values: x, heads: 1, kvHeads: 1, headDim: 6, posStart: 1 }),
      /values has 1 rows, the first token stands at 1/,
    ],
    [
      "scores",
      () => withinBudget("causal_softmax", x, { scores: x, heads: 1, tokens: 2 }),
      /scores has 6 elements; 2 x 2 are 4/,
    ],
    ["kind", () => withinBudget("conv" as "add", x, { a: x, b: x }), /no op "conv"; there are embed/],
    [
      "formats",
      () => withinBudget("add", x, { a: x, b: x }, { activations: "q8_0", dtype: "f16" }),
      /activations in q8_0 go with/,
    ],
    [
      "unknown format",
      () => withinBudget("add", x, { a: x, b: x }, { dtype: "fp8" as "f16" }),
      /dtype is declared "fp8"; there are f32, f16, bf16/,
    ],
    [
      "misspelt",
      () => withinBudget("add", x, { a: x, b: x }, { dtpye: "f16" } as object),
      /"dtpye" is nothing to declare; there are dtype/,
    ],
    ["no inputs", () => withinBudget("add", x, JSON.parse("null")), /add: a, b not given/],
    ["no gain", () => withinBudget("rms_norm", x, { x, eps: 0 } as Given["rms_norm"]), /rms_norm: gain not given/],
  ])("%s: refused in one line", (_name, judge, words) => expect(judge).toThrow(words));
});

describe("a declared format", () => {
  it("is allowed its rounding, and no more", () => {
    const a = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i) * 3);
    const rounded = a.map((value) => roundToBfloat16(2 * value));
    expect(withinBudget("add", rounded, { a, b: a }).verdict).toBe("fail");
    expect(withinBudget("add", rounded, { a, b: a }, { dtype: "bf16" }).isWithin).toBe(true);
    expect(
      withinBudget(
        "add",
        rounded.map((value) => value * 1.05),
        { a, b: a },
        { dtype: "bf16" },
      ).verdict,
    ).toBe("fail");
  });
});
