/**
 * "llama.cpp says 'Hello there!', mine says 'drew drew drew'" (docs/commands.md, `generate --against`): the first token that differs,
 * how near the choice was, and what repeats.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { compareTraces } from "../../src/compare/compare.ts";
import { generationFacts, repetitionOf } from "../../src/compare/generation.ts";
import { generatedSchema } from "../../src/report/generation.ts";
import { expectRefused, faultline } from "../support/cli.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";
import { recordOf, traceFrom } from "../support/traces.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const PROMPT = ["-p", "In the beginning God"];
const folder = mkdtempSync(join(tmpdir(), "faultline-generation-"));

function held(...options: string[]) {
  const { status, stdout, stderr } = faultline("generate", MODEL, "--json", "--quiet", ...options);
  expect(stdout, stderr).not.toBe("");
  return { status, ...generatedSchema.parse(JSON.parse(stdout)) };
}

function traced(name: string, ...options: string[]): string {
  const path = join(folder, `${name}.arrow`);
  const run = ["trace", MODEL, "--capture", "full", "--taps", "logits", "-o", path, "--quiet"];
  const { status, stderr } = faultline(...run, ...options);
  expect(status, stderr).toBe(0);
  return path;
}

describe("text beside a reference's", () => {
  it.each([["llamacpp"], ["onnx"]])("clean: the text of %s, every token first in rank on both sides", (name) => {
    const facts = held(...PROMPT, "-n", "8", "--against", name);
    expect([facts.status, facts.verdict, facts.first]).toEqual([0, "match", null]);
    expect(facts.actual.ids).toHaveLength(8);
    expect(facts.actual).toEqual(facts.expected);
    for (const { expected, actual } of facts.pairs) {
      expect([expected?.ranks, actual?.ranks]).toEqual([
        { expected: 1, actual: 1 },
        { expected: 1, actual: 1 },
      ]);
    }
  });

  it("faults that change the text: the first token that differs, its ranks, and a margin beyond rounding", () => {
    const faults = ["attn.scale-missing@blk.0.attn_scores", "kv.slot-plus-one@blk.1.attn_scores"];
    const facts = held(...PROMPT, "-n", "8", "--against", "onnx", ...faults.flatMap((each) => ["--fault", each]));
    expect([facts.status, facts.verdict]).toEqual([1, "divergent"]);
    const { first, margin, noise } = facts;
    expect(first?.same_context).toBe(true);
    expect([first?.expected?.ranks.expected, first?.actual?.ranks.actual]).toEqual([1, 1]);
    expect(first?.expected?.ranks.actual).toBeGreaterThan(1);
    expect(first?.actual?.ranks.expected).toBeGreaterThan(1);
    expect(margin).toBeCloseTo((first?.expected?.logits.expected ?? 0) - (first?.actual?.logits.expected ?? 0), 4);
    expect(margin).toBeGreaterThan(100 * (noise ?? Number.POSITIVE_INFINITY));
    // What stands behind it was read in another context: only its own side's logits speak of it.
    const behind = facts.pairs.filter(({ index }) => index > (first?.index ?? 0));
    expect(behind.every(({ expected }) => expected?.ranks.actual === null)).toBe(true);
    expect(facts.sentence).toContain(`the texts part at token ${first?.index}`);
  });

  it("NaN in the logits: what stands for a token is called no choice, and its repetition nobody's habit", () => {
    const facts = held(...PROMPT, "-n", "4", "--against", "onnx", "--fault", "memory.nan@blk.1.attn_out");
    expect([facts.status, facts.verdict]).toEqual([1, "divergent"]);
    expect(facts.sentence).toMatch(/the actual logits are NaN or Inf there, so what stands for a token is no choice/);
    expect(facts.sentence).not.toMatch(/margin|repeats/);
  });

  it("a fault that changes no token is found in the logits", () => {
    const facts = held(...PROMPT, "-n", "4", "--against", "onnx", "--fault", "kv.stale");
    expect(facts.expected.ids).toEqual(facts.actual.ids);
    expect([facts.status, facts.verdict]).toEqual([1, "divergent"]);
    expect(facts.sentence).toMatch(/^the same 4 tokens: .*; yet the logits differ beyond rounding from step 1 on/);
  });

  describe("two traces", () => {
    let clean = "";
    beforeAll(() => {
      clean = traced("clean", ...PROMPT, "-n", "7");
    });

    it("say the same", () => {
      const facts = held("--against", clean, "--actual", clean);
      expect([facts.status, facts.verdict, facts.actual.ids.length]).toEqual([0, "match", 8]);
      expect(held("--against", clean).verdict).toBe("match");
    });

    it("a text that repeats itself beside one that does not", () => {
      // Without attention in any layer the last token decides alone, and the text runs in a circle.
      const faults = [0, 1, 2, 3].flatMap((layer) => ["--fault", `residual.missing@blk.${layer}.attn_residual`]);
      const path = traced("repeats", ...PROMPT, "-n", "15", ...faults);
      const facts = held("--against", traced("long", ...PROMPT, "-n", "15"), "--actual", path);
      expect(facts.verdict).toBe("divergent");
      expect(facts.actual.repetition?.times).toBeGreaterThanOrEqual(3);
      expect(facts.sentence).toMatch(
        /the actual text repeats ".*" \d+ times from token \d+ on, the expected one does not/,
      );
    });

    it("bad input is refused in one line", () => {
      const other = traced("other", "--tokens", "1,2,3", "-n", "2");
      const bare = join(folder, "bare.arrow");
      faultline("trace", MODEL, ...PROMPT, "-n", "0", "--taps", "embed", "-o", bare, "--quiet");
      const stranger = join(folder, "stranger.arrow");
      const small = syntheticLlamaFile();
      faultline("trace", small, "--tokens", "1,2", "-n", "1", "--capture", "full", "-o", stranger, "--quiet");
      const shorter = traced("shorter", "-p", "In the beginning", "-n", "3");
      for (const [args, words] of [
        [["--against", clean, "--actual", other], /tokens differ from position 0 on/],
        [
          ["--against", clean, "--actual", shorter],
          /begins with 6 prompt tokens, .* with 5, and they differ from position 5 on/,
        ],
        [["--against", "onnx", "-p", "x", "--seed", "1"], /--seed 1: texts are held/],
        [["--against", "onnx", "-p", "x", "--top-k", "3"], /--top-k 3: texts are held/],
        [["--against", clean, "--actual", clean, "--fault", "rope.sign"], /was run already and no fault/],
        [["--against", "llamacpp", "-p", "x", "--layers", "0"], /--layers 0: llamacpp runs all layers/],
        [
          ["--against", bare, "--actual", bare],
          /bare\.arrow: has 6 prompt tokens, none after them and no values of logits/,
        ],
        [["--against", stranger, "--actual", stranger], /stranger\.arrow is of .* give the model that was run/],
        [["--against", clean, "-n", "3"], /says which tokens were run; leave out .* -n/],
        [["--against", "vllm", "-p", "x"], /vllm: no such reference; there are llamacpp, hf, onnx/],
        [["--against", join(folder, "none.arrow")], /none\.arrow/],
        [["--against", "onnx", "-p", "x", "--temperature", "1"], /--temperature 1: texts are held/],
        [["--actual", clean, "-p", "x"], /--actual goes with --against/],
        [["--against", "onnx", "-p", "x", "-n", "600"], /exceed the model's context of 512/],
      ] as const) {
        expectRefused(["generate", MODEL, ...args], words);
      }
    });
  });
});

describe("runs that are no run of this model's sampler", () => {
  const VOCAB = 8;
  /** Prompt 1, 2, then `follow`; each row's largest logit is the next token's, as far as nothing else is said. */
  const run = (follow: readonly number[], edit: (row: Float32Array, index: number) => void = () => {}) => {
    const steps = [[1, 2], ...follow.map((id) => [id])];
    const records = steps.map((tokens, step) => {
      const values = Float32Array.from({ length: tokens.length * VOCAB }, (_, i) => ((i * 5) % 7) / 7);
      const row = values.subarray(-VOCAB);
      row[[3, 4, 5][step] ?? 0] = 9;
      edit(row, step);
      const changes = { step, posStart: step === 0 ? 0 : step + 1 };
      return recordOf("logits", "token vocab", [tokens.length, VOCAB], values, changes);
    });
    return traceFrom(records, steps);
  };
  const facts = async (actual: ReturnType<typeof run>) => {
    const [theirs, ours] = [await run([3, 4]), await actual];
    return generationFacts(theirs, ours, await compareTraces(theirs, ours));
  };

  it("NaN among the logits is a finding, and no other choice of token", async () => {
    const clean = await facts(run([3, 4]));
    expect([clean.verdict, clean.actual]).toEqual(["match", [3, 4, 5]]);
    for (const id of [0, 7]) {
      const spoilt = await facts(run([3, 4], (row) => row.fill(Number.NaN, id, id + 1)));
      expect([spoilt.verdict, spoilt.actual, spoilt.isSampled]).toEqual(["divergent", [3, 4, 5], false]);
    }
  });

  it("a token that the logits do not have was not chosen by them", async () => {
    const { verdict, isSampled, first } = await facts(run([3, 5000]));
    expect([verdict, isSampled, first?.actual?.ranks.actual]).toEqual(["divergent", true, VOCAB + 1]);
  });
});

describe("repetition", () => {
  it("names the story's: drew drew drew", () => {
    expect(repetitionOf([15010, 15010, 15010, 5670, 19880])).toEqual({ index: 0, unit: [15010], times: 3 });
    expect(repetitionOf([1, 2, 3, 4])).toBeNull();
  });
  it("finds what was repeated, wherever it stands", () => {
    const distinct = fc.uniqueArray(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(distinct, fc.integer({ min: 3, max: 6 }), fc.nat(4), (unit, times, before) => {
        const head = Array.from({ length: before }, (_, i) => 1000 + i);
        const ids = [...head, ...Array.from({ length: times }, () => unit).flat(), 2000];
        expect(repetitionOf(ids)).toEqual({ index: before, unit, times });
      }),
    );
  });
});
