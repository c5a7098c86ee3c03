// Tokenisation against llama.cpp: its own vectors, ids recorded from libllama, and laws.
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { ModelError } from "../../src/model/errors.ts";
import type { GgufMetadata, Tokenizer } from "../../src/model/tokenizer.ts";
import { tokenizerFromMetadata } from "../../src/model/tokenizer.ts";
import { preTokenizerNames } from "../../src/model/tokenizer-pre.ts";
import recorded from "../fixtures/tokenizer-special.json" with { type: "json" };
import { vectorsOf, vocabularyMetadata, vocabularyNames } from "../support/vocabularies.ts";

// The largest vocabularies take seconds to build where the machine is busy.
vi.setConfig({ testTimeout: 60_000 });

const EXACT = [
  "command-r",
  "deepseek-coder",
  "deepseek-llm",
  "falcon",
  "gemma-4",
  "gpt-2",
  "llama-bpe",
  "llama-spm",
  "mpt",
  "phi-3",
  "qwen2",
  "qwen35",
  "refact",
  "starcoder",
];
/** Also compared with libllama, though llama.cpp ships no vectors for them. */
const EXACT_WITHOUT_VECTORS = ["aquila", "baichuan", "gpt-neox"];
/** Refused, each for its reason. */
const REFUSED: Readonly<Record<string, string>> = {
  "bert-bge": "WordPiece: an encoder, it generates nothing to compare",
  "nomic-bert-moe": "Unigram: an encoder, it generates nothing to compare",
};

const built = new Map<string, Tokenizer>();
function tokenizer(name: string): Tokenizer {
  const made = built.get(name) ?? tokenizerFromMetadata(vocabularyMetadata(name));
  built.set(name, made);
  return made;
}

/** The smallest vocabularies that exercise a rule, without a file. */
const TINY_SPM: GgufMetadata = {
  "tokenizer.ggml.model": "llama",
  "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁a", "<0xC3>", "<0xA9>"],
  "tokenizer.ggml.scores": [0, 0, 0, -9, -9, -9, -1, -2, 0, 0],
  "tokenizer.ggml.token_type": [2, 3, 3, 1, 1, 1, 1, 1, 6, 6],
};
const TINY_BPE: GgufMetadata = {
  "tokenizer.ggml.model": "gpt2",
  "tokenizer.ggml.tokens": ["a", "b", "ab", "Ġ", "Ã", "©"],
  "tokenizer.ggml.merges": ["a b"],
};

/** GPT-2's 256 letters, the 256 byte tokens and "▁": every text can be written, nothing merges. */
function lettersOnly(): GgufMetadata {
  const letters = vocabularyMetadata("gpt-2")["tokenizer.ggml.tokens"];
  if (!Array.isArray(letters)) throw new Error("gpt-2: no tokens");
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const tokens = [...letters.slice(0, 256), "▁", ...bytes];
  return {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": tokens.map((_, id) => (id > 256 ? 6 : 1)),
    "tokenizer.ggml.merges": [],
  };
}

describe("llama.cpp's vectors", () => {
  it("every vocabulary is either exact or refused for a reason", () => {
    const { all, withVectors } = vocabularyNames();
    expect([...EXACT, ...EXACT_WITHOUT_VECTORS, ...Object.keys(REFUSED)].sort()).toEqual([...all].sort());
    expect(withVectors.filter((name) => !EXACT.includes(name) && !(name in REFUSED))).toEqual([]);
  });

  it.each(EXACT)("%s gives the ids of every text", (name) => {
    const vectors = vectorsOf(name);
    const options = { addSpecial: false, parseSpecial: false };
    const ours = vectors.map(({ text }) => ({ text, ids: tokenizer(name).encode(text, options) }));
    expect(vectors.length).toBeGreaterThanOrEqual(46);
    expect(ours).toEqual(vectors);
  });

  it.each(Object.keys(REFUSED))("%s is refused, not guessed at", (name) => {
    expect(() => tokenizer(name)).toThrow(/tokenizer\.ggml\.model: "(bert|t5)" is none of llama, gpt2, gemma4/);
  });
});

