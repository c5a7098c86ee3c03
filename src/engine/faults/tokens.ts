/** Faults of the token sequence: the arithmetic is right. */
import { InputError } from "../../trace/errors.ts";
import { type Fault, type FaultKind, family, type TokenFaultTokenizer } from "./fault.ts";

export const TOKENS: readonly FaultKind[] = family("token", { kinds: [], at: "tokens" } as const, {
  "extra-bos": {
    what: "The sequence starts with BOS twice and every position is one too far: the template brings one and the tokenizer adds another.",
    tokens: (tokens, { bosId: bos }) => (bos === undefined ? "the model has no BOS" : [bos, ...tokens]),
  },
  "missing-bos": {
    what: "The sequence lacks its BOS and the first rows are far off: the tokenizer was told to add no special tokens.",
    tokens: (tokens, { bosId: bos }) => {
      if (bos === undefined) return "the model has no BOS";
      return tokens[0] === bos && tokens.length > 1
        ? tokens.slice(1)
        : `the ${tokens.length} tokens do not start with BOS ${bos} before another token, so none can be missing`;
    },
  },
  "space-prefix": {
    what: "The first word is another token (with a space for without, or the reverse) and the rest of the text is the same: the space that some tokenizers put before a text was added, or left out, where the model wants it otherwise.",
    tokens: (tokens, { bosId: bos, encode, decode }) => {
      const special = tokens[0] === bos ? tokens.slice(0, 1) : [];
      const rest = tokens.slice(special.length);
      const plain = { addSpecial: false };
      const text = decode(rest);
      if (encode(text, plain).join() !== rest.join()) return "its tokens are not what its text would give";
      const faulty = encode(text.startsWith(" ") ? text.slice(1) : ` ${text}`, plain);
      return faulty.length === 0 || faulty.join() === rest.join()
        ? "a space before the text changes no token"
        : [...special, ...faulty];
    },
  },
});

/** The sequence that a run with these faults has. Throws InputError where a fault would change nothing. */
export function faultyTokens(tokens: readonly number[], faults: readonly Fault[], tokenizer: TokenFaultTokenizer) {
  return faults.reduce<readonly number[]>((sequence, { text, kind }) => {
    const faulty = kind.tokens?.(sequence, tokenizer) ?? sequence;
    if (typeof faulty === "string") throw new InputError(`${text}: ${faulty}`);
    return faulty;
  }, tokens);
}
