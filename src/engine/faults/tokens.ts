/** Faults of the token sequence: the arithmetic is right. */
import { InputError } from "../../trace/errors.ts";
import { type Fault, type FaultKind, family } from "./fault.ts";

export const TOKENS: readonly FaultKind[] = family("token", { kinds: [], at: "tokens" } as const, {
  "extra-bos": {
    what: "The sequence starts with BOS twice and every position is one too far: the template brings one and the tokenizer adds another.",
    tokens: (tokens, bos) => [bos, ...tokens],
  },
  "missing-bos": {
    what: "The sequence lacks its BOS and the first rows are far off: the tokenizer was told to add no special tokens.",
    tokens: (tokens, bos) => (tokens[0] === bos && tokens.length > 1 ? tokens.slice(1) : null),
  },
});

/** The sequence that a run with these faults has. Throws InputError where a fault would change nothing. */
export function faultyTokens(tokens: readonly number[], faults: readonly Fault[], bos: number | undefined) {
  return faults.reduce<readonly number[]>((sequence, { text, kind }) => {
    if (kind.tokens === undefined) return sequence;
    if (bos === undefined) throw new InputError(`${text}: the model has no BOS`);
    const faulty = kind.tokens(sequence, bos);
    if (faulty === null) {
      throw new InputError(
        `${text}: the ${sequence.length} tokens do not start with BOS ${bos} before another token, so none can be missing`,
      );
    }
    return faulty;
  }, tokens);
}