describe("libllama's record", () => {
  it.each(Object.entries(recorded.vocabularies))(
    "%s: special tokens, BOS, EOS and ends of generation",
    (name, want) => {
      const { bosId, eosId, eogIds, encode } = tokenizer(name);
      expect({ bosId, eosId, eogIds: [...eogIds].sort((a, b) => a - b) }).toEqual({
        bosId: want.bosId,
        eosId: want.eosId,
        eogIds: want.eogIds,
      });
      expect(recorded.texts.map((text) => encode(text))).toEqual(want.ids);
    },
  );
});

describe("laws", () => {
  const plain = { addSpecial: false, parseSpecial: false };
  const text = fc.string({ unit: "binary", maxLength: 60 });

  it.each(["gpt-2", "qwen2", "llama-bpe"])("byte-level %s: decoding undoes encoding", (name) => {
    const { encode, decode } = tokenizer(name);
    fc.assert(fc.property(text, (s) => decode(encode(s, plain)) === s));
  });

  it("SentencePiece: decoding undoes encoding, but for the sign that stands for space", () => {
    const { encode, decode } = tokenizer("llama-spm");
    fc.assert(fc.property(text, (s) => decode(encode(s, plain)) === s.replaceAll("▁", " ")));
  });

  it.each(["gpt-2", "gemma-4"])("%s: the bytes of the tokens, joined, are the bytes of the text", (name) => {
    const { encode, bytes } = tokenizer(name);
    fc.assert(
      fc.property(text, (s) => {
        fc.pre(!s.includes("▁"));
        expect(Buffer.concat(encode(s, plain).map(bytes)).toString("utf8")).toBe(s);
      }),
    );
  });

  it.each(preTokenizerNames())("the word splits of %s compile, and lose no text", (pre) => {
    const { encode, decode } = tokenizerFromMetadata({ ...lettersOnly(), "tokenizer.ggml.pre": pre });
    fc.assert(
      fc.property(text, (s) => {
        fc.pre(!s.includes("▁"));
        expect(decode(encode(s, plain))).toBe(s);
      }),
      { numRuns: 30 },
    );
  });

  it("half a surrogate pair encodes as U+FFFD does", () => {
    const { encode } = tokenizer("gpt-2");
    expect(encode("a\uD800")).toEqual(encode("a\uFFFD"));
  });
});

describe("small vocabularies", () => {
  it("SentencePiece joins the best score first and falls back to bytes", () => {
    const { encode } = tokenizerFromMetadata(TINY_SPM);
    expect(encode("ab")).toEqual([1, 3, 6]); // "ab" beats "▁a"
    expect(encode("aé")).toEqual([1, 7, 8, 9]);
    expect(encode("")).toEqual([1]);
  });

  it("the space prefix comes after special tokens too, unless asked for at the start only", () => {
    const { encode } = tokenizerFromMetadata(TINY_SPM);
    expect(encode("a</s>a")).toEqual([1, 7, 2, 7]);
    expect(encode("a</s>a", { spacePrefix: "at-start" })).toEqual([1, 7, 2, 4]);
  });

  it("decode takes off the space that encode put before the text, and shows special tokens", () => {
    const { encode, decode, piece } = tokenizerFromMetadata(TINY_SPM);
    expect(decode(encode("ab a", { addSpecial: false }))).toBe("ab a");
    expect(decode([1, 7])).toBe("<s> a");
    expect(piece(7)).toBe(" a");
    expect(piece(8)).toBe("\uFFFD"); // half of "é"
  });

  it("add_bos_token and add_eos_token override the defaults of the type", () => {
    const ends = { "tokenizer.ggml.bos_token_id": 4, "tokenizer.ggml.eos_token_id": 5 };
    const both = { "tokenizer.ggml.add_bos_token": true, "tokenizer.ggml.add_eos_token": true };
    expect(tokenizerFromMetadata({ ...TINY_BPE, ...ends }).encode("ab")).toEqual([2]);
    expect(tokenizerFromMetadata({ ...TINY_BPE, ...ends, ...both }).encode("ab")).toEqual([4, 2, 5]);
    expect(tokenizerFromMetadata({ ...TINY_SPM, "tokenizer.ggml.add_bos_token": false }).encode("ab")).toEqual([3, 6]);
  });

  it("a word that is a token stays whole where the row says so", () => {
    const metadata = { ...TINY_BPE, "tokenizer.ggml.merges": [], "tokenizer.ggml.add_bos_token": false };
    expect(tokenizerFromMetadata({ ...metadata, "tokenizer.ggml.pre": "llama-bpe" }).encode("ab")).toEqual([2]);
    expect(tokenizerFromMetadata({ ...metadata, "tokenizer.ggml.pre": "gpt-2" }).encode("ab")).toEqual([0, 1]);
  });
});

