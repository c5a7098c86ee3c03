/** What is wrong with a token sequence, where the difference is one that the catalogue knows. */
import type { TokenAlignment } from "./tokens.ts";

export const TOKEN_CAUSES = ["token.extra-bos", "token.missing-bos", "token.space-prefix"] as const;

export interface TokenCause {
  readonly hypothesis: (typeof TOKEN_CAUSES)[number];
  readonly what: string;
}

/**
 * From the two sequences and their pieces alone: the actual one is the expected one with its first token twice, or without it; or
 * the first pieces that differ are the same text but for a leading space. Null where nothing of that holds.
 */
export function tokenCause({ expected, actual, difference }: TokenAlignment): TokenCause | null {
  if (difference === null) return null;
  const same = (a: readonly number[], b: readonly number[]) => {
    const length = Math.min(a.length, b.length);
    return length > 0 && a.slice(0, length).every((id, i) => id === b[i]);
  };
  const [first] = expected;
  if (actual[0] === first && actual[1] === first && expected[1] !== first && same(actual.slice(1), expected)) {
    return {
      hypothesis: "token.extra-bos",
      what: "the first token stands twice: a template brings one, the tokenizer adds another",
    };
  }
  if (difference.position === 0 && same(actual, expected.slice(1)) && actual[0] !== first) {
    return { hypothesis: "token.missing-bos", what: "the first token is missing: no special token was added" };
  }
  const { expectedPiece: e, actualPiece: a } = difference;
  const bare = (piece: string) => piece.replace(/^[ \u2581\u0120]/, "");
  if (e !== null && a !== null && e !== a && bare(e) === bare(a) && bare(e) !== "") {
    const what =
      a.length > e.length ? "has a space that the expected one lacks" : "lacks the space of the expected one";
    return {
      hypothesis: "token.space-prefix",
      what: `the first piece that differs ${what}: the space prefix was handled otherwise`,
    };
  }
  return null;
}
