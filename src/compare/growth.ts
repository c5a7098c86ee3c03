/** How the hidden states grow through the layers: facts of one trace, no judgement. */
import { tapMatcher } from "../trace/capture.ts";
import type { RecordSummary } from "../trace/reader.ts";
import { knownStatistic } from "../trace/statistics.ts";
import { nameInLayer } from "../trace/taps.ts";

export interface GrowthRow {
  readonly tap: string;
  readonly layer: number | null;
  /** Null where it is not known; the same for the two below. */
  readonly rms: number | null;
  readonly maxAbs: number | null;
  readonly mean: number | null;
  /** RMS over that of the first layer's output; null before it, and where either is not known. */
  readonly growth: number | null;
  /** RMS less that of the row before; null in the first row, and where either is not known. */
  readonly increment: number | null;
  /** Mean less that of the row before; null as above. */
  readonly drift: number | null;
  /** True if the mean has another sign than in the row before. */
  readonly flips: boolean;
  readonly nonFinite: number;
}

/** The residual stream of one step: `embed`, each layer's `output`, `final_norm`, `logits`, as far as they were recorded. */
export function growthTable(records: readonly RecordSummary[], step: number): GrowthRow[] {
  const stream = records.filter(
    (record) =>
      record.step === step &&
      (["embed", "final_norm", "logits"].includes(record.tap) ||
        (record.layer !== null && nameInLayer(record.tap) === "output")),
  );
  const rmsOf = (record: RecordSummary | undefined) =>
    record === undefined ? null : knownStatistic("rms", record.statistics);
  const meanOf = (record: RecordSummary | undefined) =>
    record === undefined ? null : knownStatistic("mean", record.statistics);
  const first = rmsOf(stream.find((record) => record.layer !== null));
  return stream.map((record, i) => {
    const { nanCount, infCount } = record.statistics;
    const isStream = record.tap === "embed" || record.layer !== null;
    const last = isStream ? stream[i - 1] : undefined;
    const [rms, before] = [rmsOf(record), rmsOf(last)];
    const [mean, meanBefore] = [meanOf(record), meanOf(last)];
    return {
      tap: record.tap,
      layer: record.layer,
      rms,
      maxAbs: knownStatistic("maxAbs", record.statistics),
      mean,
      growth: first === null || rms === null || record.layer === null ? null : rms / first,
      increment: before === null || rms === null ? null : rms - before,
      drift: meanBefore === null || mean === null ? null : mean - meanBefore,
      flips: mean !== null && meanBefore !== null && mean * meanBefore < 0,
      nonFinite: nanCount + infCount,
    };
  });
}

/** A tap's RMS beside that of a reference. */
export interface RmsPair {
  readonly tap: string;
  /** Of the trace and of the reference; null where it is not known or the reference lacks the tap. */
  readonly rms: number | null;
  readonly reference: number | null;
  /** rms / reference; null where one is not known, or both are 0. */
  readonly ratio: number | null;
}

/** Records of one step beside the reference's records of the same taps. */
export function rmsPairs(
  records: readonly Pick<RecordSummary, "tap" | "statistics">[],
  reference: readonly RecordSummary[],
  step: number,
): RmsPair[] {
  const theirs = new Map(reference.filter((record) => record.step === step).map((record) => [record.tap, record]));
  return records.map(({ tap, statistics }) => {
    const other = theirs.get(tap);
    const rms = knownStatistic("rms", statistics);
    const beside = other === undefined ? null : knownStatistic("rms", other.statistics);
    const ratio = rms === null || beside === null || (rms === 0 && beside === 0) ? null : rms / beside;
    return { tap, rms, reference: beside, ratio };
  });
}

/** The records of one step whose taps match the globs, in execution order. */
export function tapRows(records: readonly RecordSummary[], step: number, globs: readonly string[]): RecordSummary[] {
  const wants = tapMatcher(globs);
  return records.filter((record) => record.step === step && wants(record.tap));
}