describe("errors name the thing, the numbers and the remedy", () => {
  const messageOf = (action: () => unknown): string => {
    try {
      action();
    } catch (error) {
      if (error instanceof ModelError) return error.message;
      throw error;
    }
    return "no error";
  };
  const refusal = (change: GgufMetadata, base = TINY_SPM) =>
    messageOf(() => tokenizerFromMetadata({ ...base, ...change }));

  it("of the file", () => {
    expect([
      messageOf(() => tokenizerFromMetadata({})),
      refusal({ "tokenizer.ggml.model": "rwkv" }),
      refusal({ "tokenizer.ggml.pre": "my-own" }, TINY_BPE),
      refusal({ "tokenizer.ggml.tokens": undefined }),
      refusal({ "tokenizer.ggml.tokens": 7 }),
      refusal({ "tokenizer.ggml.scores": [0] }),
      refusal({ "tokenizer.ggml.token_type": [1] }),
      refusal({ "tokenizer.ggml.merges": undefined }, TINY_BPE),
      refusal({ "tokenizer.ggml.tokens": ["a", "b", "a"] }, TINY_BPE),
      refusal({ "tokenizer.ggml.bos_token_id": 10 }),
      refusal({ "tokenizer.ggml.add_bos_token": true }, TINY_BPE),
    ]).toMatchInlineSnapshot(`
      [
        "tokenizer.ggml.model: missing, the file has no tokenizer; pass token ids instead of text",
        "tokenizer.ggml.model: "rwkv" is none of llama, gpt2, gemma4; pass token ids instead of text",
        "tokenizer.ggml.pre: "my-own" is none of the 77 word splits known here; pass token ids instead of text, or add its regexes to tokenizer-pre.ts",
        "tokenizer.ggml.tokens: no vocabulary in the file; pass token ids instead of text",
        "tokenizer.ggml.tokens: number, not an array of strings; the file was written wrongly, convert the model again",
        "tokenizer.ggml.scores: 1 scores for 10 tokens; convert the model again",
        "tokenizer.ggml.token_type: 1 types for 10 tokens; convert the model again",
        "tokenizer.ggml.merges: missing, and a BPE vocabulary needs it; convert the model again",
        "tokenizer.ggml.tokens: "a" is token 0 and token 2; read the file with a reader that keeps a leading U+FEFF, or convert the model again",
        "tokenizer.ggml.bos_token_id: 10 is outside the vocabulary of 10 tokens; correct the key in the file",
        "tokenizer.ggml.add_bos_token: true, but the file names no bos_token_id; correct either key",
      ]
    `);
  });

  it("of the request", () => {
    const { piece, encode } = tokenizerFromMetadata(TINY_SPM);
    expect([
      messageOf(() => piece(10)),
      messageOf(() => piece(-1)),
      messageOf(() => encode("ß")),
    ]).toMatchInlineSnapshot(`
      [
        "token 10: not in the vocabulary of 10 tokens; the ids come from another model, or from an embedding padded past its vocabulary; check which file made them",
        "token -1: not in the vocabulary of 10 tokens; the ids come from another model, or from an embedding padded past its vocabulary; check which file made them",
        "tokenizer.ggml.tokens: neither "ß" nor its byte <0x9F> is a token; the vocabulary cannot write this text, leave the character out",
      ]
    `);
  });
});
