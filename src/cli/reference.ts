/** `faultline reference`: run llama.cpp, HuggingFace Transformers or ONNX Runtime, write a trace. */
import { statSync } from "node:fs";
import { type Command, Option } from "commander";
import { openModel } from "../model/model.ts";
import { traceSummaryJson, traceSummaryText } from "../report/trace-summary.ts";
import type { PromptOptions } from "../run/options.ts";
import { readPrompt } from "../run/prompt.ts";
import type { CaptureLevel } from "../trace/capture.ts";
import { InputError } from "../trace/errors.ts";
import { addCaptureOptions, addOutputOptions, addPromptOptions, integer, type OutputOptions } from "./options.ts";
import { print } from "./output.ts";
import {
  type FolderRun,
  REFERENCES,
  type ReferenceName,
  type ReferenceOptions,
  traceHuggingFaceFolder,
  traceReference,
} from "./references.ts";

type Options = PromptOptions &
  OutputOptions &
  ReferenceOptions & { steps: number; output: string; capture: CaptureLevel; taps?: string[]; keepDump?: string };

/** Options of the references themselves. */
export function addReferenceOptions(command: Command): Command {
  return command
    .option("--exact", "llamacpp: decode all weights to f32 first, so that activations are not quantised", false)
    .option("--weights", "llamacpp: record the decoded weights as weight:* taps too", false)
    .addOption(new Option("--threads <count>", "llamacpp: threads").argParser(integer(1)).default(1))
    .option(
      "--llama-cpp <dir>",
      "llamacpp: your own llama.cpp, with headers and shared libraries built, instead of the pinned one",
    );
}

export function addReference(program: Command, version: string): void {
  const command = program
    .command("reference")
    .description("run a trusted engine on the same model and record the same taps")
    .argument("<engine>", REFERENCES.join(", "))
    .argument("<model>", "GGUF file; for hf also a HuggingFace folder");
  addPromptOptions(command).option("-n, --steps <count>", "greedy decode steps after the prompt", integer(0), 0);
  addReferenceOptions(
    addCaptureOptions(command.option("-o, --output <file>", "trace to write", "reference.arrow"), "full"),
  ).option("--keep-dump <dir>", "keep the engine's own dump in this new folder");
  addOutputOptions(command)
    .addHelpText(
      "after",
      '\nExample:\n  faultline reference llamacpp model.gguf --exact -p "Once upon a time" -n 8 -o expected.arrow',
    )
    .action(async (name: string, path: string, options: Options) => {
      const reference = referenceName(name);
      if (reference === "hf" && statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
        const summary = await traceHuggingFaceFolder({ folder: path, ...folderRun(options) });
        const ids = summary.generated.map((id) => `<${id}>`).join("");
        print(
          options,
          () => traceSummaryJson(summary),
          () => traceSummaryText(summary, ids),
        );
        return;
      }
      const model = await openModel(path);
      try {
        const { tokenizer, prompt } = readPrompt(model, options, options.steps);
        const { steps, output, capture, taps, quiet, keepDump } = options;
        const summary = await traceReference(
          reference,
          {
            ...{ model, tokenizer, prompt, steps, output, capture, version },
            ...(taps === undefined ? {} : { taps }),
            ...(quiet === undefined ? {} : { quiet }),
            ...(keepDump === undefined ? {} : { keepDump }),
          },
          options,
        );
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

/** Options of a run on a HuggingFace folder, whose tokenizer and chat template are its own. */
function folderRun({
  prompt,
  chat,
  tokens,
  steps,
  output,
  capture,
  taps,
  quiet,
  keepDump,
}: Options): Omit<FolderRun, "folder"> {
  if (chat !== undefined || keepDump !== undefined || (prompt === undefined) === (tokens === undefined)) {
    throw new InputError(
      "a HuggingFace folder is run with one of -p TEXT and --tokens 1,2,3, without --chat and --keep-dump",
    );
  }
  return {
    prompt: tokens === undefined ? { text: prompt ?? "" } : { tokens },
    ...{ steps, output, capture },
    ...(taps === undefined ? {} : { taps }),
    ...(quiet === undefined ? {} : { quiet }),
  };
}

/** The reference of a name. Throws InputError naming those there are. */
export function referenceName(name: string): ReferenceName {
  const found = REFERENCES.find((each) => each === name);
  if (found === undefined) throw new InputError(`${name}: no such reference; there are ${REFERENCES.join(", ")}`);
  return found;
}
