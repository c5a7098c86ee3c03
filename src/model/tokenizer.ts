// Text to token ids and back, from a GGUF's own metadata, as llama.cpp does it.
import type { GgufMetadata } from "./metadata.ts";
import { specialSplitter } from "./special-tokens.ts";
import { textOfBytes, tokenBytes } from "./token-bytes.ts";
import { bpeEncoder } from "./tokenizer-bpe.ts";
import { encodeSpm } from "./tokenizer-spm.ts";
import type { Vocabulary } from "./vocabulary.ts";
import { vocabularyFromMetadata } from "./vocabulary.ts";

export type { GgufMetadata } from "./metadata.ts";

export interface EncodeOptions {
  /** Add BOS and EOS where the model wants them. Default true; false for a rendered chat, which brings its own. */
  readonly addSpecial?: boolean;
  /** Read "<|im_end|>" and its like as tokens, not as text. Default true. */
  readonly parseSpecial?: boolean;
  /**
   * Where a SentencePiece vocabulary puts a space before text: "after-special" is at the start and after every special
   * token, as llama.cpp and HuggingFace's `legacy=True` do; "at-start" is HuggingFace's `legacy=False`.
   * Default "after-special". A model without space prefix ignores it.
   */
  readonly spacePrefix?: "after-special" | "at-start";
}

export interface Tokenizer {
  readonly size: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  /** Tokens that end generation. */
  readonly eogIds: ReadonlySet<number>;
  /** llama_tokenize, with its two flags. */
  encode(text: string, options?: EncodeOptions): number[];
  /** The text of a sequence, special tokens included; the space that `encode` puts at the start is taken off. */
  decode(ids: readonly number[]): string;
  /** The text of one token for a reader, as llama_token_to_piece gives it; a partial character shows as U+FFFD. */
  piece(id: number): string;
  /** The bytes of one token: a character may be spread over several. */
  bytes(id: number): Uint8Array;
}

/** Builds the tokenizer that a GGUF describes; nothing is fetched. */
export function tokenizerFromMetadata(metadata: GgufMetadata): Tokenizer {
  const vocabulary = vocabularyFromMetadata(metadata);
  const { bosId, eosId, addBos, addEos } = vocabulary;
  const split = specialSplitter(vocabulary);
  const encodeText = plainTextEncoder(vocabulary);
  const bytes = (id: number) => tokenBytes(vocabulary, id);

  return {
    size: vocabulary.texts.length,
    bosId,
    eosId,
    eogIds: vocabulary.eogIds,
    bytes,
    piece: (id) => textOfBytes(bytes(id)),
    encode(text, { addSpecial = true, parseSpecial = true, spacePrefix = "after-special" } = {}) {
      // Half of a surrogate pair has no UTF-8, so no engine can ever be given one.
      const fragments = split(text.toWellFormed(), parseSpecial);
      const ids = fragments.flatMap((fragment, index) => {
        if (typeof fragment === "number") return [fragment];
        const prefixed = index === 0 || (spacePrefix === "after-special" && typeof fragments[index - 1] === "number");
        return encodeText(fragment, prefixed && vocabulary.addSpacePrefix);
      });
      if (addSpecial && addBos && bosId !== undefined) ids.unshift(bosId);
      if (addSpecial && addEos && eosId !== undefined) ids.push(eosId);
      return ids;
    },
    decode(ids) {
      const text = textOfBytes(Buffer.concat(ids.map(bytes)));
      return vocabulary.addSpacePrefix && text.startsWith(" ") ? text.slice(1) : text;
    },
  };
}

/** Encodes text without special tokens. The BPE model is built when first needed: showing a trace needs only pieces. */
function plainTextEncoder(vocabulary: Vocabulary): (text: string, spacePrefix: boolean) => number[] {
  if (vocabulary.kind === "spm") {
    return (text, spacePrefix) => encodeSpm(vocabulary, `${spacePrefix ? " " : ""}${text}`.replaceAll(" ", "▁"));
  }
  let encoder: ((text: string) => number[]) | undefined;
  return (text) => {
    encoder ??= bpeEncoder(vocabulary);
    return encoder(vocabulary.pre.plainText ? text.replaceAll(" ", "▁") : text);
  };
}
