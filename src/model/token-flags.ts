// What kind of token each one is: GGUF's type, corrected by what its text gives away, and which ones end generation.
import { ModelError } from "./errors.ts";
import type { GgufMetadata } from "./metadata.ts";
import { optionalInteger, optionalNumbers, optionalString } from "./metadata.ts";

/** Flags of one token. A token may carry several: GGUF's type, and what its text gives away. */
export const TokenFlag = {
  normal: 1,
  unknown: 2,
  control: 4,
  userDefined: 8,
  unused: 16,
  byte: 32,
  /** White space to the right of the token belongs to it. */
  stripsRight: 64,
} as const;

/** `tokenizer.ggml.token_type` to flags; the index is GGUF's number. */
const FLAGS_OF_TYPE = [
  0,
  TokenFlag.normal,
  TokenFlag.unknown,
  TokenFlag.control,
  TokenFlag.userDefined,
  TokenFlag.unused,
  TokenFlag.byte,
] as const;

/** Texts that end generation in some model family, whatever the file says of them. */
const END_OF_GENERATION = [
  ..."<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s>".split(
    " ",
  ),
  ..."<|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response>".split(" "),
  "<｜end▁of▁sentence｜>",
  "[e~[",
];

/** Fill-in-the-middle markers: key, and the texts that stand for it where the key is absent. First found wins. */
const MARKERS: readonly {
  readonly keys: readonly string[];
  readonly texts: readonly string[];
  readonly ends: boolean;
}[] = [
  {
    keys: ["fim_pre_token_id", "prefix_token_id"],
    texts: [
      "<|fim_prefix|>",
      "<fim-prefix>",
      "<fim_prefix>",
      "<｜fim▁begin｜>",
      "<PRE>",
      "▁<PRE>",
      "<|code_prefix|>",
      "<|prefix|>",
    ],
    ends: false,
  },
  {
    keys: ["fim_suf_token_id", "suffix_token_id"],
    texts: [
      "<|fim_suffix|>",
      "<fim-suffix>",
      "<fim_suffix>",
      "<｜fim▁hole｜>",
      "<SUF>",
      "▁<SUF>",
      "<|code_suffix|>",
      "<|suffix|>",
    ],
    ends: false,
  },
  {
    keys: ["fim_mid_token_id", "middle_token_id"],
    texts: [
      "<|fim_middle|>",
      "<fim-middle>",
      "<fim_middle>",
      "<｜fim▁end｜>",
      "<MID>",
      "▁<MID>",
      "<|code_middle|>",
      "<|middle|>",
    ],
    ends: false,
  },
  { keys: ["fim_pad_token_id"], texts: ["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"], ends: true },
  {
    keys: ["fim_rep_token_id"],
    texts: ["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
    ends: true,
  },
  { keys: ["fim_sep_token_id"], texts: ["<|file_sep|>"], ends: true },
];

/** Harmony's markers of structure: they are text to the reader, never control. */
const ALWAYS_SHOWN = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/** The types that the file states. */
export function flagsOf(metadata: GgufMetadata, size: number): Uint8Array {
  const types = optionalNumbers(metadata, "tokenizer.ggml.token_type");
  if (types === undefined) return new Uint8Array(size).fill(TokenFlag.normal);
  if (types.length < size) {
    throw new ModelError(
      `tokenizer.ggml.token_type: ${types.length} types for ${size} tokens; convert the model again`,
    );
  }
  return Uint8Array.from({ length: size }, (_, id) => FLAGS_OF_TYPE[types[id] ?? 0] ?? 0);
}

/**
 * Corrects in place the flags of tokens whose text gives them away, as llama.cpp does; returns those that end
 * generation.
 */
export function markSpecialTokens(
  metadata: GgufMetadata,
  idOf: ReadonlyMap<string, number>,
  flags: Uint8Array,
): Set<number> {
  const ends = new Set<number>();
  const control = (id: number) => {
    flags[id] = (flags[id] ?? 0) | TokenFlag.control;
  };
  for (const marker of MARKERS) {
    const named = marker.keys
      .map((key) => optionalInteger(metadata, `tokenizer.ggml.${key}`))
      .findLast((id) => id !== undefined);
    const found = named ?? marker.texts.map((text) => idOf.get(text)).find((id) => id !== undefined);
    if (found === undefined || found >= flags.length) continue;
    if (named === undefined) control(found);
    if (marker.ends) ends.add(found);
  }
  for (const text of END_OF_GENERATION) {
    const id = idOf.get(text);
    if (id === undefined) continue;
    control(id);
    ends.add(id);
  }
  for (const key of ["eot_token_id", "eom_token_id"]) {
    const id = optionalInteger(metadata, `tokenizer.ggml.${key}`);
    if (id !== undefined && id < flags.length) ends.add(id);
  }
  for (const text of ALWAYS_SHOWN) {
    const id = idOf.get(text);
    if (id !== undefined) flags[id] = TokenFlag.userDefined;
  }
  withdrawEnd("<|end|>", TokenFlag.userDefined, [
    ["<|return|>", "<|call|>"],
    ["<|return|>", "<|calls|>"],
    ["<|call|>", "<|flush|>"],
    ["<|calls|>", "<|flush|>"],
  ]);
  withdrawEnd("</s>", TokenFlag.normal, [["<|tool_response>"]]);
  stripRightOfPhi3(metadata, idOf, flags);
  return ends;

  /** In a vocabulary with other ends, this one is an ordinary mark. */
  function withdrawEnd(text: string, flag: number, others: readonly (readonly string[])[]): void {
    const id = idOf.get(text);
    if (id === undefined || !others.some((set) => set.every((other) => idOf.has(other)))) return;
    ends.delete(id);
    flags[id] = flag;
  }
}

/** Phi-3's special tokens swallow the white space after them; the GGUF says so only through the model's name. */
function stripRightOfPhi3(metadata: GgufMetadata, idOf: ReadonlyMap<string, number>, flags: Uint8Array): void {
  const name = optionalString(metadata, "general.name")?.toLowerCase() ?? "";
  if (!name.includes("phi-3") && !name.includes("phi3")) return;
  const kept = new Set(["<unk>", "<s>", "<|endoftext|>"].map((text) => idOf.get(text)));
  const special = TokenFlag.control | TokenFlag.userDefined | TokenFlag.unknown;
  for (const [id, flag] of flags.entries()) {
    if ((flag & special) !== 0 && !kept.has(id)) flags[id] = flag | TokenFlag.stripsRight;
  }
}
