/** `faultline generate`: text from the model, as it comes. */
import type { Command } from "commander";
import { createSampler, GREEDY, type SamplerSettings } from "../engine/sampler.ts";
import { runSteps } from "../engine/steps.ts";
import { type Model, openModel } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { generationReport } from "../report/document/generation.ts";
import { generatedJson, generationText } from "../report/generation.ts";
import { generationJson } from "../report/trace-summary.ts";
import { openEngine, sizesOf } from "../run/engine.ts";
import type { EngineOptions, PromptOptions } from "../run/options.ts";
import { plantedIn } from "../run/planted.ts";
import { readPrompt } from "../run/prompt.ts";
import { InputError } from "../trace/errors.ts";
import { DIVERGENT } from "./compare.ts";
import { generateAgainst } from "./generate-against.ts";
import {
  addEngineOptions,
  addOutputOptions,
  addPromptOptions,
  integer,
  number,
  type OutputOptions,
} from "./options.ts";
import { print } from "./output.ts";
import { onTerminal } from "./progress.ts";
import { addReferenceOptions } from "./reference.ts";
import { REFERENCES, type ReferenceOptions } from "./references.ts";
import { addPageOptions, checkReportFiles, leaveReports, type ReportOptions, refuseReports } from "./report-files.ts";

type Options = PromptOptions &
  EngineOptions &
  ReferenceOptions &
  OutputOptions &
  ReportOptions &
  SamplerSettings & { steps?: number; against?: string; actual?: string };

/** Tokens where none are asked for. */
const STEPS = 64;

export function addGenerate(program: Command, version: string): void {
  const command = program.command("generate").description("generate text, streaming").argument("<model>", "GGUF file");
  addPromptOptions(command)
    .option("-n, --steps <count>", `tokens to generate at most (${STEPS}; 16 with --against)`, integer(1))
    .option("--against <reference>", `greedy, beside the text of ${REFERENCES.join(", ")} or of a trace`)
    .option("--actual <trace>", "with --against: hold this trace of another engine beside it instead of running here")
    .option("--temperature <t>", "0 takes the most likely token", number(0, 100), 0)
    .option("--top-k <k>", "draw from the k most likely tokens; 0: from all", integer(0), 0)
    .option("--top-p <p>", "draw from the fewest tokens that reach this probability", number(0, 1), 1)
    .option("--seed <seed>", "of the random draws", integer(0), 0);
  addPageOptions(addOutputOptions(addReferenceOptions(addEngineOptions(command))))
    .addHelpText(
      "after",
      '\nExit status with --against: 0 the same text or a near tie, 1 divergent, 2 could not do it.\n\nExamples:\n  faultline generate model.gguf --chat "What is gravity?" -n 40 --temperature 0.8 --top-p 0.95 --seed 7\n  faultline generate model.gguf -p "Hello" --against llamacpp\n  faultline generate model.gguf --against expected.arrow --actual mine.arrow',
    )
    .action(async (path: string, options: Options) => {
      checkReportFiles(options, [path, options.against, options.actual]);
      if (options.against === undefined)
        refuseReports(options, "a page is of two texts; give the other with --against");
      const model = await openModel(path, options.layers === undefined ? {} : { layers: options.layers });
      try {
        const { against } = options;
        if (against !== undefined) return await beside(model, { ...options, against }, version);
        if (options.actual !== undefined) throw new InputError("--actual goes with --against, which it is held beside");
        const length = options.steps ?? STEPS;
        const given = readPrompt(model, options, length - 1);
        const { tokenizer } = given;
        const { prompt, faults } = plantedIn(model, options, given, length - 1);
        const sizes = sizesOf(options, prompt.tokens.length, length);
        const engine = await openEngine(model, options, sizes, onTerminal(options.quiet), faults);
        try {
          const started = performance.now();
          const stream = textStream(tokenizer, options.json ? () => {} : (text) => process.stdout.write(text));
          const generated: number[] = [];
          const plan = {
            prompt: prompt.tokens,
            steps: length - 1,
            kvCache: options.kvCache,
            sample: createSampler(options),
            stop: tokenizer.eogIds,
          };
          for await (const { next } of runSteps(engine.runner, plan)) {
            generated.push(next);
            if (!tokenizer.eogIds.has(next)) stream.push(next);
            // Its reader has gone.
            if (!process.stdout.writable) break;
          }
          stream.end();
          const elapsedMs = performance.now() - started;
          const document = generationJson({
            prompt: prompt.tokens,
            generated,
            text: stream.text(),
            elapsedMs,
            device: engine.device,
          });
          process.stdout.write(options.json ? `${JSON.stringify(document)}\n` : "\n");
        } finally {
          await engine.close();
        }
      } finally {
        model.file.close();
      }
    });
}

const SAMPLING = [
  ["temperature", "--temperature"],
  ["topK", "--top-k"],
  ["topP", "--top-p"],
  ["seed", "--seed"],
] as const;

/** Greedy text beside a reference's. */
async function beside(model: Model, options: Options & { against: string }, version: string): Promise<void> {
  for (const [name, flag] of SAMPLING) {
    if (options[name] !== GREEDY[name]) {
      throw new InputError(`${flag} ${options[name]}: texts are held against one another greedily; leave it out`);
    }
  }
  const { facts, tokenizer } = await generateAgainst(model, options, version);
  await leaveReports(options, (created) => generationReport(facts, tokenizer, { version, created }));
  print(
    options,
    () => generatedJson(facts, tokenizer),
    () => generationText(facts, tokenizer),
  );
  if (facts.verdict === "divergent") process.exitCode = DIVERGENT;
}

/** Puts token bytes together to text: a character may be spread over several tokens. */
function textStream(tokenizer: Tokenizer, write: (text: string) => void) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let all = "";
  const emit = (text: string) => {
    all += text;
    if (text !== "") write(text);
  };
  return {
    push: (id: number) => emit(decoder.decode(tokenizer.bytes(id), { stream: true })),
    end: () => emit(decoder.decode()),
    text: () => all,
  };
}
