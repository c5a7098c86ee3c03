/** Real engines on real models: what each reference computes is what our engine computes, tap by tap. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { quantizeModel } from "../../references/llamacpp/dump.ts";
import { type ReferenceName, type ReferenceOptions, traceReference } from "../../src/cli/references.ts";
import { type Comparison, compareTraces } from "../../src/compare/compare.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import { readPrompt } from "../../src/run/prompt.ts";
import { traceModel } from "../../src/run/trace-model.ts";
import { Trace } from "../../src/trace/reader.ts";
import { smolLm2 } from "../support/cache.ts";

const root = join(import.meta.dirname, "../..");
const EMBEDDED = join(root, "models/faultline-tiny-f16.gguf");
const TEXT = "In the beginning God created the heaven and";
const folder = mkdtempSync(join(tmpdir(), "faultline-references-"));
const ENGINE = { device: "auto", dtype: "f32", kvCache: true } as const;
const OPTIONS: ReferenceOptions = { exact: true, weights: false, threads: 1 };
const ALL = ["*", "weight:*"];
let next = 0;

const file = () => join(folder, `${next++}.arrow`);

async function open(path: string): Promise<Trace> {
  const trace = await Trace.open(path);
  onTestFinished(() => trace.close());
  return trace;
}

/** A model's run, ours and a reference's, over the same tokens. */
class Run {
  readonly model: Model;
  readonly #common;
  #follow: readonly number[] = [];

  constructor(model: Model, prompt: { prompt: string } | { chat: string }, steps: number) {
    this.model = model;
    const read = readPrompt(model, prompt, steps);
    this.#common = { model, ...read, steps, capture: "full" as const, version: "test", quiet: true };
  }

  async ours(taps?: readonly string[]): Promise<Trace> {
    const output = file();
    const { generated } = await traceModel({ ...this.#common, output, engine: ENGINE, ...(taps ? { taps } : {}) });
    this.#follow = generated.slice(0, this.#common.steps);
    return open(output);
  }

  async reference(name: ReferenceName, options: Partial<ReferenceOptions> = {}): Promise<Trace> {
    const output = file();
    await traceReference(name, { ...this.#common, follow: this.#follow, output }, { ...OPTIONS, ...options });
    return open(output);
  }
}

/** Everything alike, and every record of the reference used. */
function expectMatch({ verdict, ops, totals, unmatched }: Comparison): void {
  const bad = ops
    .filter((op) => op.verdict !== "alike")
    .map((op) => `${op.tap} ${op.judgement.relL2} of ${op.judgement.allowed}`);
  expect(bad).toEqual([]);
  expect(verdict).toBe("match");
  expect(totals.refused).toBe(0);
  expect([...new Set(unmatched.map((left) => left.tap))].sort()).toEqual(["rope.cos", "rope.sin"]);
  expect(totals.expected).toBe(ops.length);
}

describe("the embedded model", () => {
  it("is what HuggingFace Transformers made of it, in the trace that comes with it", async () => {
    const ours = await new Run(await openModel(EMBEDDED), { prompt: TEXT }, 4).ours();
    expectMatch(await compareTraces(await open(join(root, "models/faultline-tiny-f16.hf.arrow")), ours));
  });

  for (const [name, options] of [
    ["llamacpp", {}],
    ["llamacpp", { exact: false }],
    ["hf", {}],
    ["onnx", {}],
  ] as const) {
    it(`matches ${name}${"exact" in options ? " as shipped" : ""}`, async () => {
      const run = new Run(await openModel(EMBEDDED), { prompt: TEXT }, 3);
      const ours = await run.ours();
      const comparison = await compareTraces(await run.reference(name, options), ours);
      expectMatch(comparison);
      const worst = Math.max(...comparison.ops.map((op) => op.judgement.relL2));
      if ("exact" in options)
        expect(worst).toBeGreaterThan(1e-5); // activations were halves
      else expect(worst).toBeLessThan(3e-6);
    });
  }
});

describe("every block type, quantised by llama.cpp", () => {
  for (const type of [
    "f32",
    "f16",
    "bf16",
    "q4_0",
    "q4_1",
    "q5_0",
    "q5_1",
    "q8_0",
    "q2_k",
    "q3_k",
    "q4_k",
    "q5_k",
    "q6_k",
    "iq4_nl",
  ]) {
    it(`${type}: weights to the bit, taps within rounding, and as shipped within its activations' rounding`, async () => {
      const path = join(folder, `${type}.gguf`);
      await quantizeModel(EMBEDDED, path, type);
      const run = new Run(await openModel(path), { prompt: TEXT }, 2);
      const ours = await run.ours(ALL);
      const comparison = await compareTraces(await run.reference("llamacpp", { weights: true }), ours);
      expectMatch(comparison);
      const weights = comparison.ops.filter((op) => op.tap.startsWith("weight:"));
      expect(weights.length).toBe(run.model.weights.size);
      expect(Math.max(...weights.map((op) => op.judgement.relL2))).toBe(0);
      expectMatch(await compareTraces(await run.reference("llamacpp", { exact: false }), await run.ours()));
    });
  }
});

describe("SmolLM2-135M Q4_1", () => {
  it("matches llama.cpp, HuggingFace Transformers and ONNX Runtime, and they one another", async () => {
    const run = new Run(await openModel(smolLm2()), { chat: "What is the capital of France, and why is it there?" }, 3);
    const ours = await run.ours();
    const references = {
      llamacpp: await run.reference("llamacpp"),
      hf: await run.reference("hf"),
      onnx: await run.reference("onnx"),
    };
    for (const reference of Object.values(references)) expectMatch(await compareTraces(reference, ours));
    const { hf, llamacpp, onnx } = references;
    for (const [e, a] of [
      [llamacpp, hf],
      [hf, onnx],
      [onnx, llamacpp],
    ] as const) {
      const { verdict, totals } = await compareTraces(e, a);
      expect([verdict, totals.unmatched, totals.refused]).toEqual(["match", 0, 0]);
    }
    // A second reference as the envelope is a much narrower budget, and still wide enough.
    expect((await compareTraces(llamacpp, ours, { envelope: hf })).verdict).toBe("match");
    const shipped = await run.reference("llamacpp", { exact: false });
    expect((await compareTraces(shipped, ours, { envelope: llamacpp })).verdict).toBe("match");
    expect((await compareTraces(shipped, ours)).verdict).toBe("match");
  });
});
