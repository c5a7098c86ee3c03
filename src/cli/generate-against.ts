/** `generate --against`: greedy text of two engines, the first token that differs, and how near the choice was. */
import { join } from "node:path";
import { checkModel } from "../compare/audit.ts";
import { compareTraces } from "../compare/compare.ts";
import { type GenerationFacts, generationFacts } from "../compare/generation.ts";
import { traceSequence } from "../compare/tokens.ts";
import type { Model } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import type { EngineOptions, PromptOptions } from "../run/options.ts";
import { plantedIn } from "../run/planted.ts";
import { readPrompt } from "../run/prompt.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { inTemporaryFolder } from "./folders.ts";
import type { OutputOptions } from "./options.ts";
import { underway } from "./progress.ts";
import { referenceName } from "./reference.ts";
import { type ReferenceOptions, traceReference } from "./references.ts";
import { traced } from "./traced.ts";

export type AgainstOptions = PromptOptions &
  EngineOptions &
  ReferenceOptions &
  OutputOptions & { readonly steps?: number; readonly against: string; readonly actual?: string };

/** Tokens where none are asked for. */
const STEPS = 16;
const TAPS = ["logits"];

const isTrace = (name: string) => name.endsWith(".arrow");

/** Runs what is not given as a trace, both greedily, and holds the texts against one another. */
export function generateAgainst(model: Model, options: AgainstOptions, version: string): Promise<Generated> {
  const { against, actual, fault } = options;
  if (!isTrace(against)) referenceName(against);
  if (options.layers !== undefined && !isTrace(against) && against !== "onnx") {
    throw new InputError(`--layers ${options.layers}: ${against} runs all layers; leave it out, or use --against onnx`);
  }
  if (actual !== undefined && fault !== undefined) {
    throw new InputError(`${actual} was run already and no fault can be planted in it; leave out --fault`);
  }
  return inTemporaryFolder("generate", (folder) => generatedIn(folder, model, options, version));
}

interface Generated {
  readonly facts: GenerationFacts;
  readonly tokenizer: Tokenizer;
}

async function generatedIn(folder: string, model: Model, options: AgainstOptions, version: string): Promise<Generated> {
  const { against, actual, quiet } = options;
  const open: Trace[] = [];
  const trace = async (path: string) => {
    const opened = await Trace.open(path);
    open.push(opened);
    await checkModel(model, opened);
    return opened;
  };
  try {
    const leader = actual ?? (isTrace(against) ? against : undefined);
    const led = leader === undefined ? null : await promptOf(await trace(leader), options);
    const steps = led?.steps ?? (options.steps ?? STEPS) - 1;
    const given = readPrompt(model, led === null ? options : { tokens: led.tokens }, steps);
    const planted = plantedIn(model, options, given, steps);
    const { tokenizer } = given;
    const common = { model, tokenizer, steps, version, taps: TAPS, capture: "full" as const };
    const said = quiet === undefined ? {} : { quiet };
    const reference = async (name: string, exact: boolean, follow?: readonly number[]) => {
      const output = join(folder, follow === undefined ? "expected.arrow" : "exact.arrow");
      const run = { ...common, ...said, prompt: given.prompt, output, ...(follow === undefined ? {} : { follow }) };
      await traceReference(referenceName(name), run, { ...options, exact, weights: false });
      return trace(output);
    };
    const own = async () => {
      const output = join(folder, "actual.arrow");
      const { prompt, faults } = planted;
      await traced({ ...common, ...said, prompt, engine: options, faults, output });
      return trace(output);
    };
    const mine = actual === undefined ? await own() : await trace(actual);
    const theirs = isTrace(against) ? await trace(against) : await reference(against, options.exact);
    const plain = await generationFacts(
      theirs,
      mine,
      await underway("comparing", quiet, () => compareTraces(theirs, mine)),
    );
    if (plain.verdict === "match" || against !== "llamacpp" || options.exact || isF32(model)) {
      return { facts: plain, tokenizer };
    }
    // As shipped, llama.cpp rounds activations to 8 bits on its own account: its exact run over the same tokens is what to judge by.
    const exact = await reference(against, true, plain.expected.slice(0, steps));
    const comparison = await underway("comparing", quiet, () => compareTraces(exact, mine));
    return { facts: await generationFacts(theirs, mine, plain.comparison, { trace: exact, comparison }), tokenizer };
  } finally {
    for (const each of open) await each.close();
  }
}

const isF32 = (model: Model) => [...model.weights.keys()].every((name) => model.file.tensor(name).type.name === "F32");

/** The prompt of a trace and how many steps follow it. Throws InputError where options say otherwise. */
async function promptOf(trace: Trace, { prompt, chat, tokens, steps }: AgainstOptions) {
  if ([prompt, chat, tokens, steps].some((option) => option !== undefined)) {
    throw new InputError(`${trace.path} says which tokens were run; leave out -p, --chat, --tokens and -n`);
  }
  const { ids, firstSteps } = traceSequence(trace);
  const length = firstSteps.filter((step) => step === 0).length;
  if (length === 0) {
    throw new InputError(`${trace.path}: its manifest names no tokens; import it again with the steps' tokens`);
  }
  return { tokens: ids.slice(0, length), steps: ids.length - length };
}
