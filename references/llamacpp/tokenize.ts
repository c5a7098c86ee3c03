/** Tokenises a text with libllama's own tokenizer, from the vocabulary of a GGUF file. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InputError } from "../../src/trace/errors.ts";
import { runProgram } from "../program.ts";
import { type LlamaCppOptions, llamaCppPrograms } from "./dump.ts";

export interface LlamaCppText extends LlamaCppOptions {
  /** GGUF file; one with only a vocabulary will do. */
  readonly model: string;
  readonly text: string;
  /** BOS and EOS added where the model wants them. */
  readonly addSpecial: boolean;
  /** Special tokens that are written out in the text are read as tokens. Default true. */
  readonly parseSpecial?: boolean;
}

/** Ids and pieces; a piece that is no whole character shows as U+FFFD. Throws InputError where llama.cpp cannot do it. */
export async function tokenizeLlamaCpp(request: LlamaCppText): Promise<{ ids: number[]; pieces: string[] }> {
  const { tokenize } = await llamaCppPrograms(request);
  const folder = await mkdtemp(join(tmpdir(), "faultline-text-"));
  try {
    const file = join(folder, "text");
    await writeFile(file, request.text);
    const flags = [request.addSpecial, request.parseSpecial ?? true].map((flag) => (flag ? "1" : "0"));
    const lines: string[] = [];
    await runProgram("llama.cpp", tokenize, [request.model, file, ...flags], { onLine: (line) => lines.push(line) });
    const tokens = lines.map((line) => {
      const [, id, bytes] = /^(\d+)(?: ([0-9a-f]*))?$/.exec(line) ?? [];
      if (id === undefined) throw new InputError(`llama.cpp: "${line}" is no token; build the programs again`);
      return { id: Number(id), piece: Buffer.from(bytes ?? "", "hex").toString() };
    });
    return { ids: tokens.map(({ id }) => id), pieces: tokens.map(({ piece }) => piece) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
