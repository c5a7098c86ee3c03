// The vocabulary of a GGUF: every token's text, type and score, and which ids are special. Cuts no text.
import { ModelError } from "./errors.ts";
import type { GgufMetadata } from "./metadata.ts";
import { optionalBoolean, optionalInteger, optionalNumbers, optionalString, optionalStrings } from "./metadata.ts";
import { flagsOf, markSpecialTokens } from "./token-flags.ts";
import type { PreTokenizer } from "./tokenizer-pre.ts";
import { preTokenizerNamed } from "./tokenizer-pre.ts";

export interface Vocabulary {
  /** "spm" merges by the score of the result, "bpe" by the rank of the pair. */
  readonly kind: "spm" | "bpe";
  readonly texts: readonly string[];
  readonly idOf: ReadonlyMap<string, number>;
  readonly flags: Uint8Array; // [token]
  readonly scores: ArrayLike<number>; // [token]; empty where the file has none
  readonly merges: readonly string[]; // "left right", by rank
  readonly pre: PreTokenizer;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly eogIds: ReadonlySet<number>;
  readonly addBos: boolean;
  readonly addEos: boolean;
  readonly addSpacePrefix: boolean;
}

interface Family {
  readonly kind: "spm" | "bpe";
  readonly pre?: string; // overrides tokenizer.ggml.pre
  readonly bosId?: number;
  readonly eosId?: number;
  readonly addBos: boolean;
  readonly addSpacePrefix: boolean;
}

/** One row per `tokenizer.ggml.model`, with what llama.cpp assumes where the file is silent. */
const FAMILIES: ReadonlyMap<string, Family> = new Map(
  Object.entries<Family>({
    llama: { kind: "spm", pre: "default", bosId: 1, eosId: 2, addBos: true, addSpacePrefix: true },
    gpt2: { kind: "bpe", bosId: 11, eosId: 11, addBos: false, addSpacePrefix: false },
    gemma4: { kind: "bpe", pre: "gemma4", addBos: false, addSpacePrefix: false },
  }),
);

/** Reads and checks the tokenizer section of a GGUF. */
export function vocabularyFromMetadata(metadata: GgufMetadata): Vocabulary {
  const family = familyOf(metadata);
  const preName = family.pre ?? optionalString(metadata, "tokenizer.ggml.pre");
  const pre = preTokenizerNamed(preName);
  const stored = optionalStrings(metadata, "tokenizer.ggml.tokens");
  if (stored === undefined || stored.length === 0) {
    throw new ModelError("tokenizer.ggml.tokens: no vocabulary in the file; pass token ids instead of text");
  }
  const merges = optionalStrings(metadata, "tokenizer.ggml.merges");
  if (family.kind === "bpe" && merges === undefined) {
    throw new ModelError("tokenizer.ggml.merges: missing, and a BPE vocabulary needs it; convert the model again");
  }
  const scores = optionalNumbers(metadata, "tokenizer.ggml.scores") ?? [];
  if (scores.length < stored.length && (family.kind === "spm" || scores.length > 0)) {
    throw new ModelError(
      `tokenizer.ggml.scores: ${scores.length} scores for ${stored.length} tokens; convert the model again`,
    );
  }

  const texts = namedEmptyTokens(stored);
  const idOf = idsByText(texts);
  const flags = flagsOf(metadata, texts.length);
  const eogIds = markSpecialTokens(metadata, idOf, flags);
  const { bosId, eosId } = specialIds(metadata);
  if (eosId !== undefined) eogIds.add(eosId);

  const addBos =
    pre.forcesBos ?? optionalBoolean(metadata, "tokenizer.ggml.add_bos_token") ?? pre.addBos ?? family.addBos;
  const addEos = optionalBoolean(metadata, "tokenizer.ggml.add_eos_token") ?? false;
  requireId("bos", addBos, bosId);
  requireId("eos", addEos, eosId);
  return {
    kind: family.kind,
    texts,
    idOf,
    flags,
    scores,
    merges: merges ?? [],
    pre,
    bosId,
    eosId,
    eogIds,
    addBos,
    addEos,
    addSpacePrefix: optionalBoolean(metadata, "tokenizer.ggml.add_space_prefix") ?? family.addSpacePrefix,
  };
}

/** The ids that open and close a sequence: the file's, or what llama.cpp assumes for the type of vocabulary. */
export function specialIds(metadata: GgufMetadata): { bosId: number | undefined; eosId: number | undefined } {
  const family = familyOf(metadata);
  const size = optionalStrings(metadata, "tokenizer.ggml.tokens")?.length ?? 0;
  const pre = preTokenizerNamed(family.pre ?? optionalString(metadata, "tokenizer.ggml.pre"));
  const read = (key: string, fallback: number | undefined): number | undefined => {
    const id = optionalInteger(metadata, `tokenizer.ggml.${key}`);
    if (id === undefined) return fallback !== undefined && fallback < size ? fallback : undefined;
    if (id >= 0 && id < size) return id;
    throw new ModelError(
      `tokenizer.ggml.${key}: ${id} is outside the vocabulary of ${size} tokens; correct the key in the file`,
    );
  };
  return {
    bosId: read("bos_token_id", pre.noDefaultBos ? undefined : family.bosId),
    eosId: read("eos_token_id", family.eosId),
  };
}

function familyOf(metadata: GgufMetadata): Family {
  const model = optionalString(metadata, "tokenizer.ggml.model");
  if (model === undefined) {
    throw new ModelError("tokenizer.ggml.model: missing, the file has no tokenizer; pass token ids instead of text");
  }
  const family = FAMILIES.get(model);
  if (family !== undefined) return family;
  throw new ModelError(
    `tokenizer.ggml.model: "${model}" is none of ${[...FAMILIES.keys()].join(", ")}; pass token ids instead of text`,
  );
}

function requireId(name: string, wanted: boolean, id: number | undefined): void {
  if (!wanted || id !== undefined) return;
  throw new ModelError(
    `tokenizer.ggml.add_${name}_token: true, but the file names no ${name}_token_id; correct either key`,
  );
}

/** llama.cpp's name for a token without text. */
function namedEmptyTokens(texts: readonly string[]): readonly string[] {
  return texts.map((text, id) => (text === "" ? `[EMPTY_${id}]` : text));
}

/** As in llama.cpp, no text may stand for two tokens. Readers that drop a leading U+FEFF make it seem so. */
function idsByText(texts: readonly string[]): ReadonlyMap<string, number> {
  const idOf = new Map<string, number>();
  for (const [id, text] of texts.entries()) {
    const earlier = idOf.get(text);
    if (earlier !== undefined) {
      throw new ModelError(
        `tokenizer.ggml.tokens: ${JSON.stringify(text)} is token ${earlier} and token ${id}; ` +
          "read the file with a reader that keeps a leading U+FEFF, or convert the model again",
      );
    }
    idOf.set(text, id);
  }
  return idOf;
}
