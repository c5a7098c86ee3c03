/**
 * Every kernel against the f64 oracle, fed with the kernel's own inputs, over shapes that are no multiples of anything: blocks
 * of 32, tiles of 4 rows and tokens, workgroups of 8. Budgets are derived in docs/numerics.md.
 */
import { describe, expect, it } from "vitest";
import type { Model } from "../../src/model/model.ts";
import type { Op, OpKind } from "../../src/model/ops.ts";
import { executorOf, runFull, someTokens, syntheticModel } from "../support/engine.ts";
import { recompute, relativeL2 } from "../support/recompute.ts";
import type { SyntheticLlama } from "../support/synthetic-llama.ts";

const U = 2 ** -24;
/** Roundings that a term of a sum of K products meets: product, lane, tree, blocks. */
const roundings = (terms: number) => 11 + Math.ceil(terms / 32);

/** Largest relative L2 error of an op in f32; `terms`: the length of its sums. Derived in docs/numerics.md. */
const BUDGET: Readonly<Record<OpKind, (terms: number) => number>> = {
  embed: () => 0,
  add: () => U,
  rope: () => 3 * U,
  rms_norm: (terms) => (Math.sqrt(roundings(terms)) / 2 + 6) * U,
  linear: (terms) => (Math.sqrt(roundings(terms)) + 2) * U,
  attn_scores: (terms) => (Math.sqrt(roundings(terms)) + 2) * U,
  attn_ctx: (terms) => (Math.sqrt(roundings(terms)) + 2) * U,
  causal_softmax: () => 16 * U,
  swiglu: () => 8 * U,
};

/** The length of an op's sums: a row of its first input, for scores a head. */
function termsOf(model: Model, op: Op): number {
  const { embd, ffn, headDim, heads, context } = model.parameters;
  if (op.kind === "attn_scores") return headDim;
  if (op.kind === "attn_ctx") return context;
  if (op.tap.endsWith("ffn_down")) return ffn;
  return op.tap.endsWith("attn_out") ? heads * headDim : embd;
}

const budget = (model: Model, op: Op) => BUDGET[op.kind](termsOf(model, op));

const SHAPES: readonly [name: string, model: SyntheticLlama, steps: readonly number[]][] = [
  ["round sizes", {}, [32, 1, 1]],
  ["no multiple of a block or a tile", { embd: 66, heads: 3, kvHeads: 1, headDim: 22, ffn: 37, vocab: 259 }, [5, 1, 3]],
  ["rows of one element, one column, one head", { embd: 2, heads: 1, kvHeads: 1, ffn: 1, vocab: 257 }, [1, 2]],
  ["head size beside embd / heads", { embd: 40, heads: 4, kvHeads: 4, headDim: 34, ffn: 50 }, [9, 1]],
  [
    "biases, an untied head, divided frequencies",
    { biases: true, untied: true, ropeFactors: new Float32Array(8).fill(1.5) },
    [7, 1],
  ],
  ["more keys than a block of the softmax", { context: 128 }, [33, 31]],
  ["the shapes of SmolLM2-135M", { embd: 576, heads: 9, kvHeads: 3, ffn: 1536, vocab: 1000, layers: 1 }, [13, 1]],
  ["long rows: more blocks than are held at a time", { embd: 2080, heads: 4, kvHeads: 1, ffn: 4100, layers: 1 }, [2]],
];

describe("kernels agree with the oracle on their own inputs", () => {
  it.each(SHAPES)("%s", async (_name, shape, steps) => {
    const model = await syntheticModel(shape);
    const executor = await executorOf(model);
    const tokens = someTokens(
      steps.reduce((sum, count) => sum + count, 0),
      250,
    );
    const lists = steps.map((count, i) =>
      tokens.slice(steps.slice(0, i).reduce((sum, each) => sum + each, 0)).slice(0, count),
    );
    const run = await runFull(executor, lists);
    let compared = 0;
    for (const { step, node, expected, actual } of recompute(model, run)) {
      const error = relativeL2(expected, actual);
      expect(error, `step ${step} ${node.op.tap}`).toBeLessThanOrEqual(budget(model, node.op));
      compared++;
    }
    expect(compared).toBe(model.graph.length * steps.length);
  });
});

describe("every block type runs in the kernels", () => {
  const types = [
    "F16",
    "BF16",
    "Q4_0",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "IQ4_NL",
  ];
  it.each(types)("%s", async (type) => {
    const model = await syntheticModel({ embd: 256, heads: 4, kvHeads: 2, ffn: 512, layers: 1, vocab: 258, type });
    const run = await runFull(await executorOf(model), [someTokens(6), someTokens(1)]);
    for (const { node, expected, actual } of recompute(model, run)) {
      expect(relativeL2(expected, actual), node.op.tap).toBeLessThanOrEqual(budget(model, node.op));
    }
  });

  it.each(["F16", "BF16"])("%s rows of an odd length", async (type) => {
    const model = await syntheticModel({ embd: 66, heads: 3, kvHeads: 3, headDim: 22, ffn: 37, type });
    const run = await runFull(await executorOf(model), [someTokens(3)]);
    for (const { node, expected, actual } of recompute(model, run)) {
      expect(relativeL2(expected, actual), node.op.tap).toBeLessThanOrEqual(budget(model, node.op));
    }
  });
});
