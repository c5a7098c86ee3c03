/** Origins follow edges: an input that was not compared is looked through, a cache reaches back, weights feed their ops. */
import { describe, expect, it } from "vitest";
import { edgesOf, originsOf } from "../../src/compare/origins.ts";
import { graphOfArchitecture } from "../../src/model/model.ts";

const graph = graphOfArchitecture("llama", 2) ?? [];
const edges = edgesOf(graph);
const taps = graph.map((node) => node.op.tap);
const all = (steps: readonly number[]) => new Set(steps.flatMap((step) => taps.map((tap) => `${step} ${tap}`)));
const origins = (divergent: readonly string[], compared = all([0, 1]), steps = [0, 1]) => [
  ...originsOf(new Set(divergent), compared, edges, steps),
];
const from = (tap: string, step = 0) => taps.slice(taps.indexOf(tap)).map((each) => `${step} ${each}`);

describe("originsOf", () => {
  it("names the op whose inputs agree, whatever the order of what follows", () => {
    expect(origins([...from("blk.1.ffn_up")].reverse())).toEqual(["0 blk.1.ffn_up"]);
  });

  it("names several independent origins", () => {
    expect(origins(["0 blk.0.q_rope", "0 blk.0.v_proj", "0 blk.0.attn_scores", "0 blk.0.attn_ctx"]).sort()).toEqual([
      "0 blk.0.q_rope",
      "0 blk.0.v_proj",
    ]);
  });

  it("follows the cache to earlier steps", () => {
    expect(origins(["0 blk.0.k_rope", "1 blk.0.attn_scores"])).toEqual(["0 blk.0.k_rope"]);
    expect(origins(["1 blk.0.attn_scores"])).toEqual(["1 blk.0.attn_scores"]);
  });

  it("looks through inputs that were not compared", () => {
    const compared = new Set(["0 blk.0.attn_norm", "0 blk.0.attn_ctx", "0 blk.0.output", "0 logits"]);
    expect(origins(["0 blk.0.output", "0 logits"], compared, [0])).toEqual(["0 blk.0.output"]);
    const few = new Set(["0 blk.0.attn_norm", "0 logits"]);
    expect(origins([...few], few, [0])).toEqual(["0 blk.0.attn_norm"]);
  });

  it("puts a wrong weight before the op that reads it, and wrong tables before rotations", () => {
    const compared = new Set([...all([0]), "0 weight:blk.0.attn_q.weight", "0 rope.cos"]);
    const divergent = ["0 weight:blk.0.attn_q.weight", "0 blk.0.q_proj", "0 rope.cos", "0 blk.0.k_rope"];
    expect(origins(divergent, compared, [0]).sort()).toEqual(["0 rope.cos", "0 weight:blk.0.attn_q.weight"]);
  });
});
