/** Tokens first: where two sequences part, and which positions after that still belong together. */
import type { Trace } from "../trace/reader.ts";
import type { Manifest } from "../trace/record.ts";

/** Positions that one side may have more than the other before sequences are given up as different: a BOS, a space, a template's head. */
const LARGEST_SHIFT = 8;

export interface TokenDifference {
  readonly position: number;
  /** Null where the sequence has ended. */
  readonly expected: number | null;
  readonly actual: number | null;
  readonly expectedPiece: string | null;
  readonly actualPiece: string | null;
}

export interface TokenAlignment {
  readonly expected: readonly number[];
  readonly actual: readonly number[];
  /** Text of each actual position. */
  readonly actualPieces: readonly string[];
  /** Null where one sequence is the beginning of the other, or both are the same. */
  readonly difference: TokenDifference | null;
  /** After the difference, position p of the actual sequence is position p - shift of the expected one; null where nothing fits. */
  readonly shift: number | null;
  /** The expected position of an actual one; null where it has none. */
  of(position: number): number | null;
}

/** The sequence of a run: the token at each position, as the last step that computed it was given, and the first such step. */
export function sequenceOf(
  { tokens, pieces }: Manifest,
  posStarts: readonly number[],
): { ids: number[]; pieces: string[]; firstSteps: number[] } {
  const ids: number[] = [];
  const firstSteps: number[] = [];
  const texts: string[] = [];
  tokens.forEach((step, number) => {
    const start = posStarts[number] ?? ids.length;
    step.forEach((id, i) => {
      ids[start + i] = id;
      firstSteps[start + i] ??= number;
      texts[start + i] = pieces[number]?.[i] ?? `<${id}>`;
    });
  });
  return { ids, pieces: texts, firstSteps };
}

/** The sequence of a trace. */
export function traceSequence(trace: Trace) {
  const starts: number[] = [];
  // A step may have records of its last rows only; it starts with the first row of any.
  for (const { tap, step, posStart } of trace.records)
    if (!tap.startsWith("weight:")) starts[step] = Math.min(starts[step] ?? posStart, posStart);
  return sequenceOf(trace.manifest, starts);
}

/** Aligns two sequences. */
export function alignTokens(
  expected: { readonly ids: readonly number[]; readonly pieces: readonly string[] },
  actual: { readonly ids: readonly number[]; readonly pieces: readonly string[] },
): TokenAlignment {
  const [e, a] = [expected.ids, actual.ids];
  const shortest = Math.min(e.length, a.length);
  let at = 0;
  while (at < shortest && e[at] === a[at]) at++;
  const parts = at < shortest;
  const shift = parts ? shiftAfter(e, a, at) : null;
  return {
    expected: e,
    actual: a,
    actualPieces: actual.pieces,
    difference: parts
      ? {
          position: at,
          expected: e[at] ?? null,
          actual: a[at] ?? null,
          expectedPiece: expected.pieces[at] ?? null,
          actualPiece: actual.pieces[at] ?? null,
        }
      : null,
    shift,
    of(position) {
      if (position < at) return position;
      if (shift === null) return null;
      const other = position - shift;
      return other >= at && other < e.length && e[other] === a[position] ? other : null;
    },
  };
}

/** The shift under which most of what follows agrees; null where no shift makes more than half of it agree. */
function shiftAfter(expected: readonly number[], actual: readonly number[], from: number): number | null {
  let best: { shift: number; share: number } = { shift: 0, share: 0.5 };
  for (let size = 0; size <= LARGEST_SHIFT; size++) {
    for (const shift of size === 0 ? [0] : [size, -size]) {
      let [alike, compared] = [0, 0];
      for (let p = Math.max(from, from + shift); p < actual.length && p - shift < expected.length; p++) {
        compared++;
        if (actual[p] === expected[p - shift]) alike++;
      }
      // One token that agrees by chance is no evidence.
      if (compared > 1 && alike / compared > best.share) best = { shift, share: alike / compared };
    }
  }
  return best.share > 0.5 ? best.shift : null;
}
