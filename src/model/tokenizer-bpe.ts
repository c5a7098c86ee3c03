// Byte-pair encoding by @huggingface/tokenizers, from a configuration in the shape of a tokenizer.json that the GGUF's
// metadata and the table of word splits fill. Special tokens are cut out before, so the configuration names none.
// A byte that a vocabulary lacks (StarCoder's has gaps) is dropped without a word, as llama.cpp drops it.
import { Tokenizer } from "@huggingface/tokenizers";
import type { Vocabulary } from "./vocabulary.ts";

/** Builds the encoder of plain text; building takes about half a second for 150000 tokens. */
export function bpeEncoder(vocabulary: Vocabulary): (text: string) => number[] {
  const { pre } = vocabulary;
  const splits = pre.splits.map((regex) => ({
    type: "Split",
    pattern: { Regex: regex },
    behavior: "Isolated",
    invert: false,
  }));
  const bytes = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
  const config = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: pre.plainText ? splits : [...splits, bytes] },
    post_processor: null,
    decoder: null,
    model: {
      type: "BPE",
      vocab: Object.fromEntries(vocabulary.idOf),
      merges: pairsOf(vocabulary.merges),
      ignore_merges: pre.ignoreMerges ?? false,
      byte_fallback: pre.plainText ?? false,
    },
  };
  const library = new Tokenizer(config, {});
  const encode = (text: string) => library.encode(text, { add_special_tokens: false }).ids;
  if (pre.wholeNewlines === undefined) return encode;
  return (text) =>
    text.split(/(\n+)/).flatMap((part, index) => {
      const whole = index % 2 === 1 ? vocabulary.idOf.get(part) : undefined;
      if (whole !== undefined) return [whole];
      return part === "" ? [] : encode(part);
    });
}

/** A pair parts at its first space but not at the very start; of a pair listed twice the first rank counts. */
function pairsOf(merges: readonly string[]): [string, string][] {
  return [...new Set(merges)].map((merge) => {
    const space = merge.indexOf(" ", 1);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}
