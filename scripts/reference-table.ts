/**
 * The engine against every reference, and the references against one another, on a real model: for each kind of tap the worst
 * relative L2 error over all layers and steps, and the largest share of a budget. Prints Markdown: npm run reference-table
 */
import { mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { traceReference } from "../src/cli/references.ts";
import { compareTraces } from "../src/compare/compare.ts";
import { openModel } from "../src/model/model.ts";
import { kindOf } from "../src/report/comparison.ts";
import { readPrompt } from "../src/run/prompt.ts";
import { traceModel } from "../src/run/trace-model.ts";
import { Trace } from "../src/trace/reader.ts";

const cache = process.env.FAULTLINE_CACHE ?? join(homedir(), ".cache", "faultline");
const path = process.argv[2] ?? join(cache, "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
const CHAT = "What is the capital of France, and why is it there?";
const STEPS = 8;

const model = await openModel(path);
const { tokenizer, prompt } = readPrompt(model, { chat: CHAT }, STEPS);
const folder = mkdtempSync(join(tmpdir(), "faultline-references-"));
const options = { exact: true, weights: false, threads: 1 };
const common = { model, tokenizer, prompt, steps: STEPS, capture: "full" as const, version: "", quiet: true };

try {
  const file = (name: string) => join(folder, `${name}.arrow`);
  const engine = { device: "auto" as const, dtype: "f32" as const, kvCache: true };
  const { generated } = await traceModel({ ...common, engine, output: file("engine") });
  const follow = generated.slice(0, STEPS);
  const references = [
    ["llamacpp", { ...options }],
    ["hf", options],
    ["onnx", options],
  ] as const;
  for (const [name, settings] of references)
    await traceReference(name, { ...common, follow, output: file(name) }, settings);
  await traceReference("llamacpp", { ...common, follow, output: file("shipped") }, { ...options, exact: false });

  const pairs = [
    ["llamacpp", "engine"],
    ["hf", "engine"],
    ["onnx", "engine"],
    ["llamacpp", "hf"],
    ["llamacpp", "onnx"],
    ["hf", "onnx"],
    ["llamacpp", "shipped"],
  ] as const;
  const rows = new Map<string, string[]>();
  const verdicts: string[] = [];
  for (const [e, a] of pairs) {
    const [expected, actual] = [await Trace.open(file(e)), await Trace.open(file(a))];
    const { verdict, ops, totals } = await compareTraces(expected, actual);
    const kinds = new Map<string, number>();
    for (const op of ops) kinds.set(kindOf(op.tap), Math.max(kinds.get(kindOf(op.tap)) ?? 0, op.judgement.relL2));
    for (const [kind, worst] of kinds) rows.set(kind, [...(rows.get(kind) ?? []), worst.toExponential(1)]);
    const share = Math.max(...ops.map((op) => op.judgement.share));
    verdicts.push(`${verdict}: ${totals.matched} matched, largest share of a budget ${(100 * share).toFixed(0)} %`);
    await expected.close();
    await actual.close();
  }
  const titles = pairs.map(([e, a]) => `${e} - ${a}`);
  console.log(`${model.file.name}, ${prompt.tokens.length} tokens and ${STEPS} decode steps\n`);
  console.log(`| tap | ${titles.join(" | ")} |`);
  console.log(`|---|${pairs.map(() => "---|").join("")}`);
  for (const [kind, values] of rows) console.log(`| ${kind} | ${values.join(" | ")} |`);
  console.log(`\n${titles.map((title, i) => `- ${title}: ${verdicts[i]}`).join("\n")}`);
} finally {
  rmSync(folder, { recursive: true });
  model.file.close();
}
