/** Tokens first: where two sequences part, and which positions after that still belong together. */
import { TraceError } from "../trace/errors.ts";
import type { Trace } from "../trace/reader.ts";
import type { Manifest } from "../trace/record.ts";
import { type Edit, tokenEdits } from "./token-edits.ts";

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
  /** Text of each position. */
  readonly expectedPieces: readonly string[];
  readonly actualPieces: readonly string[];
  /** The runs that differ, to the end of both sequences. */
  readonly edits: readonly Edit[];
  /** Null where one sequence is the beginning of the other, or both are the same. */
  readonly difference: TokenDifference | null;
  /** Most positions p after the difference belong to p - shift of the expected sequence; null where nothing fits. */
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

/** The sequence of a trace. Throws TraceError where a step's records begin behind all tokens that its manifest has until then. */
export function traceSequence(trace: Trace) {
  const starts: number[] = [];
  for (const { tap, step, posStart } of trace.records)
    if (!tap.startsWith("weight:")) starts[step] = Math.min(starts[step] ?? posStart, posStart);
  let length = 0;
  // A step may have records of its last rows only: it starts where the steps before it end, or earlier.
  trace.manifest.tokens.forEach(({ length: own }, step) => {
    const start = starts[step] ?? length;
    if (start >= length + Math.max(own, 1)) {
      throw new TraceError(
        `${trace.path}: step ${step} begins at position ${start}, and ${length} tokens come before it in its manifest; make the trace again`,
      );
    }
    starts[step] = Math.min(start, length);
    length = Math.max(length, starts[step] + own);
  });
  return sequenceOf(trace.manifest, starts);
}

/**
 * Aligns two sequences by the fewest edits between them. What is equal after the first difference belongs together only if it is more
 * than half of the shorter remainder: a few tokens of other texts are always alike.
 */
export function alignTokens(
  expected: { readonly ids: readonly number[]; readonly pieces: readonly string[] },
  actual: { readonly ids: readonly number[]; readonly pieces: readonly string[] },
): TokenAlignment {
  const [e, a] = [expected.ids, actual.ids];
  const edits = tokenEdits(e, a);
  const shortest = Math.min(e.length, a.length);
  const at = commonLength(e, a);
  const equal = equalAfter(edits, at, e.length);
  const isEvidence = equal.size > 1 && equal.size > (shortest - at) / 2;
  return {
    ...{ expected: e, actual: a, edits },
    expectedPieces: expected.pieces,
    actualPieces: actual.pieces,
    difference:
      at < shortest
        ? {
            position: at,
            expected: e[at] ?? null,
            actual: a[at] ?? null,
            expectedPiece: expected.pieces[at] ?? null,
            actualPiece: actual.pieces[at] ?? null,
          }
        : null,
    shift: isEvidence ? mostFrequentShift(equal) : null,
    of: (position) => (position < at ? position : isEvidence ? (equal.get(position) ?? null) : null),
  };
}

/** Tokens that both begin with. */
function commonLength(e: readonly number[], a: readonly number[]): number {
  const shortest = Math.min(e.length, a.length);
  let length = 0;
  while (length < shortest && e[length] === a[length]) length++;
  return length;
}

/** Actual positions from `from` on, with the expected ones that are equal to them: what lies between the edits and after the last. */
function equalAfter(edits: readonly Edit[], from: number, end: number): Map<number, number> {
  const pairs = new Map<number, number>();
  for (const [i, { expectedTo, actualTo }] of edits.entries()) {
    const count = (edits[i + 1]?.expectedFrom ?? end) - expectedTo;
    for (let n = 0; n < count; n++) if (actualTo + n >= from) pairs.set(actualTo + n, expectedTo + n);
  }
  return pairs;
}

function mostFrequentShift(pairs: ReadonlyMap<number, number>): number {
  const counts = new Map<number, number>();
  for (const [a, e] of pairs) counts.set(a - e, (counts.get(a - e) ?? 0) + 1);
  return [...counts].reduce((best, each) => (each[1] > best[1] ? each : best))[0];
}
