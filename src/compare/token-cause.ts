/** What is wrong with a token sequence, from the two sequences and their pieces alone. */
import { otherOf, type Parted, partedAt, SIDES, SPECIAL } from "./token-parted.ts";
import { differAt, NORMALISERS } from "./token-text.ts";
import type { TokenAlignment } from "./tokens.ts";

export interface TokenCause {
  readonly hypothesis: TokenCauseId;
  readonly what: string;
}

/** Tokens that end a text or a turn; `<|end_header_id|>` ends neither. */
const ENDS =
  /^(<\/s>|<(eos|end_of_turn|end_of_utterance)>|<[|｜](im_end|end|eot|eot_id|eom_id|eos|endoftext|end_of_text|end_of_turn|end[_▁]of[_▁]sentence)[|｜]>|\[(SEP|EOS)\])$/iu;

/** True if the shorter one is the beginning of the longer; one token alike is no evidence. */
function begins(a: readonly number[], b: readonly number[]): boolean {
  const length = Math.min(a.length, b.length);
  return length > 1 && a.slice(0, length).every((id, i) => id === b[i]);
}

const isOneMoreAtEnd = (longer: readonly number[], pieces: readonly string[], shorter: readonly number[]) =>
  longer.length === shorter.length + 1 && shorter.every((id, i) => id === longer[i]) && ENDS.test(pieces.at(-1) ?? "");

/** GPT-2's alphabet writes a space as Ġ. */
const isSpaced = (longer: string, shorter: string) => longer === ` ${shorter}` || longer === `\u0120${shorter}`;
const lineFeeds = (text: string) => text.split("\n").length - 1;
const quoted = (text: string) => JSON.stringify(text);
const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;

