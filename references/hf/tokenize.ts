/** Tokenises a text, or a chat that it renders itself, with HuggingFace Transformers' own tokenizer. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { runProgram } from "../program.ts";
import { hfFile, hfPython } from "./environment.ts";

export interface HuggingFaceText {
  /** A GGUF file, or a folder with a tokenizer. */
  readonly model: string;
  /** A text gets the special tokens that the tokenizer adds by default; a rendered chat brings its own. */
  readonly request: { readonly text: string } | { readonly messages: readonly { role: string; content: string }[] };
  /** What is being installed, where something is. */
  readonly onNote?: (line: string) => void;
}

const answerSchema = z.object({
  /** What was tokenised: of a chat, as Transformers rendered it. */
  text: z.string(),
  ids: z.array(z.number().int().nonnegative()),
  pieces: z.array(z.string()),
  /** Of transformers. */
  version: z.string(),
});

/** Throws InputError with the program's own line where the model or the environment will not do. */
export async function tokenizeHuggingFace({ model, request, onNote }: HuggingFaceText) {
  const python = await hfPython(onNote);
  const folder = await mkdtemp(join(tmpdir(), "faultline-text-"));
  try {
    const [asked, out] = [join(folder, "request.json"), join(folder, "tokens.json")];
    await writeFile(asked, JSON.stringify(request));
    await runProgram("hf", python, [hfFile("tokenizer.py"), "--model", model, "--request", asked, "--out", out]);
    return answerSchema.parse(JSON.parse(await readFile(out, "utf8")));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
