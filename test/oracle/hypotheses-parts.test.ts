/** What hypotheses are made of: block decoders, roundings, functions, fits; on oracle runs, without a GPU. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BLOCK_TYPES, decodeBlocks } from "../../src/model/blocks.ts";
import { roundToBfloat16, roundToHalf } from "../../src/model/half.ts";
import type { Model } from "../../src/model/model.ts";
import { erf } from "../../src/oracle/hypotheses/erf.ts";
import { toBfloat16, toHalf } from "../../src/oracle/hypotheses/half-sums.ts";
import { decodeMisread, MISREAD_TYPES, type Misreading } from "../../src/oracle/hypotheses/misread-blocks.ts";
import { distance } from "../../src/oracle/hypotheses/values.ts";
import { type Matrix, matrix } from "../../src/oracle/ops.ts";
import { Oracle } from "../../src/oracle/oracle.ts";
import { someTokens, syntheticModel } from "../support/engine.ts";
import { caseOf, predictionsOf } from "../support/op-cases.ts";
import { normals } from "../support/random.ts";
import type { StepValues } from "../support/recompute.ts";

describe("block decoders that can be told to go wrong", () => {
  const types = BLOCK_TYPES.filter(({ name }) => MISREAD_TYPES.includes(name));
  const blockOf = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
  const misread = (type: string, bytes: Uint8Array, count: number, wrong: Misreading) =>
    decodeMisread(type, { own: bytes, scale: bytes, min: bytes }, count, wrong);

  it("there is one for every type of block", () => {
    expect(types.map(({ name }) => name)).toEqual(BLOCK_TYPES.filter((t) => t.elements > 1).map(({ name }) => name));
  });

  it.each(types)("$name without an error: the bits of the model's decoder", (type) => {
    fc.assert(
      fc.property(blockOf(type.bytes), (bytes) => {
        expect(misread(type.name, bytes, type.elements, {})).toEqual(decodeBlocks(type, bytes));
      }),
      { numRuns: 300 },
    );
  });

  it.each(types)("$name: neighbouring nibbles hold the same weights in other columns", (type) => {
    if (!["Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL"].includes(type.name)) return;
    fc.assert(
      fc.property(blockOf(type.bytes), (bytes) => {
        // -0 + 0 is 0: the two sort as one.
        const sorted = (w: Float32Array) => [...w].map((x) => x + 0).sort((a, b) => a - b);
        const right = decodeBlocks(type, bytes);
        if (right.some(Number.isNaN)) return;
        expect(sorted(misread(type.name, bytes, type.elements, { neighbours: "whole" }))).toEqual(sorted(right));
      }),
    );
  });
});

describe("roundings", () => {
  const anyFloat = fc.oneof(
    fc.float(),
    fc.float({ min: -1, max: 1 }),
    fc.float({ min: Math.fround(-1e-4), max: Math.fround(1e-4) }),
  );
  it("to halves and bfloat16 are the model's", () => {
    fc.assert(
      fc.property(anyFloat, (x) => {
        // -0 and 0 are one number in a sum
        expect(toHalf(x) + 0).toBe(roundToHalf(x) + 0);
        expect(toBfloat16(x) + 0).toBe(roundToBfloat16(x) + 0);
      }),
      { numRuns: 5000 },
    );
    for (const x of [65504, 65519.99, 65520, 1e9, -65520, 2 ** -25, 1.5 * 2 ** -24, Number.POSITIVE_INFINITY]) {
      expect(toHalf(x), `${x}`).toBe(roundToHalf(Math.fround(x)));
    }
  });
});

it("erf: values of tables (Abramowitz and Stegun, 7.1), odd, and smooth where the methods meet", () => {
  const table = [
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [3, 0.9999779095030014],
  ] as const;
  for (const [x, y] of table) {
    expect(erf(x)).toBeCloseTo(y, 14);
    expect(erf(-x)).toBe(-erf(x));
  }
  const slope = (2 / Math.sqrt(Math.PI)) * Math.exp(-6.25);
  expect((erf(2.5 + 1e-6) - erf(2.5 - 1e-6)) / 2e-6).toBeCloseTo(slope, 8);
  expect([erf(0), erf(7), erf(Number.NEGATIVE_INFINITY)]).toEqual([0, 1, -1]);
});

/** A run of the oracle. */
function run(model: Model, steps: readonly (readonly number[])[]): StepValues[] {
  const oracle = new Oracle(model);
  let posStart = 0;
  return steps.map((tokens) => {
    const values = new Map<string, Float32Array>();
    oracle.step(posStart, tokens, (op, output) => values.set(op.tap, Float32Array.from(output.data)));
    const step = { posStart, tokens, values };
    posStart += tokens.length;
    return step;
  });
}

