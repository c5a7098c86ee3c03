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
  const first = rmsOf(stream.find((record) => record.layer !== null));
  return stream.map((record, i) => {
    const { nanCount, infCount } = record.statistics;
    const [rms, before] = [rmsOf(record), rmsOf(stream[i - 1])];
    const isStream = record.tap === "embed" || record.layer !== null;
    return {
      tap: record.tap,
      layer: record.layer,
      rms,
      maxAbs: knownStatistic("maxAbs", record.statistics),
      mean: knownStatistic("mean", record.statistics),
      growth: first === null || rms === null || record.layer === null ? null : rms / first,
      increment: before === null || rms === null || !isStream ? null : rms - before,
      nonFinite: nanCount + infCount,
    };
  });
}

/** The records of one step whose taps match the globs, in execution order. */
export function tapRows(records: readonly RecordSummary[], step: number, globs: readonly string[]): RecordSummary[] {
  const wants = tapMatcher(globs);
  return records.filter((record) => record.step === step && wants(record.tap));
}
