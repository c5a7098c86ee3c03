/** `faultline generate`: text from the model, as it comes. */
import type { Command } from "commander";
import { createSampler, type SamplerSettings } from "../engine/sampler.ts";
import { runSteps } from "../engine/steps.ts";
import { openModel } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { generationJson } from "../report/trace-summary.ts";
import { openEngine, sizesOf } from "./engine.ts";
import {
  addEngineOptions,
  addOutputOptions,
  addPromptOptions,
  type EngineOptions,
  integer,
  number,
  type OutputOptions,
  type PromptOptions,
} from "./options.ts";
import { plantedIn } from "./planted.ts";
import { readPrompt } from "./prompt.ts";

type Options = PromptOptions & EngineOptions & OutputOptions & SamplerSettings & { steps: number };

export function addGenerate(program: Command): void {
  const command = program.command("generate").description("generate text, streaming").argument("<model>", "GGUF file");
  addPromptOptions(command)
    .option("-n, --steps <count>", "tokens to generate at most", integer(1), 64)
    .option("--temperature <t>", "0 takes the most likely token", number(0, 100), 0)
    .option("--top-k <k>", "draw from the k most likely tokens; 0: from all", integer(0), 0)
    .option("--top-p <p>", "draw from the fewest tokens that reach this probability", number(0, 1), 1)
    .option("--seed <seed>", "of the random draws", integer(0), 0);
  addOutputOptions(addEngineOptions(command))
    .addHelpText(
      "after",
      '\nExample:\n  faultline generate model.gguf --chat "What is gravity?" -n 40 --temperature 0.8 --top-p 0.95 --seed 7',
    )
    .action(async (path: string, options: Options) => {
      const model = await openModel(path, options.layers === undefined ? {} : { layers: options.layers });
      try {
        const given = readPrompt(model, options, options.steps - 1);
        const { tokenizer } = given;
        const { prompt, faults } = plantedIn(model, options, given, options.steps - 1);
        const engine = await openEngine(
          model,
          options,
          sizesOf(options, prompt.tokens.length, options.steps),
          options.quiet,
          faults,
        );
        try {
          const started = performance.now();
          const stream = textStream(tokenizer, options.json ? () => {} : (text) => process.stdout.write(text));
          const generated: number[] = [];
          const plan = {
            prompt: prompt.tokens,
            steps: options.steps - 1,
            kvCache: options.kvCache,
            sample: createSampler(options),
            stop: tokenizer.eogIds,
          };
          for await (const { next } of runSteps(engine.runner, plan)) {
            generated.push(next);
            if (!tokenizer.eogIds.has(next)) stream.push(next);
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
