/** `faultline trace`: run the engine, write a trace. */
import type { Command } from "commander";
import { openModel } from "../model/model.ts";
import { traceSummaryJson, traceSummaryText } from "../report/trace-summary.ts";
import type { EngineOptions, PromptOptions } from "../run/options.ts";
import { plantedIn } from "../run/planted.ts";
import { readPrompt } from "../run/prompt.ts";
import type { CaptureLevel } from "../trace/capture.ts";
import {
  addCaptureOptions,
  addEngineOptions,
  addOutputOptions,
  addPromptOptions,
  integer,
  type OutputOptions,
} from "./options.ts";
import { print } from "./output.ts";
import { traced } from "./traced.ts";

type Options = PromptOptions &
  EngineOptions &
  OutputOptions & { steps: number; output: string; capture: CaptureLevel; taps?: string[] };

export function addTrace(program: Command, version: string): void {
  const command = program
    .command("trace")
    .description("run a model and record every op of every step")
    .argument("<model>", "GGUF file");
  addPromptOptions(command).option("-n, --steps <count>", "decode steps after the prompt", integer(0), 0);
  addEngineOptions(addCaptureOptions(command.option("-o, --output <file>", "trace to write", "trace.arrow")));
  addOutputOptions(command)
    .addHelpText(
      "after",
      '\nExample:\n  faultline trace model.gguf -p "Once upon a time" -n 8 --capture full -o run.arrow\n  faultline trace model.gguf -p "Once upon a time" -n 2 --fault rope.pairing@blk.2.q_rope -o faulty.arrow',
    )
    .action(async (path: string, options: Options) => {
      const model = await openModel(path, options.layers === undefined ? {} : { layers: options.layers });
      try {
        const given = readPrompt(model, options, options.steps);
        const { tokenizer } = given;
        const { prompt, faults } = plantedIn(model, options, given, options.steps);
        const { steps, output, capture, taps, quiet } = options;
        const summary = await traced({
          ...{ model, tokenizer, prompt, steps, output, capture, version, engine: options, faults },
          ...(taps === undefined ? {} : { taps }),
          ...(quiet === undefined ? {} : { quiet }),
        });
        print(
          options,
          () => traceSummaryJson(summary),
          () => traceSummaryText(summary, tokenizer.decode(summary.generated)),
        );
      } finally {
        model.file.close();
      }
    });
}
