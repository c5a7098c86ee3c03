import { describe, expect, it } from "vitest";
import { ModelError } from "../../src/model/errors.ts";
import { halfToFloat, roundToHalf } from "../../src/model/half.ts";
import { openModel, parseLayers } from "../../src/model/model.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";

describe("the graph", () => {
  it("has every tap of every layer, in order, with its edges", async () => {
    const model = await openModel(syntheticLlamaFile({ layers: 2 }));
    const taps = model.graph.map((node) => node.op.tap);
    expect(taps.length).toBe(3 + 2 * 17);
    expect(taps.slice(0, 4)).toEqual(["embed", "blk.0.attn_norm", "blk.0.q_proj", "blk.0.k_proj"]);
    expect(taps.slice(-2)).toEqual(["final_norm", "logits"]);
    const inputs = new Map(model.graph.map((node) => [node.op.tap, node.inputs]));
    expect(inputs.get("blk.1.attn_scores")).toEqual([
      { tap: "blk.1.q_rope", cached: false },
      { tap: "blk.1.k_rope", cached: true },
    ]);
    expect(inputs.get("blk.1.attn_norm")).toEqual([{ tap: "blk.0.output", cached: false }]);
    expect(model.graph.at(-1)?.op.weights).toEqual(["token_embd.weight"]);
  });

  it("reads biases and an own head where the file has them", async () => {
    const model = await openModel(syntheticLlamaFile({ biases: true, untied: true }));
    const weights = new Map(model.graph.map((node) => [node.op.tap, node.op.weights]));
    expect(weights.get("blk.0.q_proj")).toEqual(["blk.0.attn_q.weight", "blk.0.attn_q.bias"]);
    expect(weights.get("blk.0.ffn_up")).toEqual(["blk.0.ffn_up.weight"]);
    expect(weights.get("logits")).toEqual(["output.weight"]);
  });

  it("runs only the layers chosen", async () => {
    const model = await openModel(syntheticLlamaFile({ layers: 4 }), { layers: "1,3" });
    const layers = new Set(
      model.graph.map((node) => /^blk\.(\d)/.exec(node.op.tap)?.[1]).filter((layer) => layer !== undefined),
    );
    expect([...layers]).toEqual(["1", "3"]);
    expect(model.graph.find((node) => node.op.tap === "blk.3.attn_norm")?.inputs[0]?.tap).toBe("blk.1.output");
  });
});

describe("layer specifications", () => {
  it("name none, one, ranges and lists", () => {
    expect(parseLayers(undefined, 3)).toEqual([0, 1, 2]);
    expect(parseLayers("none", 3)).toEqual([]);
    expect(parseLayers("0-1,4, 4", 5)).toEqual([0, 1, 4]);
  });

  it.each(["3", "2-1", "a", "", "0-", "-1"])("refuse %j of three layers", (spec) => {
    expect(() => parseLayers(spec, 3)).toThrow(ModelError);
  });
});

describe("half precision", () => {
  it("rounding a half gives the half, and halfway cases go to even", () => {
    for (let bits = 0; bits < 0x7c00; bits++) expect(roundToHalf(halfToFloat(bits))).toBe(halfToFloat(bits));
    for (let bits = 0; bits < 0x7bff; bits++) {
      const [low, high] = [halfToFloat(bits), halfToFloat(bits + 1)];
      expect(roundToHalf((low + high) / 2)).toBe(bits % 2 === 0 ? low : high);
    }
    expect(roundToHalf(65519.99)).toBe(65504);
    expect(roundToHalf(65520)).toBe(Number.POSITIVE_INFINITY);
    expect(roundToHalf(-1e-30)).toBe(-0);
    expect(roundToHalf(1.9999)).toBe(2);
    expect(roundToHalf(0.49999)).toBe(0.5);
  });
});
