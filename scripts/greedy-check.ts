/**
 * Greedy text of the engine and of llama.cpp (weights decoded to f32) over five prompts: equal, or where they part how large the
 * margin between the two best logits was. Prints Markdown: npm run greedy-check
 */
import { mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { traceReference } from "../src/cli/references.ts";
import { compareTraces } from "../src/compare/compare.ts";
import { openModel } from "../src/model/model.ts";
import { visible } from "../src/report/numbers.ts";
import { readPrompt } from "../src/run/prompt.ts";
import { traceModel } from "../src/run/trace-model.ts";
import { Trace } from "../src/trace/reader.ts";

const cache = process.env.FAULTLINE_CACHE ?? join(homedir(), ".cache", "faultline");
const path = process.argv[2] ?? join(cache, "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
const TOKENS = 64;
const PROMPTS = [
  { chat: "Write a short poem about the sea." },
  { chat: "Explain how a bicycle stays upright." },
  { chat: "List three uses of copper and why it suits them." },
  { prompt: "Once upon a time, in a village by the river," },
  { prompt: "def fibonacci(n):\n" },
];

const model = await openModel(path);
const folder = mkdtempSync(join(tmpdir(), "faultline-greedy-"));
try {
  console.log(
    `${model.file.name}, ${TOKENS} greedy tokens\n\n| prompt | equal tokens | worst KL, nats | engine's text |\n|---|---|---|---|`,
  );
  for (const given of PROMPTS) {
    const steps = TOKENS - 1;
    const read = readPrompt(model, given, steps);
    const common = { model, ...read, steps, capture: "full" as const, taps: ["logits"], version: "", quiet: true };
    const [ours, theirs] = [join(folder, "ours.arrow"), join(folder, "theirs.arrow")];
    const engine = { device: "auto" as const, dtype: "f32" as const, kvCache: true };
    const actual = await traceModel({ ...common, engine, output: ours });
    const expected = await traceReference(
      "llamacpp",
      { ...common, output: theirs },
      { exact: true, weights: false, threads: 1 },
    );
    const equal = actual.generated.findIndex((id, i) => id !== expected.generated[i]);
    const traces = [await Trace.open(theirs), await Trace.open(ours)] as const;
    const { logits } = await compareTraces(...traces);
    for (const trace of traces) await trace.close();
    const parting =
      equal < 0
        ? `${actual.generated.length} of ${TOKENS}`
        : `${equal}, then a margin of ${logits?.flips[0]?.margin} against noise ${logits?.flips[0]?.noise}`;
    const text = visible(read.tokenizer.decode(actual.generated)).replaceAll("|", "\\|");
    console.log(
      `| ${visible(given.chat ?? given.prompt ?? "")} | ${parting} | ${logits?.worstKl.toExponential(1)} | ${text.slice(0, 100)}... |`,
    );
  }
} finally {
  rmSync(folder, { recursive: true });
  model.file.close();
}
