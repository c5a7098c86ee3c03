import { describe, expect, it } from "vitest";
import { openModel } from "../../src/model/model.ts";
import { type RopeParameters, ropeFrequencies, ropeTable } from "../../src/model/rope.ts";
import { f32, text, u32 } from "../support/gguf-builder.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";

const PLAIN: RopeParameters = { base: 10000, dimensions: 64, scaling: { type: "none" }, factors: null };
const yarn = (factor: number) =>
  ({ type: "yarn", factor, originalContext: 2048, betaFast: 32, betaSlow: 1, attentionFactor: 1 }) as const;

describe("rotary frequencies", () => {
  it("are base^(-2j/d)", () => {
    const { frequencies, magnitude } = ropeFrequencies(PLAIN);
    expect(frequencies[0]).toBe(1);
    expect(frequencies[16]).toBeCloseTo(0.01, 15);
    expect(frequencies[31]).toBeCloseTo(10000 ** (-62 / 64), 15);
    expect(magnitude).toBe(1);
  });

  it("linear scaling divides all, llama3's factors divide each", () => {
    const plain = ropeFrequencies(PLAIN).frequencies;
    const linear = ropeFrequencies({ ...PLAIN, scaling: { type: "linear", factor: 4 } }).frequencies;
    const factors = Float32Array.from({ length: 32 }, (_, j) => 1 + j / 8);
    const llama3 = ropeFrequencies({ ...PLAIN, factors }).frequencies;
    for (let j = 0; j < 32; j++) {
      expect(linear[j]).toBe((plain[j] ?? 0) / 4);
      expect(llama3[j]).toBeCloseTo((plain[j] ?? 0) / (1 + j / 8), 15);
    }
  });

  it("YaRN keeps fast pairs, interpolates slow ones, and ramps between", () => {
    const plain = ropeFrequencies(PLAIN).frequencies;
    const { frequencies, magnitude } = ropeFrequencies({ ...PLAIN, scaling: yarn(8) });
    // Pair j turns 2048 f_j / 2 pi times within the context: 32 times at j = 8.06, once at j = 20.1. The ramp is 8 .. 21.
    for (let j = 0; j <= 8; j++) expect(frequencies[j]).toBe(plain[j]);
    for (let j = 21; j < 32; j++) expect(frequencies[j]).toBeCloseTo((plain[j] ?? 0) / 8, 15);
    for (let j = 9; j < 21; j++) {
      const kept = 1 - (j - 8) / 13;
      expect(frequencies[j]).toBeCloseTo((plain[j] ?? 0) * (kept + (1 - kept) / 8), 15);
    }
    expect(magnitude).toBeCloseTo(1 + 0.1 * Math.log(8), 15);
    expect(ropeFrequencies({ ...PLAIN, scaling: yarn(1) }).magnitude).toBe(1);
  });

  it("tables of later positions are rows of the table from 0", () => {
    const all = ropeTable(PLAIN, 0, 50);
    const late = ropeTable(PLAIN, 40, 10);
    expect(late.cos).toEqual(all.cos.subarray(40 * 32));
    expect(late.sin).toEqual(all.sin.subarray(40 * 32));
    expect([...all.cos.subarray(0, 32)]).toEqual(Array(32).fill(1));
  });
});

describe("reading from GGUF", () => {
  it("takes base, scaling type and factors", async () => {
    const metadata = {
      "llama.rope.freq_base": f32(500000),
      "llama.rope.scaling.type": text("yarn"),
      "llama.rope.scaling.factor": f32(4),
      "llama.rope.scaling.original_context_length": u32(32),
    };
    const model = await openModel(syntheticLlamaFile({ metadata, ropeFactors: new Float32Array(8).fill(2) }));
    const { base, scaling, factors } = model.parameters.rope;
    expect(base).toBe(500000);
    expect(scaling).toEqual({
      type: "yarn",
      factor: 4,
      originalContext: 32,
      betaFast: 32,
      betaSlow: 1,
      attentionFactor: 1,
    });
    expect([...(factors ?? [])]).toEqual(Array(8).fill(2));
  });

  it("a factor without a type is linear; factor 1 is none", async () => {
    const linear = await openModel(syntheticLlamaFile({ metadata: { "llama.rope.scaling.factor": f32(2) } }));
    expect(linear.parameters.rope.scaling).toEqual({ type: "linear", factor: 2 });
    expect((await openModel(syntheticLlamaFile())).parameters.rope.scaling).toEqual({ type: "none" });
  });
});
