/** `faultline import`: what another engine dumped, as a trace. */
import { existsSync, realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { DTYPES } from "../../references/dump-schema.ts";
import { folderOf, openSource } from "../../references/import/open-source.ts";
import { openModel } from "../model/model.ts";
import { importJson, importText } from "../report/import.ts";
import type { CaptureLevel } from "../trace/capture.ts";
import { InputError } from "../trace/errors.ts";
import { importTrace } from "./import-trace.ts";
import { addCaptureOptions, addOutputOptions, type OutputOptions, tokenSteps } from "./options.ts";
import { print } from "./output.ts";

type Options = OutputOptions & {
  map?: string;
  model?: string;
  tokens?: number[][];
  dtype?: string;
  output: string;
  capture: CaptureLevel;
  taps?: string[];
};

export function addImport(program: Command): void {
  const command = program
    .command("import")
    .description("turn what another engine dumped into a trace")
    .argument(
      "<path>",
      "dump folder (docs/writing-a-dumper.md), .safetensors file, .jsonl file of statistics, or log of llama-eval-callback",
    )
    .option(
      "--map <file>",
      "names and layouts of the dump: canonical, llama.cpp, hf-llama or a map file, instead of what the dump says",
    )
    .option("--tokens <ids>", 'token ids where the dump does not say them; steps are separated by ";"', tokenSteps)
    .addOption(
      new Option("--dtype <type>", "what a llama-eval-callback run rounded activations to in products").choices(DTYPES),
    )
    .option("--model <gguf>", "the model that ran: names sizes, weights and pieces of text");
  addCaptureOptions(command.option("-o, --output <file>", "trace to write", "imported.arrow"), "full");
  addOutputOptions(command)
    .addHelpText("after", "\nExample:\n  faultline import my-dump --model model.gguf -o mine.arrow")
    .action(async (from: string, options: Options) => {
      const { tokens, dtype } = options;
      const source = openSource(from, {
        ...(tokens === undefined ? {} : { tokens }),
        ...(dtype === undefined ? {} : { dtype }),
      });
      refuseItself(from, options.output);
      const path = options.model ?? modelBeside(folderOf(from), source.model.file);
      const model = path === null ? null : await openModel(path);
      try {
        const { map, output, capture, taps, quiet } = options;
        const facts = await importTrace({
          ...{ source, model, output, capture },
          ...(map === undefined ? {} : { map }),
          ...(taps === undefined ? {} : { taps }),
          ...(quiet === undefined ? {} : { quiet }),
        });
        print(
          options,
          () => importJson(facts),
          () => importText(facts),
        );
      } finally {
        model?.file.close();
      }
    });
}

/** A trace in the place of what it is made from would destroy that. */
function refuseItself(from: string, output: string): void {
  if (existsSync(output) && realpathSync(output) === realpathSync(from))
    throw new InputError(`${output}: is what is imported; choose another place with -o`);
}

/** The model that the dump names, if it is there: from the folder, beside it, or from here. */
function modelBeside(folder: string, file: string): string | null {
  if (file === "") return null;
  return (
    [join(folder, file), join(dirname(resolve(folder)), file), resolve(file)].find(
      (path) => path.endsWith(".gguf") && existsSync(path),
    ) ?? null
  );
}
