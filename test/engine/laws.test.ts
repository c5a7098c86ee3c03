/** What must hold bit for bit: no observer effect, determinism, batch invariance, slices, widths. */
import { describe, expect, it } from "vitest";
import type { Executor } from "../../src/engine/executor.ts";
import { hashOf } from "../../src/trace/sketch.ts";
import { executorOf, FULL, runFull, someTokens, syntheticModel } from "../support/engine.ts";

const TOKENS = someTokens(19);

function hashes(steps: Awaited<ReturnType<typeof runFull>>): string[] {
  return steps.flatMap((step) => step.records.map((record) => `${record.tap} ${record.hash.toString(16)}`));
}

/** Rows of a tap over steps, for taps whose rows are tokens. */
function tokenRows(steps: Awaited<ReturnType<typeof runFull>>, tap: string): number[] {
  return steps.flatMap((step) => [...(step.values.get(tap) ?? [])]);
}

async function logitsOf(executor: Executor, level: "none" | "stats" | "sketch" | "full"): Promise<number[]> {
  const recording = level === "none" ? undefined : { ...FULL, level };
  const prefill = await executor.step(0, TOKENS, recording);
  const decode = await executor.step(TOKENS.length, [7], recording);
  return [...Array.from(prefill.logits), ...Array.from(decode.logits)];
}

describe("bits", () => {
  it("logits are the same untraced and at every capture level", async () => {
    const executor = await executorOf(await syntheticModel({ type: "Q4_0", embd: 64, ffn: 96 }));
    const untraced = await logitsOf(executor, "none");
    for (const level of ["stats", "sketch", "full"] as const) expect(await logitsOf(executor, level)).toEqual(untraced);
  });

  it("two runs give the same bits in every tap", async () => {
    const model = await syntheticModel();
    const first = hashes(await runFull(await executorOf(model), [TOKENS, [5], [6]]));
    const second = hashes(await runFull(await executorOf(model), [TOKENS, [5], [6]]));
    expect(second).toEqual(first);
  });

  it("a prefill gives the bits of the same tokens one by one", async () => {
    const model = await syntheticModel({ type: "Q4_1", embd: 64, ffn: 96 });
    const together = await runFull(await executorOf(model), [TOKENS]);
    const alone = await runFull(
      await executorOf(model),
      TOKENS.map((token) => [token]),
    );
    for (const { op } of model.graph) {
      if (!op.dims.startsWith("token")) continue;
      expect(tokenRows(alone, op.tap), op.tap).toEqual(tokenRows(together, op.tap));
    }
  });

  it("a step cut into passes gives the records of the whole step", async () => {
    const model = await syntheticModel();
    const whole = await runFull(await executorOf(model), [TOKENS, [3]]);
    const cut = await runFull(await executorOf(model, { maxTokens: 4 }), [TOKENS, [3]]);
    expect(hashes(cut)).toEqual(hashes(whole));
    for (const [i, step] of whole.entries()) {
      for (const [j, record] of step.records.entries()) {
        expect(cut[i]?.records[j]?.statistics, record.tap).toEqual(record.statistics);
        expect(cut[i]?.records[j]?.sketch, record.tap).toEqual(record.sketch);
        expect(cut[i]?.records[j]?.values, record.tap).toEqual(record.values);
      }
    }
  });

  it("a layer a segment and a segment a submission give the records of one submission", async () => {
    const model = await syntheticModel({ layers: 5 });
    const whole = hashes(await runFull(await executorOf(model), [TOKENS, [3]]));
    const cut = await runFull(await executorOf(model, { leastHalfBytes: 1, haulBytes: 1 }), [TOKENS, [3]]);
    expect(hashes(cut)).toEqual(whole);
    for (const step of cut) {
      for (const record of step.records)
        expect(hashOf(record.values ?? new Float32Array(0)), record.tap).toBe(record.hash);
    }
  });

  it("steps of ever new lengths, as without a KV cache, give the bits of cached decoding", async () => {
    const model = await syntheticModel();
    const cached = await runFull(await executorOf(model), [[1], [2], [3], [4], [5], [6]]);
    const executor = await executorOf(model);
    for (let length = 1; length <= 6; length++) {
      const { logits } = await executor.step(0, [1, 2, 3, 4, 5, 6].slice(0, length));
      expect([...logits]).toEqual(Array.from(cached[length - 1]?.logits ?? []));
    }
  });

  it("bits do not depend on the width of workgroups", async () => {
    const model = await syntheticModel({ embd: 96, heads: 3, kvHeads: 3, ffn: 130 });
    const narrow = hashes(await runFull(await executorOf(model, { width: 8 }), [TOKENS, [5]]));
    for (const width of [16, 64]) {
      expect(hashes(await runFull(await executorOf(model, { width }), [TOKENS, [5]])), `width ${width}`).toEqual(
        narrow,
      );
    }
  });

  it("a matrix cut into slices of rows gives the same bits", async () => {
    const model = await syntheticModel({ type: "Q8_0", embd: 64, ffn: 96 });
    const whole = hashes(await runFull(await executorOf(model), [TOKENS]));
    const sliced = hashes(await runFull(await executorOf(model, { bindingLimit: 1024 }), [TOKENS]));
    expect(sliced).toEqual(whole);
  });

  it("starting again at position 0 forgets the cache", async () => {
    const executor = await executorOf(await syntheticModel());
    const [first] = await runFull(executor, [TOKENS]);
    await runFull(executor, [someTokens(30)]);
    const [again] = await runFull(executor, [TOKENS]);
    expect(hashes(again ? [again] : [])).toEqual(hashes(first ? [first] : []));
  });
});
