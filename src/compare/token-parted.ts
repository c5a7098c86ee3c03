/** Two token sequences and the texts around their first difference: what causes are judged from. */
import { joined, plainText } from "./token-text.ts";
import type { TokenAlignment } from "./tokens.ts";

/** Control tokens, by the names that they have in vocabularies; `<div>` may be one of text. */
export const SPECIAL =
  /^(<[|｜].+[|｜]>|<\/?s>|<(unk|bos|eos|pad|mask|start_of_turn|end_of_turn)>|\[(CLS|SEP|PAD|UNK|MASK|BOS|EOS)\])$/u;
/** Two sequences and where they part. */
export interface Parted {
  readonly expected: readonly number[];
  readonly actual: readonly number[];
  readonly expectedPieces: readonly string[];
  readonly actualPieces: readonly string[];
  /** The text of each; null where it is not known in what differs. */
  readonly whole: Readonly<Record<Side, string | null>>;
  /** The first run that differs; where the texts are the same, up to where both cut them at the same place again. */
  readonly run: Readonly<Record<Side, Run>>;
  /** True where the run stands at the start, a BOS before it or not, or after a special token: where a space prefix is put. */
  readonly opensText: boolean;
  /** True after a special token in the middle, where vocabularies may also say that white space is stripped. */
  readonly afterSpecial: boolean;
}

export interface Run {
  readonly ids: readonly number[];
  readonly pieces: readonly string[];
  /** Null where it is not known: no pieces in a trace, or part of a character. */
  readonly text: string | null;
}

export type Side = "expected" | "actual";
export const SIDES = ["expected", "actual"] as const;
export const otherOf = (side: Side): Side => (side === "expected" ? "actual" : "expected");

/** Where two sequences part; null where they are the same. */
export function partedAt({
  expected,
  actual,
  expectedPieces,
  actualPieces,
  edits,
}: Pick<TokenAlignment, "expected" | "actual" | "expectedPieces" | "actualPieces" | "edits">): Parted | null {
  const [first] = edits;
  if (first === undefined) return null;
  const sides = {
    expected: { ids: expected, pieces: expectedPieces, from: first.expectedFrom, to: first.expectedTo },
    actual: { ids: actual, pieces: actualPieces, from: first.actualFrom, to: first.actualTo },
  };
  const differing = edits.map((edit) => [
    plainText(expected, expectedPieces, edit.expectedFrom, edit.expectedTo),
    plainText(actual, actualPieces, edit.actualFrom, edit.actualTo),
  ]);
  // Pieces that are no whole character do no harm where both sides have them.
  const isKnown = differing.every(([e, a]) => e !== null && a !== null);
  const whole = {
    expected: isKnown ? joined(expectedPieces.slice(0, expected.length)) : null,
    actual: isKnown ? joined(actualPieces.slice(0, actual.length)) : null,
  };
  if (isKnown && whole.expected === whole.actual) {
    const end = commonCut(
      expectedPieces.slice(first.expectedFrom, expected.length),
      actualPieces.slice(first.actualFrom, actual.length),
    );
    sides.expected.to = first.expectedFrom + end.expected;
    sides.actual.to = first.actualFrom + end.actual;
  }
  const run = ({ ids, pieces, from, to }: (typeof sides)[Side]): Run => ({
    ids: ids.slice(from, to),
    pieces: pieces.slice(from, to),
    text: plainText(ids, pieces, from, to),
  });
  const isSpecial = SPECIAL.test(expectedPieces[first.expectedFrom - 1] ?? "");
  return {
    ...{ expected, actual, expectedPieces, actualPieces, whole },
    run: { expected: run(sides.expected), actual: run(sides.actual) },
    opensText: first.expectedFrom === 0 || isSpecial,
    afterSpecial: first.expectedFrom > 1 && isSpecial,
  };
}

/** Of one text in pieces of two kinds: how many of each up to the first place where both end a piece. */
function commonCut(expected: readonly string[], actual: readonly string[]): Record<Side, number> {
  const count = { expected: 1, actual: 1 };
  let [e, a] = [expected[0]?.length ?? 0, actual[0]?.length ?? 0];
  while (e !== a && count.expected <= expected.length && count.actual <= actual.length) {
    if (e < a) e += expected[count.expected++]?.length ?? 0;
    else a += actual[count.actual++]?.length ?? 0;
  }
  return count;
}
