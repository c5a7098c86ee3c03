/**
 * The engine against the f64 oracle on the real model: for each kind of tap the worst relative L2 error of an op fed with the
 * engine's own inputs, and of the whole run against the oracle's own. Prints Markdown: npm run oracle-table
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { Gpu } from "../src/engine/device.ts";
import { Executor } from "../src/engine/executor.ts";
import { argmax } from "../src/engine/sampler.ts";
import { GpuWeights } from "../src/engine/weights.ts";
import { openModel } from "../src/model/model.ts";
import { Oracle } from "../src/oracle/oracle.ts";
import { nameInLayer } from "../src/trace/taps.ts";
import { recompute, relativeL2, type StepValues } from "../test/support/recompute.ts";

const cache = process.env.FAULTLINE_CACHE ?? join(homedir(), ".cache", "faultline");
const path = process.argv[2] ?? join(cache, "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
const STEPS = 2;

const gpu = await Gpu.open();
const model = await openModel(path);
/** A chat of 32 tokens (SmolLM2's ids), cut to the vocabulary of other models. */
const chat = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407];
const prompt = [...chat, 19712, 8182, 2, 198, 1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2].map(
  (id) => id % model.parameters.vocab,
);
const weights = await GpuWeights.load(gpu, model.file, model.weights.keys());
const executor = new Executor(gpu, model, weights, { capacity: prompt.length + STEPS });

const steps: StepValues[] = [];
let tokens: readonly number[] = prompt;
let posStart = 0;
for (let step = 0; step <= STEPS; step++) {
  const result = await executor.step(posStart, tokens, { level: "full", wants: () => true });
  const values = new Map<string, Float32Array>();
  for (const record of result.records(step)) if (record.values !== null) values.set(record.tap, record.values);
  steps.push({ posStart, tokens, values });
  posStart += tokens.length;
  tokens = [argmax(result.logits)];
}

interface Worst {
  error: number;
  at: string;
}
const own = new Map<string, Worst>();
const total = new Map<string, Worst>();
const keepWorst = (worst: Map<string, Worst>, tap: string, step: number, error: number) => {
  const kind = nameInLayer(tap);
  if (!(error <= (worst.get(kind)?.error ?? -1))) worst.set(kind, { error, at: `${tap}, step ${step}` });
};
for (const { step, node, expected, actual } of recompute(model, steps)) {
  keepWorst(own, node.op.tap, step, relativeL2(expected, actual));
}
const oracle = new Oracle(model);
for (const [step, { posStart: first, tokens: ids, values }] of steps.entries()) {
  oracle.step(first, ids, (op, output) => {
    keepWorst(total, op.tap, step, relativeL2(output.data, values.get(op.tap) ?? []));
  });
}
console.log(`${model.file.name}, ${prompt.length} tokens and ${STEPS} decode steps, ${gpu.adapter.description}\n`);
console.log("| tap | own error, worst relL2 | at | whole run, worst relL2 | at |\n|---|---|---|---|---|");
for (const [kind, { error, at }] of own) {
  const run = total.get(kind);
  console.log(`| ${kind} | ${error.toExponential(1)} | ${at} | ${run?.error.toExponential(1)} | ${run?.at} |`);
}
gpu.close();
