/** How the hidden states grow through the layers: facts of one trace, no judgement. */
import { tapMatcher } from "../trace/capture.ts";
import type { RecordSummary } from "../trace/reader.ts";
import { nameInLayer } from "../trace/taps.ts";

export interface GrowthRow {
  readonly tap: string;
  readonly layer: number | null;
  readonly rms: number;
  readonly maxAbs: number;
  readonly mean: number;
  /** RMS over that of the first layer's output; null before it. */
  readonly growth: number | null;
  /** RMS less that of the row before; null in the first row. */
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
  const first = stream.find((record) => record.layer !== null)?.statistics.rms;
  return stream.map((record, i) => {
    const { rms, maxAbs, mean, nanCount, infCount } = record.statistics;
    const before = stream[i - 1]?.statistics.rms;
    const isStream = record.tap === "embed" || record.layer !== null;
    return {
      tap: record.tap,
      layer: record.layer,
      rms,
      maxAbs,
      mean,
      growth: first === undefined || record.layer === null ? null : rms / first,
      increment: before === undefined || !isStream ? null : rms - before,
      nonFinite: nanCount + infCount,
    };
  });
}

/** The records of one step whose taps match the globs, in execution order. */
export function tapRows(records: readonly RecordSummary[], step: number, globs: readonly string[]): RecordSummary[] {
  const wants = tapMatcher(globs);
  return records.filter((record) => record.step === step && wants(record.tap));
}
