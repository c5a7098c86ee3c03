// How each byte-level vocabulary cuts text into words before merging: one row per `tokenizer.ggml.pre`.
//
// These regexes define a tokenizer as much as its vocabulary does. They state what llama.cpp does, for that is what
// its traces contain, also where a model's own tokenizer.json differs: outside ASCII llama.cpp takes \p{Lu}, \p{Ll}
// and their kin all for \p{L}. Regexes of a row apply in turn, each to the pieces that the one before it left, and
// what a regex does not match is a piece too. Encoder-only models are left out: they generate nothing to compare.
import { ModelError } from "./errors.ts";

export interface PreTokenizer {
  readonly splits: readonly string[];
  /** A word that is a token as a whole stays whole, whatever the merges would build. */
  readonly ignoreMerges?: true;
  /** What holds where the file has no `add_bos_token`. */
  readonly addBos?: true;
  /** BOS comes first even where the file says otherwise. */
  readonly forcesBos?: true;
  /** There is no BOS unless the file names one. */
  readonly noDefaultBos?: true;
  /** Merges work on plain UTF-8 with "▁" for space, and on byte tokens as a last resort. */
  readonly plainText?: true;
  /** A run of newlines that is a token stays whole. */
  readonly wholeNewlines?: true;
}

const re = String.raw;

const LOWER_CONTRACTION = "'s|'t|'re|'ve|'m|'ll|'d";
const CONTRACTION = "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";
const SPACES = re`\s+(?!\S)|\s+`;
const NEWLINES_OR_SPACES = re`\s*[\r\n]+|${SPACES}`;
const SYMBOLS = re` ?[^\s\p{L}\p{N}]+`;
const WORD = re`[^\r\n\p{L}\p{N}]?\p{L}+`;
const ASCII_SYMBOL_WORD = re`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~][A-Za-z]+`;
const HAN_KANA = re`[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+`;
/** The range takes in Unicode's spaces, but llama.cpp has turned those into vertical tabs by then. */
const HAN_TO_HANGUL = re`(?:(?!\s)[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF])+`;
const HAN = re`\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2EBEF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}`;
const EAST_ASIAN =
  re`[\u4E00-\u9FFF\u3400-\u4DBF\u8C48-\uFAFF\u3040-\u309F\u30A0-\u30FF\uFF65-\uFF9F\u2F00-\u2FDF` +
  re`\u0E40-\u0E7F\u0E80-\u0EFF\u1780-\u17FF\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF\uAC00-\uD7AF` +
  re`\u1100-\u11FF]+`;
const YOUTU_SCRIPTS =
  re`[\uAC00-\uD7A3\u3131-\u318E]+|[\uFF01\u2026\u201C\u201D\u2018\u2019\u2014\uFF1A\uFF1B\uFF0C` +
  re`\u3001-\u303F\uFE30-\uFE4F]+|[\u3105-\u312F]+|[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+`;
const NOT_BLOOM_PUNCTUATION = re` ?[^(\s|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C)]+`;
/** Cased letters as of the Unicode version that DeepSeek's first tokenizer was made with. */
const DEEPSEEK_LETTERS = [
  String.raw`A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF`,
  String.raw`\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1\u03A3-\u03F5`,
  String.raw`\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA`,
  String.raw`\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45`,
  String.raw`\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE`,
  String.raw`\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC`,
  String.raw`\u2102\u2107\u210A-\u2113\u2115\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139`,
  String.raw`\u213C-\u213F\u2145-\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3`,
  String.raw`\uA640-\uA66D\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06`,
  String.raw`\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}`,
  String.raw`\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}`,
].join("");
/** Threes counted from the right. llama.cpp leaves whatever precedes a number in one piece with its first group. */
const DIGITS_FROM_RIGHT = re`\P{N}*\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`;

const GPT2 = re`${LOWER_CONTRACTION}| ?\p{L}+| ?\p{N}+|${SYMBOLS}|${SPACES}`;
const llama3 = (digits: string) => re`(?:${CONTRACTION})|${WORD}|${digits}|${SYMBOLS}[\r\n]*|${NEWLINES_OR_SPACES}`;
const LLAMA3 = llama3(re`\p{N}{1,3}`);
const QWEN2 = llama3(re`\p{N}`);
const QWEN2_WITHOUT_CONTRACTIONS = re`${WORD}|\p{N}|${SYMBOLS}[\r\n]*|${NEWLINES_OR_SPACES}`;
const QWEN35 =
  re`(?:${CONTRACTION})|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|` +
  re`${NEWLINES_OR_SPACES}`;