/** The causes, the most specific first: each says what holds, or null where it does not. */
const CAUSES = {
  "token.extra-bos": ({ expected, actual, actualPieces }: Parted) => {
    if (!SPECIAL.test(actualPieces[0] ?? "") || !begins(actual.slice(1), expected)) return null;
    if (actual[0] !== expected[0]) return `${actualPieces[0]} stands before the text, where the expected one has none`;
    return actual[1] === expected[0] && expected[1] !== expected[0]
      ? "the first token stands twice: a template brings one, the tokenizer adds another"
      : null;
  },

  "token.missing-bos": ({ expected, actual, expectedPieces }: Parted) =>
    SPECIAL.test(expectedPieces[0] ?? "") && actual[0] !== expected[0] && begins(actual, expected.slice(1))
      ? "the first token is missing: no special token was added"
      : null,

  "token.extra-eos": ({ expected, actual, actualPieces }: Parted) =>
    isOneMoreAtEnd(actual, actualPieces, expected)
      ? `${actualPieces.at(-1)} stands at the end: an end of text was added`
      : null,

  "token.missing-eos": ({ expected, actual, expectedPieces }: Parted) =>
    isOneMoreAtEnd(expected, expectedPieces, actual)
      ? `${expectedPieces.at(-1)} is missing at the end: no end of text was added`
      : null,

  "token.special-split": ({ run }: Parted) => {
    if (run.expected.text === null || run.expected.text !== run.actual.text) return null;
    for (const side of SIDES) {
      const [own, other] = [run[side], run[otherOf(side)]];
      const at = own.ids.findIndex((id, i) => SPECIAL.test(own.pieces[i] ?? "") && !other.ids.includes(id));
      if (at >= 0)
        return `${own.pieces[at]} is one token on the ${side} side and cut into pieces of text on the other: special tokens are not parsed there`;
    }
    return null;
  },

  "token.space-prefix": ({ run, afterSpecial, opensText }: Parted) => {
    const [e, a] = [run.expected.text, run.actual.text];
    if (e === null || a === null) return null;
    const more = isSpaced(a, e) ? "has" : isSpaced(e, a) ? "lacks" : null;
    // Without a word beside it a space is a prefix only where a prefix is put.
    if (more === null || ((e.trim() === "" || a.trim() === "") && !opensText)) return null;
    const how = more === "has" ? "has a space that the expected one lacks" : "lacks the space of the expected one";
    const why = afterSpecial
      ? "after a special token one side puts a space, or the other strips one"
      : "the space prefix was handled otherwise";
    return `the first piece that differs ${how}: ${why}`;
  },

  "token.newline": ({ run }: Parted) => {
    const [e, a] = [run.expected.text, run.actual.text];
    if (e === null || a === null || e.trim() !== a.trim() || !/\n/.test(e + a)) return null;
    if (e === a) return e.trim() === "" ? `the same white space ${quoted(e)} is cut otherwise` : null;
    if (lineFeeds(e) === lineFeeds(a)) return null;
    const [of, to] = differAt(e, a);
    return `line feeds differ, ${lineFeeds(e)} expected and ${lineFeeds(a)} there: expected ${of}, actual ${to}`;
  },

  "token.normaliser": ({ run, whole }: Parted) => {
    const texts = [[run.expected.text, run.actual.text] as const, [whole.expected, whole.actual] as const];
    for (const { name, apply } of NORMALISERS) {
      for (const [e, a] of texts) {
        if (e !== null && a !== null && e !== a && apply(e) === apply(a)) {
          return `the texts are equal after ${name} and not as they stand: expected ${differAt(e, a).join(", actual ")}`;
        }
      }
    }
    return null;
  },

  "token.other-cut": ({ run: { expected, actual } }: Parted) => {
    if (expected.text === null || expected.text !== actual.text) return null;
    if (expected.pieces.length === actual.pieces.length && expected.pieces.every((p, i) => p === actual.pieces[i]))
      return `the same pieces ${quoted(expected.text)} have other ids: a piece stands in the vocabulary twice, or the vocabularies differ`;
    return `the same text ${quoted(expected.text)} is cut into ${counted(expected.ids.length, "piece")}, actual ${actual.ids.length}: pre-tokenizer or merges differ`;
  },

  "token.other-text": ({ whole: { expected: e, actual: a } }: Parted) => {
    if (e === null || a === null || e === a) return null;
    const [of, to] = differAt(e, a);
    return `the texts differ: expected ${of}, actual ${to}`;
  },
} as const satisfies Record<string, (parted: Parted) => string | null>;

type TokenCauseId = keyof typeof CAUSES;

/** Ids of the causes, the most specific first. */
export const TOKEN_CAUSES = Object.keys(CAUSES) as readonly TokenCauseId[];
/** What can be told of a sequence that a run has in part chosen itself: how it begins. */
const OF_THE_START: readonly TokenCauseId[] = ["token.extra-bos", "token.missing-bos"];

/**
 * The first cause that holds of two tokenised prompts; null where the sequences are the same, and where none is certain. All but the
 * first four are of the first difference alone.
 */
export function promptCause(alignment: TokenAlignment): TokenCause | null {
  return causeAmong(TOKEN_CAUSES, alignment);
}

/**
 * The cause in two runs, whose sequences may end anywhere and hold tokens that the runs chose: of those only how they begin is judged.
 * @param isPrompt True if the first difference lies in what was tokenised.
 */
export function tokenCause(alignment: TokenAlignment, isPrompt = true): TokenCause | null {
  if (alignment.difference === null) return null;
  // That the texts differ is no more than the difference says.
  const among = isPrompt ? TOKEN_CAUSES.filter((id) => id !== "token.other-text") : OF_THE_START;
  return causeAmong(among, alignment);
}

function causeAmong(ids: readonly TokenCauseId[], alignment: TokenAlignment): TokenCause | null {
  const parted = partedAt(alignment);
  if (parted === null) return null;
  for (const hypothesis of ids) {
    const what = CAUSES[hypothesis](parted);
    if (what !== null) return { hypothesis, what };
  }
  return null;
}
