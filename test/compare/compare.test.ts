/** Whole comparisons: clean runs never diverge, whatever the evidence; what is not comparable is counted, not dropped. */
import { describe, expect, it } from "vitest";
import { compareTraces } from "../../src/compare/compare.ts";
import type { Model } from "../../src/model/model.ts";
import { OracleRunner } from "../../src/oracle/runner.ts";
import { TraceError } from "../../src/trace/errors.ts";
import { executorOf, runFull, someTokens, syntheticModel } from "../support/engine.ts";
import type { SyntheticLlama } from "../support/synthetic-llama.ts";
import { atLevel, recordOf, traceFrom, type Unnumbered } from "../support/traces.ts";

const FULL = { level: "full", wants: () => true } as const;

/** The oracle's records of these steps. */
async function oracleRecords(model: Model, steps: readonly (readonly number[])[]): Promise<Unnumbered[]> {
  const runner = new OracleRunner(model);
  const records: Unnumbered[] = [];
  let posStart = 0;
  for (const [number, tokens] of steps.entries()) {
    records.push(...(await runner.step(posStart, tokens, FULL)).records(number));
    posStart += tokens.length;
  }
  return records;
}

async function engineRecords(model: Model, steps: readonly (readonly number[])[]): Promise<Unnumbered[]> {
  return (await runFull(await executorOf(model), steps)).flatMap((step) => [...step.records]);
}

const STEPS = [someTokens(11), [5], [77]];
const MODELS: Readonly<Record<string, SyntheticLlama>> = {
  plain: {},
  "biases, untied head": { biases: true, untied: true, seed: 2 },
  "one KV head, odd sizes": { heads: 3, kvHeads: 1, embd: 48, ffn: 80, seed: 3 },
  "quantised, eight layers": { type: "Q4_0", layers: 8, seed: 4 },
  // Scores of RMS 100: what a softmax makes of their rounding is many times theirs, and attn_out and all after it have it too.
  "peaky attention, twelve layers": { layers: 12, seed: 14, scales: { attn_q: 10, attn_k: 10 } },
  "numbers below what f32 holds": { seed: 23, scales: { norm: 1e-20 } },
};

describe("clean runs", () => {
  for (const [name, options] of Object.entries(MODELS)) {
    it(`match at every level: ${name}`, async () => {
      const model = await syntheticModel(options);
      const [expected, actual] = [await oracleRecords(model, STEPS), await engineRecords(model, STEPS)];
      for (const level of ["full", "sketch", "stats"] as const) {
        const comparison = await compareTraces(
          await traceFrom(atLevel(expected, level), STEPS),
          await traceFrom(atLevel(actual, level === "stats" ? "full" : level), STEPS),
        );
        const worst = comparison.ops.filter((op) => op.verdict !== "alike");
        expect(worst.map((op) => `${op.tap} ${op.judgement.relL2} of ${op.judgement.allowed}`)).toEqual([]);
        expect(comparison.verdict).toBe("match");
        expect(comparison.totals).toMatchObject({ matched: expected.length, unmatched: 0, refused: 0 });
        expect(
          comparison.ops.every(
            (op) =>
              op.evidence === (level === "full" ? "values" : level === "stats" ? "statistics" : "sketch") ||
              op.evidence === "hash",
          ),
        ).toBe(true);
      }
    });
  }

  it("match in f16 where its numbers become too small for full precision", async () => {
    const model = await syntheticModel({ seed: 22, scales: { norm: 1e-4 } });
    const executor = await executorOf(model, { dtype: "f16" });
    const half = (await runFull(executor, STEPS)).flatMap((step) => [...step.records]);
    const { verdict, ops } = await compareTraces(
      await traceFrom(await oracleRecords(model, STEPS), STEPS),
      await traceFrom(half, STEPS),
    );
    expect(ops.filter((op) => op.verdict !== "alike").map((op) => op.tap)).toEqual([]);
    expect(verdict).toBe("match");
  });

  it("match when one side ran the prompt token by token", async () => {
    const model = await syntheticModel();
    const single = STEPS.flat().map((id) => [id]);
    const [expected, actual] = [await oracleRecords(model, STEPS), await engineRecords(model, single)];
    for (const [e, eSteps, a, aSteps] of [
      [expected, STEPS, actual, single],
      [actual, single, expected, STEPS],
    ] as const) {
      for (const level of ["full", "sketch"] as const) {
        const comparison = await compareTraces(
          await traceFrom(atLevel(e, level), eSteps),
          await traceFrom(atLevel(a, level), aSteps),
        );
        expect(comparison.verdict).toBe("match");
        expect(comparison.totals).toMatchObject({ matched: a.length, unmatched: 0, refused: 0 });
      }
    }
  });
});

const taps = (names: readonly string[], scale = 1, change: (values: Float32Array, tap: string) => void = () => {}) =>
  names.map((tap) => {
    const values = Float32Array.from({ length: 32 }, (_, i) => scale * Math.sin(i + tap.length));
    change(values, tap);
    return recordOf(tap, "token embd", [4, 8], values, { op: "add" });
  });
const TOKENS = [[1, 2, 3, 4]];
const compare = async (e: readonly Unnumbered[], a: readonly Unnumbered[], eTokens = TOKENS, aTokens = TOKENS) =>
  compareTraces(await traceFrom(e, eTokens), await traceFrom(a, aTokens));

