/** Prompt options -> token ids, checked against the model. */
import { type ChatMessage, renderChat } from "../model/chat-template.ts";
import { ModelError } from "../model/errors.ts";
import { readGgufMetadata } from "../model/gguf-metadata.ts";
import type { GgufMetadata } from "../model/metadata.ts";
import type { Model } from "../model/model.ts";
import { textOfBytes } from "../model/token-bytes.ts";
import { type Tokenizer, tokenizerFromMetadata } from "../model/tokenizer.ts";
import { InputError } from "../trace/errors.ts";
import type { PromptOptions } from "./options.ts";

export interface Prompt {
  /** The text that was tokenised; null where ids were given. */
  readonly text: string | null;
  readonly tokens: readonly number[];
}

/** Tokenises what the options ask for. A rendered chat brings its own special tokens. */
export function promptTokens(metadata: GgufMetadata, tokenizer: Tokenizer, options: PromptOptions): Prompt {
  const given = [options.prompt, options.chat, options.tokens].filter((option) => option !== undefined);
  if (given.length !== 1) {
    throw new InputError(
      `${given.length === 0 ? "no prompt" : `${given.length} prompts`}; give one of -p TEXT, --chat TEXT, --tokens 1,2,3`,
    );
  }
  if (options.system !== undefined && options.chat === undefined) {
    throw new InputError("--system goes with --chat; with another prompt it would be left out");
  }
  if (options.tokens !== undefined) return { text: null, tokens: options.tokens };
  if (options.chat !== undefined) {
    const text = renderChat(metadata, chatMessages(options.chat, options.system), { addGenerationPrompt: true });
    return { text, tokens: tokenizer.encode(text, { addSpecial: false }) };
  }
  const text = options.prompt ?? "";
  return { text, tokens: tokenizer.encode(text) };
}

/** The messages of `--chat` and `--system`. */
export function chatMessages(user: string, system?: string): ChatMessage[] {
  return [...(system === undefined ? [] : [{ role: "system", content: system }]), { role: "user", content: user }];
}

/** The model's tokenizer; where it has none that works, ids can still be run, and stand for themselves. */
function tokenizerOrNumbers(metadata: GgufMetadata, options: PromptOptions): Tokenizer {
  try {
    return tokenizerFromMetadata(metadata);
  } catch (error) {
    if (!(error instanceof ModelError) || options.tokens === undefined) throw error;
    const none = { size: 0, bosId: undefined, eosId: undefined, eogIds: new Set<number>() };
    const refuse = () => {
      throw error;
    };
    return { ...none, encode: refuse, decode: refuse, piece: refuse, bytes: refuse };
  }
}

/** An embedding padded past its vocabulary can produce ids without text: those are written as `<id>`, and end no run. */
function namingAllIds(tokenizer: Tokenizer): Tokenizer {
  const known = (id: number) => id < tokenizer.size;
  const bytes = (id: number) => (known(id) ? tokenizer.bytes(id) : Buffer.from(`<${id}>`));
  return {
    ...tokenizer,
    bytes,
    piece: (id) => (known(id) ? tokenizer.piece(id) : `<${id}>`),
    decode: (ids) => (ids.every(known) ? tokenizer.decode(ids) : textOfBytes(Buffer.concat(ids.map(bytes)))),
  };
}

/** The tokenizer and prompt of a run. Throws InputError for ids outside the vocabulary, and for more than the context holds. */
export function readPrompt(
  model: Model,
  options: PromptOptions,
  steps: number,
): { tokenizer: Tokenizer; prompt: Prompt } {
  const metadata = readGgufMetadata(model.file.path);
  const tokenizer = namingAllIds(tokenizerOrNumbers(metadata, options));
  const prompt = promptTokens(metadata, tokenizer, options);
  const { context, vocab } = model.parameters;
  const outside = prompt.tokens.find((id) => id >= vocab);
  if (outside !== undefined)
    throw new InputError(`token id ${outside} is outside the vocabulary of ${vocab}; ids run from 0 to ${vocab - 1}`);
  if (prompt.tokens.length === 0) throw new InputError("the prompt has no tokens; give some text with -p");
  if (prompt.tokens.length + steps > context) {
    throw new InputError(
      `${prompt.tokens.length} prompt tokens and ${steps} steps exceed the model's context of ${context}; shorten the prompt or lower -n`,
    );
  }
  return { tokenizer, prompt };
}

/** Texts of a model's tokens for reports; `<id>` where it has no tokenizer that works. */
export function piecesOf(model: Model): (id: number) => string {
  const { piece } = namingAllIds(tokenizerOrNumbers(readGgufMetadata(model.file.path), { tokens: [] }));
  return piece;
}
