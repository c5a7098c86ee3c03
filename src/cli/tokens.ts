/** `faultline tokens`: ids and pieces of a text. */
import type { Command } from "commander";
import { readGgufMetadata } from "../model/gguf-metadata.ts";
import { tokenizerFromMetadata } from "../model/tokenizer.ts";
import { tokensJson, tokensText } from "../report/tokens.ts";
import { addOutputOptions, addPromptOptions, type OutputOptions, type PromptOptions } from "./options.ts";
import { promptTokens } from "./prompt.ts";

export function addTokens(program: Command): void {
  const command = program
    .command("tokens")
    .description("show how a model's tokenizer cuts a text")
    .argument("<model>", "GGUF file; one with only a vocabulary will do");
  addOutputOptions(addPromptOptions(command))
    .addHelpText("after", '\nExample:\n  faultline tokens model.gguf --chat "Hello! How are you?"')
    .action((path: string, options: PromptOptions & OutputOptions) => {
      const metadata = readGgufMetadata(path);
      const tokenizer = tokenizerFromMetadata(metadata);
      const { tokens } = promptTokens(metadata, tokenizer, options);
      const rows = tokens.map((id) => ({ id, piece: tokenizer.piece(id) }));
      process.stdout.write(options.json ? `${JSON.stringify(tokensJson(rows))}\n` : tokensText(rows));
    });
}
