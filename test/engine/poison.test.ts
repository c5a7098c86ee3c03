/** Poison: it reaches what kernels write, in every pass before they write it, and nothing that is computed depends on it. */
import { describe, expect, it } from "vitest";
import { Executor, type ExecutorOptions } from "../../src/engine/executor.ts";
import { parseFaults } from "../../src/engine/faults/parse.ts";
import { POISONS } from "../../src/engine/poison.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { type RunStep, runFull, someTokens, syntheticModel, testGpu } from "../support/engine.ts";
import { SETTINGS } from "../support/faults.ts";

const STEPS = [someTokens(19), [7], [9]];
const CAPACITY = 32;

const hashes = (steps: readonly RunStep[]) =>
  steps.flatMap(({ records }) => records.map(({ tap, hash }) => `${tap} ${hash}`));
const bits = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);

async function executorWith(
  fault: string | undefined,
  options: Partial<ExecutorOptions> = {},
  vocab = 260,
): Promise<Executor> {
  const model = await syntheticModel({ layers: 4, vocab });
  const weights = await GpuWeights.load(await testGpu(), model.file, model.weights.keys());
  const faults = fault === undefined ? [] : parseFaults([fault], model, SETTINGS);
  return new Executor(await testGpu(), model, weights, { capacity: CAPACITY, faults, ...options });
}

const SHAPES: readonly [name: string, options: Partial<ExecutorOptions>][] = [
  ["one submission", {}],
  ["a layer a segment, a segment a submission", { leastHalfBytes: 1, haulBytes: 1 }],
  ["passes of 4 tokens", { maxTokens: 4 }],
  ["outputs stored as halves", { dtype: "f16" }],
];

describe("no bit of a clean run depends on what memory held", () => {
  it.each(SHAPES)("%s", async (_name, options) => {
    const executor = await executorWith(undefined, options);
    const natural = hashes(await runFull(executor, STEPS));
    for (const pattern of POISONS) {
      await executor.poison(pattern);
      expect(hashes(await runFull(executor, STEPS)), pattern).toEqual(natural);
    }
    await executor.poison(null);
    expect(hashes(await runFull(executor, STEPS))).toEqual(natural);
  });
});

describe("what an op leaves unwritten holds the poison, in every step", () => {
  // The last layer, so that with a layer a segment its memory was another layer's in the same pass.
  const tap = "blk.3.attn_out";
  it.each(SHAPES)("%s", async (_name, options) => {
    const executor = await executorWith(`memory.uninitialised@${tap}`, options);
    await runFull(executor, STEPS);
    await executor.poison("nan");
    for (const { values } of await runFull(executor, STEPS)) {
      expect(new Set(bits(values.get(tap) ?? new Float32Array(0)))).toEqual(new Set([0x7fc00000]));
    }
    await executor.poison("noise");
    for (const { values } of await runFull(executor, STEPS)) {
      const noise = Array.from(values.get(tap) ?? [], Math.abs);
      // Passes of a step may lie in one place, and so hold one pattern.
      expect(new Set(noise).size).toBeGreaterThan(noise.length / 8);
      expect(noise.every((value) => value >= 2 ** -8 && value <= 2 ** 8)).toBe(true);
    }
  });
});

it("tensors of more words than one dimension of a grid can fill", async () => {
  const vocab = 30_000;
  const executor = await executorWith("memory.uninitialised@logits", { width: 8 }, vocab);
  await runFull(executor, STEPS);
  await executor.poison("nan");
  const [prefill] = await runFull(executor, STEPS);
  const logits = prefill?.values.get("logits") ?? new Float32Array(0);
  expect(logits.length).toBeGreaterThan(8 * 65535);
  expect(logits.every(Number.isNaN)).toBe(true);
});

it("rows of the cache beyond the sequence hold the poison", async () => {
  const executor = await executorWith("kv.slot-plus-one@blk.3.attn_scores");
  await runFull(executor, STEPS);
  await executor.poison("nan");
  const [, decode] = await runFull(executor, STEPS);
  const scores = decode?.values.get("blk.3.attn_scores") ?? new Float32Array(0);
  const keys = 20;
  expect(scores.length % keys).toBe(0);
  // The first decode step's own slot was left out by the store; all other keys are as they were stored.
  scores.forEach((score, i) => {
    expect(Number.isNaN(score), `key ${i % keys}`).toBe(i % keys === keys - 1);
  });
});
