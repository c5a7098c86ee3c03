/**
 * ONNX Runtime against the f64 oracle: every op on its own inputs, and whole runs; the laws that a runner must keep; and that a
 * difference would be seen.
 */
import { afterAll, describe, expect, it } from "vitest";
import { OnnxRunner, onnxRuntimeVersion } from "../../references/onnx/runner.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import type { OpKind } from "../../src/model/ops.ts";
import { Oracle } from "../../src/oracle/oracle.ts";
import { OracleRunner } from "../../src/oracle/runner.ts";
import type { Recording } from "../../src/trace/capture.ts";
import { someTokens } from "../support/engine.ts";
import { f32, f32Tensor, text, u32, writeGguf } from "../support/gguf-builder.ts";
import { recompute, relativeL2, type StepValues } from "../support/recompute.ts";
import { type SyntheticLlama, syntheticLlama, syntheticLlamaFile } from "../support/synthetic-llama.ts";

const U = 2 ** -24;

/**
 * Largest relative L2 error of an op on its own inputs. The library does not say in which order it adds, so the sum of K products
 * is taken at its longest chain, K roundings of random sign: sqrt(K) u (docs/numerics.md has the argument for a known order).
 */
const OWN: Readonly<Record<OpKind, (terms: number) => number>> = {
  embed: () => 0,
  add: () => U,
  rope: () => 3 * U,
  rms_norm: (terms) => (Math.sqrt(terms) / 2 + 6) * U,
  linear: (terms) => (Math.sqrt(terms) + 2) * U,
  attn_scores: (terms) => (Math.sqrt(terms) + 2) * U,
  attn_ctx: (terms) => (Math.sqrt(terms) + 2) * U,
  causal_softmax: () => 16 * U,
  swiglu: () => 8 * U,
};

/**
 * Largest relative L2 error of a tap of a whole run, 1.9e-6. Not derived: how much a network grows an error depends on its weights.
 * On these models with weights of variance 1/K an op passes on about the relative error that it receives; 20 ops a layer each add
 * at most some 3 u of their own (measured), as roots of sums: sqrt(2 * 20) * 3 u = 19 u over two layers. 32 u leaves room for other CPUs.
 */
const RUN = 32 * U;

const FULL: Recording = { level: "full", wants: () => true };
const STEPS = [someTokens(11), [7], [200], [3, 4, 5]];

const open: { close(): void | Promise<void> }[] = [];
afterAll(async () => {
  for (const each of open.reverse()) await each.close();
});

async function synthetic(options: SyntheticLlama = {}): Promise<Model> {
  const model = await openModel(syntheticLlamaFile(options));
  open.push(model.file);
  return model;
}

async function runnerOf(model: Model): Promise<OnnxRunner> {
  const runner = await OnnxRunner.create(model);
  open.push(runner);
  return runner;
}

/** Runs token lists as consecutive steps, everything recorded. */
async function run(runner: Pick<OnnxRunner, "step">, steps: readonly (readonly number[])[]): Promise<StepValues[]> {
  const done: StepValues[] = [];
  let posStart = 0;
  for (const [number, tokens] of steps.entries()) {
    const { records } = await runner.step(posStart, tokens, FULL);
    const values = new Map([...records(number)].map(({ tap, values }) => [tap, values ?? new Float32Array(0)]));
    done.push({ posStart, tokens, values });
    posStart += tokens.length;
  }
  return done;
}

/** Relative L2 error of every tap of every step against the oracle's own run, in execution order. */
function errorsOfRun(model: Model, steps: readonly StepValues[]): { tap: string; step: number; error: number }[] {
  const oracle = new Oracle(model);
  const errors: { tap: string; step: number; error: number }[] = [];
  for (const [step, { posStart, tokens, values }] of steps.entries()) {
    oracle.step(posStart, tokens, ({ tap }, { data }) => {
      errors.push({ tap, step, error: relativeL2(data, values.get(tap) ?? []) });
    });
  }
  return errors;
}

const rope = (type: string, more: SyntheticLlama["metadata"] = {}): SyntheticLlama => ({
  metadata: { "llama.rope.scaling.type": text(type), "llama.rope.scaling.factor": f32(4), ...more },
});