const EXAONE_MOE =
  re`(?:${CONTRACTION})|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|${SYMBOLS}[\r\n/]?|\s*[\r\n]|` +
  re`${SPACES}`;
/** A word split where lower case turns to upper: capitals then small letters, or capitals alone. */
const camelWord = (letter: string, tail: string) =>
  re`[^\r\n\p{L}\p{N}]?(?:(?![a-z])${letter})*(?:(?![A-Z])${letter})+${tail}|` +
  re`[^\r\n\p{L}\p{N}]?(?:(?![a-z])${letter})+(?:(?![A-Z])${letter})*${tail}`;
const camel = (letter: string, tail: string, digits: string) =>
  re`${camelWord(letter, tail)}|${digits}|${SYMBOLS}[\r\n/]*|${NEWLINES_OR_SPACES}`;
const markedWord = (digits: string) =>
  re`[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:${CONTRACTION})?|${digits}|${SYMBOLS}[\r\n/]*|${NEWLINES_OR_SPACES}`;
const deepseek3 = (symbolTail: string, newlines: string) =>
  re`${ASCII_SYMBOL_WORD}|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+${symbolTail}|${newlines}|${SPACES}`;
const KIMI =
  re`[${HAN}]+|[^\r\n\p{L}\p{N}]?(?:(?![${HAN}])\p{L})+(?:${CONTRACTION})?|\p{N}{1,3}|` +
  re`${SYMBOLS}[\r\n]*|${NEWLINES_OR_SPACES}`;

const DEFAULT: PreTokenizer = {
  splits: [re`[\p{P}\$\+<=>\^~\|]+`, GPT2, re`\p{N}+`, "[0-9][0-9][0-9]"],
};
const gpt2: PreTokenizer = { splits: [GPT2] };
const digitwiseGpt2: PreTokenizer = { splits: [re`\p{N}`, GPT2] };
const llama: PreTokenizer = { splits: [LLAMA3], ignoreMerges: true, addBos: true };
const plainLlama: PreTokenizer = { splits: [LLAMA3] };
const qwen2: PreTokenizer = { splits: [QWEN2] };
const deepseekV3: PreTokenizer = {
  splits: [re`\p{N}{1,3}`, HAN_KANA, deepseek3(re`[\r\n]*`, re`\s*[\r\n]+`)],
};
const gpt4o: PreTokenizer = { splits: [camel(re`\p{L}`, `(?:${CONTRACTION})?`, re`\p{N}{1,3}`)] };
const bailing: PreTokenizer = {
  splits: [re`'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|${WORD}|\p{N}|${SYMBOLS}[\r\n]*|\s*[\r\n]|${SPACES}`],
};
const bloom: PreTokenizer = { splits: [NOT_BLOOM_PUNCTUATION] };
const lines: PreTokenizer = { splits: [re`[^\n]+|[\n]+`], plainText: true };
const digitGroups: PreTokenizer = { splits: [DIGITS_FROM_RIGHT, markedWord(re`\p{N}{1,3}`)] };

