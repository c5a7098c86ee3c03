/** `faultline import`: what another engine dumped, as a trace. */
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { readDumpFolder } from "../../references/import/dump-folder.ts";
import { openModel } from "../model/model.ts";
import { importJson, importText } from "../report/import.ts";
import type { CaptureLevel } from "../trace/capture.ts";
import { importTrace } from "./import-trace.ts";
import { addCaptureOptions, addOutputOptions, type OutputOptions } from "./options.ts";

type Options = OutputOptions & { map?: string; model?: string; output: string; capture: CaptureLevel; taps?: string[] };

export function addImport(program: Command): void {
  const command = program
    .command("import")
    .description("turn a dump folder of another engine into a trace")
    .argument("<folder>", "folder with dump.json and .npy files (docs/writing-a-dumper.md)")
    .option(
      "--map <file>",
      "names and layouts of the dump: canonical, llama.cpp, hf-llama or a map file, instead of what dump.json says",
    )
    .option("--model <gguf>", "the model that ran: names sizes, weights and pieces of text");
  addCaptureOptions(command.option("-o, --output <file>", "trace to write", "imported.arrow"), "full");
  addOutputOptions(command)
    .addHelpText("after", "\nExample:\n  faultline import my-dump --model model.gguf -o mine.arrow")
    .action(async (folder: string, options: Options) => {
      const source = readDumpFolder(folder);
      const path = options.model ?? modelBeside(folder, source.model.file);
      const model = path === null ? null : await openModel(path);
      try {
        const { map, output, capture, taps, quiet } = options;
        const facts = await importTrace({
          ...{ source, model, output, capture },
          ...(map === undefined ? {} : { map }),
          ...(taps === undefined ? {} : { taps }),
          ...(quiet === undefined ? {} : { quiet }),
        });
        process.stdout.write(options.json ? `${JSON.stringify(importJson(facts))}\n` : importText(facts));
      } finally {
        model?.file.close();
      }
    });
}

/** The model that dump.json names, if it is there: from the folder, beside it, or from here. */
function modelBeside(folder: string, file: string): string | null {
  if (file === "") return null;
  return (
    [join(folder, file), join(dirname(resolve(folder)), file), resolve(file)].find(
      (path) => path.endsWith(".gguf") && existsSync(path),
    ) ?? null
  );
}