describe("what is not finite", () => {
  const names = ["embed", "blk.0.attn_norm"];
  const nan = (values: Float32Array, tap: string) => {
    if (tap !== "embed") values[9] = Number.NaN;
  };

  it("diverges where one side has it", async () => {
    const { verdict, ops } = await compare(taps(names), taps(names, 1, nan));
    const origin = ops.find((op) => op.isOrigin);
    expect([verdict, origin?.tap, origin?.verdict]).toEqual(["divergent", "blk.0.attn_norm", "non-finite"]);
    expect(origin?.nonFinite).toMatchObject({ differing: 1, same: 0, first: { token: 1, column: 1 } });
  });

  it("is a finding, never a match, where both sides have it", async () => {
    for (const level of ["full", "sketch", "stats"] as const) {
      const side = atLevel(taps(names, 1, nan), level);
      const { verdict, ops } = await compare(side, side);
      expect([verdict, ops.map((op) => op.verdict)]).toEqual(["divergent", ["alike", "non-finite"]]);
      expect(ops[1]?.nonFinite).toMatchObject({ differing: 0, same: 1 });
    }
  });
});

describe("what does not belong together", () => {
  it("is counted on both sides with its reason", async () => {
    const { verdict, totals, unmatched } = await compare(taps(["embed", "logits"]), taps(["embed", "final_norm"]));
    expect(verdict).toBe("match");
    expect(totals).toEqual({ expected: 2, actual: 2, matched: 1, unmatched: 2, refused: 0 });
    expect(unmatched.map(({ side, tap, reason }) => `${side} ${tap}: ${reason}`).sort()).toEqual([
      "actual final_norm: the expected trace has no such tap",
      "expected logits: the actual trace has no such tap",
    ]);
  });

  it("is refused where shapes differ, and that is no match", async () => {
    const other = recordOf("logits", "token vocab", [4, 9], new Float32Array(36));
    const { verdict, totals, refused } = await compare(
      [...taps(["embed"]), recordOf("logits", "token vocab", [4, 8], new Float32Array(32))],
      [...taps(["embed"]), other],
    );
    expect([verdict, totals.refused]).toEqual(["divergent", 2]);
    expect(refused[0]?.reason).toContain("[4, 8]");
  });

  it("is an error where nothing is left: no common taps, other prompts, other models", async () => {
    await expect(compare(taps(["embed"]), taps(["logits"]))).rejects.toThrow(/none of 1 and 1 records/);
    await expect(compare(taps(["embed"]), taps(["embed"]), TOKENS, [[9, 8, 7, 6]])).rejects.toThrow(
      /tokens differ from position 0/,
    );
    const [small, large] = [{ hyperParameters: { embd: 256 } }, { hyperParameters: { embd: 576 } }];
    const different = compareTraces(
      await traceFrom(taps(["embed"]), TOKENS, small),
      await traceFrom(taps(["embed"]), TOKENS, large),
    );
    await expect(different).rejects.toThrow(TraceError);
    await expect(different).rejects.toThrow(/embd 256.*embd 576/);
  });
});

describe("an extra token", () => {
  it("is the headline, and rows after it are not judged", async () => {
    const shifted = (values: Float32Array) =>
      Float32Array.from({ length: 40 }, (_, i) => (i < 8 ? 1 : (values[i - 8] ?? 0)));
    const [embed] = taps(["embed"]);
    if (embed?.values == null) throw new Error("no values");
    const actual = recordOf("embed", "token embd", [5, 8], shifted(embed.values), { op: "embed" });
    const { verdict, tokens, ops } = await compare([embed], [actual], TOKENS, [[0, ...TOKENS.flat()]]);
    expect([verdict, tokens.shift, ops[0]?.verdict, ops[0]?.judgement.relL2]).toEqual([
      "divergent",
      1,
      "other-context",
      0,
    ]);
  });
});

describe("an envelope", () => {
  it("takes the place of the budget: less than natural passes, more does not", async () => {
    const names = ["embed", "blk.0.attn_norm"];
    const noisy = (size: number) =>
      taps(names, 1, (values, tap) => {
        if (tap !== "embed") values.set(values.map((x, i) => x * (1 + size * Math.cos(7 * i))));
      });
    const [expected, natural] = [await traceFrom(taps(names), TOKENS), await traceFrom(noisy(1e-3), TOKENS)];
    const verdictOf = async (size: number, envelope: boolean) =>
      (await compareTraces(expected, await traceFrom(noisy(size), TOKENS), envelope ? { envelope: natural } : {}))
        .verdict;
    expect(await verdictOf(-2e-3, false)).toBe("divergent");
    expect(await verdictOf(-2e-3, true)).toBe("match");
    expect(await verdictOf(2e-2, true)).toBe("divergent");
  });

  it("changes nothing of what is said of logits", async () => {
    const names = ["embed", "logits"];
    const scaled = (by: number) =>
      taps(names, 1, (values) => values.set(values.map((x, i) => x * (1 + by * Math.cos(i)))));
    const [expected, actual] = [await traceFrom(taps(names), TOKENS), await traceFrom(scaled(1e-3), TOKENS)];
    const [without, within] = [
      await compareTraces(expected, actual),
      await compareTraces(expected, actual, { envelope: await traceFrom(scaled(-0.5), TOKENS) }),
    ];
    const { meanKl = 0, sameTop = 0 } = without.logits ?? {};
    expect(meanKl).toBeGreaterThan(0);
    expect(within.logits).toMatchObject({ meanKl, sameTop });
  });
});
