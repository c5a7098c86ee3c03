/** `faultline tokens`: ids and pieces of a text, alone or beside another tokenizer's or a trace's. */
import { basename } from "node:path";
import type { Command } from "commander";
import { comparePrompts } from "../compare/prompts.ts";
import { readGgufMetadata } from "../model/gguf-metadata.ts";
import { tokenizerFromMetadata } from "../model/tokenizer.ts";
import { tokensReport } from "../report/document/tokens.ts";
import { tokensJson, tokensText } from "../report/tokens.ts";
import { againstJson, againstText } from "../report/tokens-against.ts";
import type { PromptOptions } from "../run/options.ts";
import { promptTokens } from "../run/prompt.ts";
import { InputError } from "../trace/errors.ts";
import { DIVERGENT } from "./compare.ts";
import { addOutputOptions, addPromptOptions, type OutputOptions } from "./options.ts";
import { print } from "./output.ts";
import { addPageOptions, checkReportFiles, leaveReports, type ReportOptions, refuseReports } from "./report-files.ts";
import { sidesOf } from "./token-sides.ts";

type Options = PromptOptions & OutputOptions & ReportOptions & { against?: string; all?: boolean; llamaCpp?: string };

export function addTokens(program: Command, version: string): void {
  const command = program
    .command("tokens")
    .description("show how a model's tokenizer cuts a text, beside another tokenizer or a trace")
    .argument("<model>", "GGUF file; one with only a vocabulary will do")
    .option(
      "--against <other>",
      "llamacpp, hf (Transformers on the same file), a HuggingFace folder, or a trace (.arrow), whose own prompt is taken where none is given",
    )
    .option("--all", "with --against: every row, not only those around differences")
    .option("--llama-cpp <dir>", "llamacpp: your own llama.cpp, with headers and shared libraries built");
  addPageOptions(addOutputOptions(addPromptOptions(command)))
    .addHelpText(
      "after",
      '\nExit status: 0 alike or done, 1 divergent, 2 could not do it.\n\nExamples:\n  faultline tokens model.gguf --chat "Hello! How are you?"\n  faultline tokens model.gguf --chat "Hello! How are you?" --against hf\n  faultline tokens model.gguf --against mine.arrow',
    )
    .action(async (path: string, options: Options) => {
      checkReportFiles(options, [path, options.against]);
      if (options.against === undefined)
        refuseReports(options, "a page is of two sides; give the other with --against");
      const metadata = readGgufMetadata(path);
      const tokenizer = tokenizerFromMetadata(metadata);
      if (options.against === undefined) {
        if (options.all || options.llamaCpp !== undefined)
          throw new InputError("--all and --llama-cpp go with --against, which they say more about");
        const { tokens } = promptTokens(metadata, tokenizer, options);
        if (tokens.length === 0) throw new InputError("the text has no tokens; give some with -p");
        const rows = tokens.map((id) => ({ id, piece: tokenizer.piece(id) }));
        print(
          options,
          () => tokensJson(rows),
          () => tokensText(rows),
        );
        return;
      }
      const { expected, actual, own } = await sidesOf(options.against, { path, metadata, tokenizer, options, version });
      const comparison = comparePrompts(expected, actual);
      const model = basename(path);
      await leaveReports(options, (created) => tokensReport(comparison, model, { version, created }));
      const rows = own.ids.map((id, i) => ({ id, piece: own.pieces[i] ?? "" }));
      print(
        options,
        () => tokensJson(rows, againstJson(comparison)),
        () => againstText(comparison, options.all ?? false),
      );
      if (!comparison.isAlike) process.exitCode = DIVERGENT;
    });
}