const MODELS: readonly [name: string, model: SyntheticLlama][] = [
  ["two heads a KV head", {}],
  ["a KV head a head", { kvHeads: 4 }],
  ["one KV head, sizes that are no multiples", { embd: 66, heads: 3, kvHeads: 1, headDim: 22, ffn: 37, vocab: 259 }],
  ["biases, an untied head", { biases: true, untied: true }],
  ["head size beside embd / heads", { embd: 40, heads: 4, headDim: 34, ffn: 50 }],
  ["quantised weights", { type: "Q4_0", embd: 64, ffn: 96 }],
  ["linear rope scaling", rope("linear")],
  ["yarn", rope("yarn", { "llama.rope.scaling.original_context_length": u32(32) })],
  ["divided frequencies (llama3)", { ropeFactors: Float32Array.from({ length: 8 }, (_, i) => 1 + i) }],
];

describe("ONNX Runtime", () => {
  it.each(MODELS)("agrees with the oracle: %s", async (_name, options) => {
    const model = await synthetic(options);
    const steps = await run(await runnerOf(model), STEPS);
    const { embd, ffn, headDim, heads, context } = model.parameters;
    const terms: Readonly<Record<string, number>> = { attn_scores: headDim, attn_ctx: context };
    let compared = 0;
    for (const { step, node, expected, actual } of recompute(model, steps)) {
      const { kind, tap } = node.op;
      const bound = OWN[kind](terms[kind] ?? (tap.endsWith("ffn_down") ? ffn : Math.max(embd, heads * headDim)));
      expect(relativeL2(expected, actual), `own error of ${tap}, step ${step}`).toBeLessThanOrEqual(bound);
      compared++;
    }
    expect(compared).toBe(model.graph.length * STEPS.length);
    const errors = errorsOfRun(model, steps);
    for (const { tap, step, error } of errors) {
      expect(error, `whole run, ${tap}, step ${step}`).toBeLessThanOrEqual(RUN);
    }
    expect(Math.max(...errors.map(({ error }) => error))).toBeGreaterThan(U / 8); // f32 was really used
  });

  it("holds exact zeros where a key lies after its query", async () => {
    const model = await synthetic();
    const tokens = someTokens(6);
    const [, step] = await run(await runnerOf(model), [[1, 2], tokens]);
    for (const tap of ["blk.0.attn_scores", "blk.1.attn_probs"]) {
      const values = step?.values.get(tap) ?? new Float32Array(0);
      const hidden = values.filter((_, i) => i % 8 > 2 + (Math.floor(i / 8) % 6));
      expect(hidden.length).toBe(4 * 15);
      expect(hidden.every((value) => Object.is(value, 0))).toBe(true);
    }
  });

  it("passes NaN on to the places where the oracle has them", async () => {
    const spec = syntheticLlama();
    const gain = new Float32Array(64).fill(1).with(5, Number.NaN);
    for (const damaged of ["blk.0.ffn_norm.weight", "blk.1.attn_norm.weight"]) {
      const tensors = spec.tensors.map((each) => (each.name === damaged ? f32Tensor(damaged, [64], gain) : each));
      const model = await openModel(writeGguf(syntheticLlamaFile(), { ...spec, tensors }));
      open.push(model.file);
      let found = 0;
      for (const { node, expected, actual } of recompute(model, await run(await runnerOf(model), STEPS))) {
        const places = (values: ArrayLike<number>) => Array.from(values, Number.isNaN);
        expect(places(actual), node.op.tap).toEqual(places(expected));
        found += actual.filter(Number.isNaN).length;
      }
      expect(found).toBeGreaterThan(0);
    }
  });

  it("the activation is right in every element, also for gates far below 0", async () => {
    const spec = syntheticLlama();
    const tensors = spec.tensors.map((tensor) =>
      tensor.name.endsWith("ffn_norm.weight") ? f32Tensor(tensor.name, [64], new Float32Array(64).fill(6)) : tensor,
    );
    const model = await openModel(writeGguf(syntheticLlamaFile(), { ...spec, tensors }));
    open.push(model.file);
    const steps = await run(await runnerOf(model), STEPS);
    const acts = [...recompute(model, steps)].filter(({ node }) => node.op.kind === "swiglu");
    const errors = acts.flatMap(({ expected, actual }) =>
      Array.from(actual, (value, i) => Math.abs(value - (expected[i] ?? 0)) / Math.abs(expected[i] ?? 0)),
    );
    const gates = steps.flatMap(({ values }) => [...(values.get("blk.0.ffn_gate") ?? [])]);
    expect(Math.min(...gates)).toBeLessThan(-15);
    expect(errors.length).toBeGreaterThan(2000);
    expect(Math.max(...errors)).toBeLessThanOrEqual(8 * U);
  });

  it("gives the same bits on every run", async () => {
    const model = await synthetic();
    const first = await run(await runnerOf(model), STEPS);
    expect(await run(await runnerOf(model), STEPS)).toEqual(first);
  });

  it("a prefill gives what single steps give, within rounding", async () => {
    const model = await synthetic({ biases: true });
    const tokens = someTokens(9);
    const [together] = await run(await runnerOf(model), [tokens]);
    const alone = await run(
      await runnerOf(model),
      tokens.map((token) => [token]),
    );
    for (const { op } of model.graph) {
      if (!op.dims.startsWith("token")) continue;
      const rows = alone.flatMap(({ values }) => [...(values.get(op.tap) ?? [])]);
      // Each side is within RUN of the true values.
      expect(relativeL2(together?.values.get(op.tap) ?? [], rows), op.tap).toBeLessThanOrEqual(2 * RUN);
    }
  });

  it("starts again at position 0, and goes back to any position before", async () => {
    const model = await synthetic();
    const runner = await runnerOf(model);
    const [first] = await run(runner, [someTokens(5)]);
    await run(runner, [someTokens(20)]);
    const again = await run(runner, [someTokens(5)]);
    expect(again[0]).toEqual(first);
    const { logits } = await runner.step(5, [9]);
    await runner.step(6, [1, 2, 3]);
    expect((await runner.step(5, [9])).logits).toEqual(logits);
  });

  it("records what is asked for, as the oracle's runner does", async () => {
    const model = await synthetic();
    const recording: Recording = {
      level: "sketch",
      wants: (tap) => tap.endsWith("attn_probs") || tap === "final_norm",
    };
    const tokens = someTokens(4);
    const mine = await (await runnerOf(model)).step(0, tokens, recording);
    const oracles = await new OracleRunner(model).step(0, tokens, recording);
    const facts = (outcome: typeof mine | typeof oracles) =>
      [...outcome.records(3)].map(
        ({ step, posStart, tap, op, dims, layer, shape, inputs, weights, values, sketch }) => ({
          ...{ step, posStart, tap, op, dims, layer, shape, inputs, weights, values },
          sketchLength: sketch.length,
        }),
      );
    expect(facts(mine).map(({ tap }) => tap)).toEqual(["blk.0.attn_probs", "blk.1.attn_probs", "final_norm"]);
    expect(facts(mine)).toEqual(facts(oracles));
    expect([...mine.records(3)].every(({ dtype }) => dtype === "f32")).toBe(true);
    expect(relativeL2(oracles.logits, mine.logits)).toBeLessThanOrEqual(RUN);
    expect([...(await (await runnerOf(model)).step(0, tokens)).records(0)]).toEqual([]);
  });

  it("runs some layers", async () => {
    const model = await openModel(syntheticLlamaFile({ layers: 3 }), { layers: "1" });
    open.push(model.file);
    const errors = errorsOfRun(model, await run(await runnerOf(model), STEPS));
    expect(errors.map(({ tap }) => tap)).toContain("blk.1.output");
    for (const { tap, error } of errors) expect(error, tap).toBeLessThanOrEqual(RUN);
  });

  it.each<[string, SyntheticLlama, string]>([
    ["epsilon", { metadata: { "llama.attention.layer_norm_rms_epsilon": f32(1e-3) } }, "blk.0.attn_norm"],
    ["rope base", { metadata: { "llama.rope.freq_base": f32(9000) } }, "blk.0.q_rope"],
  ])("another %s is seen, and where it begins", async (_name, options, first) => {
    const steps = await run(await runnerOf(await synthetic(options)), STEPS);
    const wrong = errorsOfRun(await synthetic(), steps).filter(({ error }) => !(error <= RUN));
    expect(wrong[0]?.tap).toBe(first);
    expect(wrong.map(({ tap }) => tap)).toContain("logits");
  });

  it("says its version", async () => {
    expect(await onnxRuntimeVersion()).toMatch(/^1\.\d+\.\d+$/);
  });
});
