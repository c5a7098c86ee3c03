/** One pair: what its data say, then what that is worth beside its budget. */
import type { RecordSummary, Trace } from "../trace/reader.ts";
import { knownStatistic } from "../trace/statistics.ts";
import { type Judgement, judge } from "./budget.ts";
import type { Envelope } from "./envelope.ts";
import { countsOf, distanceOf, noDistance, type Room } from "./evidence.ts";
import { type LogitsRow, logitsRow } from "./logits.ts";
import { type Distance, type Evidence, NO_NON_FINITE, type NonFinite, relativeDistance, rowsOf } from "./metrics.ts";
import type { PairNoise } from "./pair-noise.ts";
import type { Pair } from "./pairs.ts";

/** What became of one pair. */
export interface ComparedOp {
  readonly step: number;
  readonly posStart: number;
  readonly tap: string;
  readonly op: string;
  readonly layer: number | null;
  readonly shape: readonly number[];
  readonly dims: string;
  readonly dtypes: { readonly expected: string; readonly actual: string };
  readonly evidence: Evidence | "hash";
  readonly judgement: Judgement;
  /** relL2 of the envelope beside the expected trace; null where there is none. */
  readonly natural: number | null;
  readonly cosine: number | null;
  readonly largest: Distance["largest"];
  readonly ulps: Distance["ulps"];
  readonly nonFinite: NonFinite;
  /** Null where it is not known. */
  readonly rms: { readonly expected: number | null; readonly actual: number | null };
  readonly verdict: "alike" | "numeric" | "non-finite" | "other-context";
  readonly isOrigin: boolean;
  /** Of an origin: the taps that feed it and were not compared in its step. */
  readonly unseen: readonly string[];
}

export interface Judged {
  readonly pair: Pair;
  readonly op: ComparedOp;
  readonly logits: readonly LogitsRow[];
}

/** True for the verdicts that make a comparison divergent. */
export const divergentVerdict = ({ verdict }: ComparedOp) => verdict === "numeric" || verdict === "non-finite";

/** What the data of a pair say, before it is judged. */
export interface Measured {
  readonly pair: Pair;
  readonly records: { readonly expected: RecordSummary; readonly actual: RecordSummary };
  readonly distance: Distance | null;
  /** True where nothing is known on both sides. NaN and Inf are a finding even where nothing else is known. */
  readonly isSilent: boolean;
  readonly isHash: boolean;
  readonly nonFinite: NonFinite;
  readonly natural: Distance | null;
  /** Rows of logits, their noise for a relL2 of 1. */
  readonly logits: readonly LogitsRow[];
}

/** Reads a pair and measures it: budgets are known only when all pairs are measured. */
export async function measurePair(
  expected: Trace,
  actual: Trace,
  pair: Pair,
  envelope: Envelope | null,
  room: Room,
): Promise<Measured> {
  const { distance, values, isHash } = await distanceOf(expected, actual, pair, room);
  const [e, a] = [expected.records[pair.expected], actual.records[pair.actual]] as [RecordSummary, RecordSummary];
  const counts = countsOf(e, a);
  const isLogits = pair.tap === "logits" && pair.sameContext && values !== null;
  const logits = isLogits ? logitsOf(values.expected, values.actual, pair) : [];
  return {
    pair,
    records: { expected: e, actual: a },
    distance,
    isSilent: distance === null && counts === NO_NON_FINITE,
    isHash,
    nonFinite: distance?.evidence === "values" && !isHash ? distance.nonFinite : counts,
    natural: envelope === null ? null : await envelope(pair),
    logits,
  };
}

/** Judges a measured pair. */
export function judgePair(measured: Measured, noise: PairNoise): Judged {
  const { pair, isHash, nonFinite } = measured;
  const { expected: e, actual: a } = measured.records;
  const distance = measured.distance ?? noDistance("statistics");
  const judgement = judge(distance, {
    evidence: distance.evidence,
    outer: pair.layout.outer,
    columns: pair.layout.columns,
    rows: rowsOf(pair.ranges),
    ...noise,
    envelope: measured.natural,
  });
  const isBad = nonFinite.differing > 0 || nonFinite.same > 0;
  const verdict = !pair.sameContext
    ? "other-context"
    : isBad
      ? "non-finite"
      : judgement.share <= 1
        ? "alike"
        : "numeric";
  return {
    pair,
    op: {
      step: pair.step,
      posStart: pair.posStart,
      tap: pair.tap,
      op: a.op,
      layer: a.layer,
      shape: a.shape,
      dims: a.dims,
      dtypes: { expected: e.dtype, actual: a.dtype },
      evidence: isHash ? "hash" : distance.evidence,
      judgement,
      natural: measured.natural === null ? null : relativeDistance(measured.natural),
      cosine: distance.cosine,
      largest: distance.largest,
      ulps: distance.ulps,
      nonFinite,
      rms: { expected: knownStatistic("rms", e.statistics), actual: knownStatistic("rms", a.statistics) },
      verdict,
      isOrigin: false,
      unseen: [],
    },
    logits: measured.logits.map((row) => ({ ...row, noise: row.noise * judgement.allowed })),
  };
}

/** Rows of logits, their noise for a relL2 of 1. */
function logitsOf(expected: Float32Array, actual: Float32Array, pair: Pair): LogitsRow[] {
  const { layout, ranges, posStart } = pair;
  const row = (values: Float32Array, token: number) =>
    values.subarray(token * layout.columns, (token + 1) * layout.columns);
  return ranges.flatMap(({ expectedToken, actualToken, count }) =>
    Array.from({ length: count }, (_, t) =>
      logitsRow(row(expected, expectedToken + t), row(actual, actualToken + t), posStart + actualToken + t, 1),
    ),
  );
}