describe("fits", () => {
  const model = syntheticModel({ layers: 2 });
  const steps = model.then((each) => run(each, [someTokens(6), [7]]));
  /** What a fit says of a tap whose output was changed. */
  const fitted = async (id: string, tap: string, change: (m: Matrix) => Float64Array, step = 0) => {
    const { op, seen } = await caseOf(await model, await steps, step, tap);
    const { rows, columns } = seen.expected;
    const actual = matrix(rows, columns, Float64Array.from(Float32Array.from(change(seen.expected))));
    const [best] = await predictionsOf(id, op, { expected: seen.expected, actual });
    return { best, away: best === undefined ? 1 : distance(best.output.data, actual.data) };
  };
  /** Column c from column from(c). */
  const columnsFrom = (from: (column: number) => number) => (m: Matrix) =>
    m.data.map((_, i) => m.data[i - (i % m.columns) + from(i % m.columns)] as number);
  const noise = normals(5, 1 << 12, 1);

  const cases: readonly [
    id: string,
    tap: string,
    change: (m: Matrix) => Float64Array,
    parameter: string | undefined,
  ][] = [
    ["fit.scale", "blk.1.ffn_up", (m) => m.data.map((x) => 8 * x), "factor 8.00"],
    ["fit.scale", "blk.1.attn_norm", (m) => m.data.map((x) => x * (1 + 4.5e-6)), "factor 1.000005"],
    ["fit.scale", "blk.1.attn_norm", (m) => m.data.map((x) => -x), "factor -1.00"],
    ["fit.offset", "blk.1.v_proj", (m) => m.data.map((x) => x + 0.25), "offset 0.250"],
    ["fit.channels-permuted", "blk.1.output", columnsFrom((c) => (c * 37 + 5) % 64), undefined],
    ["fit.heads-permuted", "blk.1.q_proj", columnsFrom((c) => (c + 16) % 64), "heads 1 2 3 0"],
    ["fit.heads-permuted", "blk.1.k_rope", columnsFrom((c) => (c + 16) % 32), "heads 1 0"],
    [
      "fit.heads-permuted",
      "blk.1.attn_scores",
      (m) => m.data.map((_, i) => m.data[(i + m.data.length / 2) % m.data.length] as number),
      "heads 2 3 0 1",
    ],
    [
      "fit.transposed",
      "blk.1.ffn_gate",
      (m) => m.data.map((_, i) => m.data[(i % m.rows) * m.columns + Math.floor(i / m.rows)] as number),
      "written by columns",
    ],
    [
      "fit.transposed",
      "blk.1.q_proj",
      columnsFrom((c) => (c % 4) * 16 + Math.floor(c / 4)),
      "(head_dim head) for (head head_dim)",
    ],
    [
      "fit.rows-shifted",
      "blk.1.attn_out",
      (m) => m.data.map((_, i) => (i < 2 * m.columns ? 0 : (m.data[i - 2 * m.columns] as number))),
      "2 down",
    ],
  ];
  it.each(cases)("%s of %s", async (id, tap, change, parameter) => {
    const { best, away } = await fitted(id, tap, change);
    expect(away).toBeLessThan(1e-6);
    expect(best?.parameter).toBe(parameter);
  });

  it("equal to an input, to another tap, to the last step", async () => {
    const [prefill, decode] = await steps;
    const of = (step: StepValues | undefined, tap: string) => Float64Array.from(step?.values.get(tap) ?? []);
    expect((await fitted("fit.equals-input", "blk.1.q_rope", () => of(prefill, "blk.1.q_proj"))).best?.parameter).toBe(
      "blk.1.q_proj",
    );
    expect((await fitted("fit.equals-tap", "blk.1.ffn_up", () => of(prefill, "blk.0.ffn_gate"))).best?.parameter).toBe(
      "blk.0.ffn_gate",
    );
    const last = of(prefill, "blk.1.ffn_up").subarray(-96);
    expect((await fitted("fit.equals-last-step", "blk.1.ffn_up", () => last, 1)).away).toBe(0);
    expect(of(decode, "blk.1.ffn_up").length).toBe(96);
  });

  it.each([...new Set(cases.map(([id]) => id)), "fit.equals-tap"])(
    "%s says nothing of noise, nor of a NaN",
    async (id) => {
      for (const tap of ["blk.1.q_proj", "blk.1.attn_scores", "blk.1.output"]) {
        const noisy = await fitted(id, tap, (m) => m.data.map((x, i) => x * (1 + 1e-3 * (noise[i] as number))));
        // A factor of noise may be fitted to chance; it explains next to nothing.
        expect(noisy.away, tap).toBeGreaterThan(9e-4);
        const broken = await fitted(id, tap, (m) => m.data.map((x, i) => (i === 3 ? Number.NaN : x)));
        expect(broken.best, tap).toBeUndefined();
      }
    },
  );
});

it("Gemma's embeddings without their scale; a llama's have none", async () => {
  const model = await syntheticModel({ layers: 1 });
  const steps = run(model, [[1, 2, 3]]);
  const { op, seen } = await caseOf(model, steps, 0, "embed");
  expect(await predictionsOf("embed.scale-missing", op, seen)).toEqual([]);
  const gemma = { ...op, model: { ...model, architecture: "gemma3" } };
  const [missing] = await predictionsOf("embed.scale-missing", gemma, seen);
  expect(missing?.output.data[7]).toBeCloseTo((seen.expected.data[7] as number) / 8, 12);
  expect(await predictionsOf("embed.scale-extra", gemma, seen)).toEqual([]);
});
