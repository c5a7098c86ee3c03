/** The real model: sense, and the error of every op against the oracle. */
import { describe, expect, it } from "vitest";
import { argmax, createSampler, GREEDY } from "../../src/engine/sampler.ts";
import { runSteps } from "../../src/engine/steps.ts";
import { readGgufMetadata } from "../../src/model/gguf-metadata.ts";
import { openModel } from "../../src/model/model.ts";
import { tokenizerFromMetadata } from "../../src/model/tokenizer.ts";
import { smolLm2 } from "../support/cache.ts";
import { executorOf, runFull } from "../support/engine.ts";
import { recompute, relativeL2 } from "../support/recompute.ts";

describe("SmolLM2-135M Q4_1", () => {
  it("knows the capital of France, with the KV cache and without", async () => {
    const model = await openModel(smolLm2());
    const tokenizer = tokenizerFromMetadata(readGgufMetadata(smolLm2()));
    const executor = await executorOf(model);
    const prompt = tokenizer.encode("The capital of France is");
    const generate = async (kvCache: boolean) => {
      const tokens: number[] = [];
      const plan = { prompt, steps: 3, kvCache, sample: createSampler(GREEDY), stop: tokenizer.eogIds };
      for await (const { next } of runSteps(executor, plan)) tokens.push(next);
      return tokens;
    };
    const tokens = await generate(true);
    expect(tokenizer.decode(tokens)).toContain("Paris");
    expect(await generate(false)).toEqual(tokens);
  });

  it("every op is within 1e-6 of the oracle on its own inputs, prefill and decode", async () => {
    const model = await openModel(smolLm2());
    const executor = await executorOf(model);
    const [first] = await runFull(executor, [[504, 3575, 282, 4649]]);
    const run = await runFull(executor, [[504, 3575, 282, 4649], [argmax(first?.logits ?? [])]]);
    let worst = 0;
    for (const { node, expected, actual } of recompute(model, run)) {
      const error = relativeL2(expected, actual);
      expect(error, node.op.tap).toBeLessThanOrEqual(1e-6);
      worst = Math.max(worst, error);
    }
    expect(worst).toBeGreaterThan(1e-8); // f32 was really used
  });
});
