/** The two sides of `tokens --against`: this program's tokens, and a reference tokenizer's or a trace's. */
import { statSync } from "node:fs";
import { tokenizeHuggingFace } from "../../references/hf/tokenize.ts";
import { tokenizeLlamaCpp } from "../../references/llamacpp/tokenize.ts";
import type { PromptSide } from "../compare/prompts.ts";
import { renderChat } from "../model/chat-template.ts";
import { ModelError } from "../model/errors.ts";
import { type GgufMetadata, optionalInteger, optionalString } from "../model/metadata.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import type { PromptOptions } from "../run/options.ts";
import { chatMessages, type Prompt, promptTokens } from "../run/prompt.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import type { Manifest } from "../trace/record.ts";
import { note, underway } from "./progress.ts";

export interface SidesRequest {
  /** GGUF file. */
  readonly path: string;
  readonly metadata: GgufMetadata;
  readonly tokenizer: Tokenizer;
  readonly options: PromptOptions & { readonly llamaCpp?: string; readonly quiet?: boolean };
  /** Version of this program. */
  readonly version: string;
}

/** Expected and actual. A reference tokenizer is trusted and this program's judged; a trace is judged by the model's tokenizer. */
export interface Sides {
  readonly expected: PromptSide;
  readonly actual: PromptSide;
  /** This program's, one of the two. */
  readonly own: PromptSide;
}

/** Throws InputError for a name that is none, and where the other side cannot be made or has no tokens. */
export async function sidesOf(against: string, request: SidesRequest): Promise<Sides> {
  if (against.endsWith(".arrow")) return againstTrace(against, request);
  const isFolder = statSync(against, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (against !== "llamacpp" && against !== "hf" && !isFolder)
    throw new InputError(
      `--against ${against}: there are llamacpp, hf, a HuggingFace folder with a tokenizer, and traces (.arrow)`,
    );
  const { metadata, tokenizer, options } = request;
  const prompt = promptTokens(metadata, tokenizer, options);
  if (prompt.text === null)
    throw new InputError(`--tokens has no text that ${against} could cut; give -p TEXT or --chat TEXT`);
  const own = ownSide(request, prompt.tokens, options.chat === undefined ? null : prompt.text);
  const { text } = prompt;
  const expected = await underway(against, options.quiet, () =>
    against === "llamacpp"
      ? llamaCppSide(request, text)
      : huggingFaceSide(request, text, isFolder ? against : request.path),
  );
  if (expected.ids.length === 0) throw new InputError(`${expected.name} makes no tokens of the text; give another`);
  return { expected, actual: own, own };
}

function ownSide({ tokenizer, version }: SidesRequest, ids: readonly number[], rendered: string | null): PromptSide {
  if (ids.length === 0) throw new InputError("the text has no tokens; give some with -p");
  const outside = ids.find((id) => id >= tokenizer.size);
  if (outside !== undefined)
    throw new InputError(
      `token id ${outside} is outside the vocabulary of ${tokenizer.size}; ids run from 0 to ${tokenizer.size - 1}`,
    );
  return { name: `faultline ${version}`, ids, pieces: ids.map((id) => tokenizer.piece(id)), rendered };
}

/** The first use fetches and builds: minutes that should not be silent. */
const noting = ({ quiet }: SidesRequest["options"]) => (quiet ? {} : { onNote: note });

async function llamaCppSide({ path, options }: SidesRequest, text: string): Promise<PromptSide> {
  const { llamaCpp, chat } = options;
  const request = { model: path, text, addSpecial: chat === undefined, ...noting(options) };
  const found = await tokenizeLlamaCpp(llamaCpp === undefined ? request : { ...request, llamaCpp });
  return { name: "llama.cpp", ...found, rendered: null };
}

async function huggingFaceSide({ options }: SidesRequest, text: string, model: string): Promise<PromptSide> {
  const { chat, system } = options;
  const request = chat === undefined ? { text } : { messages: chatMessages(chat, system) };
  const found = await tokenizeHuggingFace({ model, request, ...noting(options) });
  const { ids, pieces, version } = found;
  return { name: `transformers ${version}`, ids, pieces, rendered: chat === undefined ? null : found.text };
}

async function againstTrace(path: string, request: SidesRequest): Promise<Sides> {
  const trace = await Trace.open(path);
  try {
    const { manifest } = trace;
    const ids = manifest.tokens[0] ?? [];
    if (ids.length === 0)
      throw new InputError(`${path}: its manifest names no tokens; import it again with the steps' tokens`);
    const { tokenizer } = request;
    checkVocabulary(path, manifest, request);
    const own = ownSide(request, tracePrompt(path, manifest, request).tokens, null);
    if (ids.length === 1 && manifest.tokens.length > 1 && own.ids.length > 1) {
      throw new InputError(
        `${path}: its first step has 1 token of ${own.ids.length}: the prompt was run token by token, and where it ends is not known; hold the whole run against another with faultline compare`,
      );
    }
    // A trace of another engine may know no pieces.
    const pieces = ids.map((id, i) => {
      const piece = manifest.pieces[0]?.[i];
      return piece === undefined || piece === `<${id}>` ? tokenizer.piece(id) : piece;
    });
    const { name, version } = manifest.producer;
    return { expected: own, actual: { name: `${path}: ${name} ${version}`, ids, pieces, rendered: null }, own };
  } finally {
    await trace.close();
  }
}

/** An embedding may have more rows than the vocabulary has tokens, never fewer. */
function checkVocabulary(path: string, { model, tokens }: Manifest, { metadata, tokenizer }: SidesRequest): void {
  const traced = model.hyperParameters.vocab;
  const architecture = optionalString(metadata, "general.architecture") ?? "";
  const own = optionalInteger(metadata, `${architecture}.vocab_size`);
  const outside = tokens[0]?.find((id) => id >= tokenizer.size);
  const isOther = typeof traced === "number" && (traced < tokenizer.size || (own !== undefined && traced !== own));
  if (!isOther && outside === undefined) return;
  const of = isOther ? `a vocabulary of ${traced}` : `token ${outside}`;
  throw new InputError(
    `${path}: has ${of}, the model one of ${tokenizer.size} tokens; give the model that was traced (${model.file || "the trace does not name it"})`,
  );
}

/** What was asked for; without that, the text of the trace. */
function tracePrompt(path: string, { prompt: text }: Manifest, { metadata, tokenizer, options }: SidesRequest): Prompt {
  const { prompt, chat, tokens, system } = options;
  if ([prompt, chat, tokens, system].some((option) => option !== undefined) || text === null) {
    if (text === null && [prompt, chat, tokens].every((option) => option === undefined))
      throw new InputError(`${path}: has no prompt text to tokenise; give -p TEXT, --chat TEXT or --tokens 1,2,3`);
    return promptTokens(metadata, tokenizer, options);
  }
  return { text, tokens: tokenizer.encode(text, { addSpecial: !endsAsChat(text, metadata) }) };
}

/** True if a text ends as the model's chat template opens an answer: then it is a rendered chat, which brings its own special tokens. */
function endsAsChat(text: string, metadata: GgufMetadata): boolean {
  const mark = "\u{F0000}";
  try {
    const rendered = renderChat(metadata, chatMessages(mark));
    const ending = rendered.slice(rendered.lastIndexOf(mark) + mark.length);
    return ending.trim() !== "" && text.endsWith(ending);
  } catch (error) {
    // A model without a template that renders has no rendered chats.
    if (error instanceof ModelError) return false;
    throw error;
  }
}