// biome-ignore format: one row per name
const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map(Object.entries<PreTokenizer>({
  "default":           DEFAULT,
  "gpt-2":             gpt2,
  "phi-2":             gpt2,
  "gigachat":          gpt2,
  "a.x-4.0":           gpt2,
  "mellum":            gpt2,
  "mpt":               gpt2,
  "olmo":              gpt2,
  "jais":              gpt2,
  "exaone4":           gpt2,
  "trillion":          gpt2,
  "granite-docling":   gpt2,
  "starcoder":         digitwiseGpt2,
  "refact":            digitwiseGpt2,
  "command-r":         digitwiseGpt2,
  "smollm":            digitwiseGpt2,
  "codeshell":         digitwiseGpt2,
  "exaone":            digitwiseGpt2,
  "minerva-7b":        digitwiseGpt2,
  "mellum2":           digitwiseGpt2,
  "falcon":            { splits: [re`[\p{P}\$\+<=>\^~\|${"`"}]+`, GPT2, "[0-9][0-9][0-9]"] },
  "llama3":            llama,
  "llama-v3":          llama,
  "llama-bpe":         llama,
  "falcon3":           llama,
  "falcon-h1":         llama,
  "pixtral":           llama,
  "midm-2.0":          llama,
  "lfm2":              llama,
  "dbrx":              plainLlama,
  "smaug-bpe":         plainLlama,
  "glm4":              { ...plainLlama, noDefaultBos: true },
  "chatglm-bpe":       { ...plainLlama, noDefaultBos: true },
  "qwen2":             qwen2,
  "deepseek-r1-qwen":  qwen2,
  "kormo":             qwen2,
  "megrez":            qwen2,
  "stablelm2":         qwen2,
  "hunyuan":           qwen2,
  "solar-open":        qwen2,
  "grok-2":            qwen2,
  "ufakzeka":          { splits: [QWEN2_WITHOUT_CONTRACTIONS] },
  "qwen35":            { splits: [QWEN35] },
  "laguna":            { splits: [re`[^\n]+|[\n]+`, QWEN2] },
  "minicpm5":          { splits: [re`\p{N}{1,3}`, llama3(re`\p{N}+`)], ignoreMerges: true },
  "seed-coder":        { splits: [re`(?:${CONTRACTION})|${WORD}|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|${NEWLINES_OR_SPACES}`] },
  "jais-2":            { splits: [
    re`(?:${CONTRACTION})|${WORD}|\p{N}{1,3}|${SYMBOLS}[\r\n]*|\s*[\r\n]+|` +
    [512, 256, 128, 64, 32, 16, 8, 4, "1,2"].map((run) => re`\s{${run}}(?!\S)|`).join("") + re`\s`] },
  "deepseek-llm":      { splits: [
    re`[\r\n]`, `\\s?[${DEEPSEEK_LETTERS}]+`, re`\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3001\u3002]+`,
    re`\s+(?![\s\S])`, HAN_TO_HANGUL, re`\p{N}+`] },
  "deepseek-coder":    { splits: [re`[\r\n]`, re`\s?\p{L}+`, re`\s?\p{P}+`, HAN_TO_HANGUL, re`\p{N}`] },
  "deepseek-v3":       deepseekV3,
  "hunyuan-dense":     deepseekV3,
  "joyai-llm":         deepseekV3,
  "hy_v4":             deepseekV3,
  "spark2_5":          { splits: [re`\p{N}{1,3}`, HAN_KANA, deepseek3("", re`[\r\n]`), re`\p{N}`] },
  "youtu":             { splits: [YOUTU_SCRIPTS, markedWord(re`\p{N}`)], ignoreMerges: true },
  "tiny_aya":          digitGroups,
  "cohere2moe":        digitGroups,
  "afmoe":             { splits: [DIGITS_FROM_RIGHT, EAST_ASIAN, deepseek3(re`[\r\n]*`, re`\s*[\r\n]+`)] },
  "poro-chat":         bloom,
  "bloom":             bloom,
  "gpt3-finnish":      bloom,
  "viking":            { splits: [NOT_BLOOM_PUNCTUATION, re`\p{N}`] },
  "tekken":            { splits: [camel(re`\p{L}`, "", re`\p{N}`)], ignoreMerges: true, addBos: true },
  "gpt-4o":            gpt4o,
  "llama4":            gpt4o,
  "kanana2":           gpt4o,
  "talkie":            gpt4o,
  "minimax-m2":        gpt4o,
  "kimi-k2":           { splits: [KIMI] },
  "superbpe":          { splits: [re`\p{N}+`, "(?=([0-9]{3})+(?![0-9]))"] },
  "bailingmoe":        bailing,
  "bailingmoe2":       bailing,
  "llada-moe":         bailing,
  "exaone-moe":        { splits: [EXAONE_MOE] },
  "chameleon":         { splits: [
    "<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", re`[\t\n]|    |  `, re`\p{N}`, re`[\p{P}!-/:-@\[-${"`"}{-~]`, GPT2],
    addBos: true },
  "gemma4":            { ...lines, wholeNewlines: true, forcesBos: true },
  "sarvam-moe":        lines,
}));

/** The row of a `tokenizer.ggml.pre`; a file without one gets llama.cpp's "default". */
export function preTokenizerNamed(name = "default"): PreTokenizer {
  const row = PRE_TOKENIZERS.get(name);
  if (row !== undefined) return row;
  throw new ModelError(
    `tokenizer.ggml.pre: "${name}" is none of the ${PRE_TOKENIZERS.size} word splits known here; ` +
      "pass token ids instead of text, or add its regexes to tokenizer-pre.ts",
  );
}

/** All names that a file may give, for the tests to go through. */
export const preTokenizerNames = (): readonly string[] => [...PRE_TOKENIZERS.keys()];
