/** The two things a trace holds: one manifest, and one record per (step, tap). */
import { z } from "zod";
import { elementsOf, rowsAndColumns } from "./dims.ts";
import { hashOf, SKETCH_SIZE, sketchOf } from "./sketch.ts";
import { type Statistics, statisticsOf } from "./statistics.ts";

export const FORMAT_VERSION = "1";

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

/** Who made the trace, from what, and with which settings. Unknown keys are kept: a newer producer may say more. */
export const manifestSchema = z.looseObject({
  producer: z.looseObject({
    name: z.string(),
    version: z.string(),
    device: z.string(),
    dtype: z.string(),
    settings: z.record(z.string(), scalar),
  }),
  model: z.looseObject({
    file: z.string(),
    size: z.number().nullable(),
    sha256: z.string().nullable(),
    architecture: z.string(),
    hyperParameters: z.record(z.string(), scalar),
    quantisation: z.string().nullable(),
  }),
  prompt: z.string().nullable(),
  /** Token ids of each step, in order. */
  tokens: z.array(z.array(z.number().int().nonnegative())),
  /** The text of each token of `tokens`, same shape. */
  pieces: z.array(z.array(z.string())),
  faults: z.array(z.string()),
  created: z.string(),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** What is known of a record before its data: the graph's facts about one op in one step. */
export interface RecordPlan {
  readonly step: number;
  /** Position of the first row's token in the sequence. */
  readonly posStart: number;
  readonly tap: string;
  readonly op: string;
  /** What the engine computed and stored in. */
  readonly dtype: string;
  readonly dims: string;
  readonly layer: number | null;
  readonly shape: readonly number[];
  readonly inputs: readonly string[];
  readonly weights: readonly string[];
}

export interface TraceRecord extends RecordPlan {
  /** Execution order in the trace. */
  readonly seq: number;
  readonly statistics: Statistics;
  readonly rowRms: Float32Array;
  /** 16 numbers a row; empty at capture level `stats`. */
  readonly sketch: Float32Array;
  readonly hash: bigint;
  readonly elapsedUs: number | null;
  readonly values: Float32Array | null;
}

/** Builds a record from a whole tensor in memory: what importers, references and the oracle use. */
export function recordFromValues(
  plan: RecordPlan,
  seq: number,
  values: Float32Array,
  keep: { sketch: boolean; values: boolean },
): TraceRecord {
  if (values.length !== elementsOf(plan.shape)) {
    throw new Error(`${plan.tap}: ${values.length} values for shape [${plan.shape.join(", ")}]`);
  }
  const { rows, columns } = rowsAndColumns(plan.shape);
  return {
    ...plan,
    seq,
    ...statisticsOf(values, rows, columns),
    sketch: keep.sketch ? sketchOf(values, rows, columns) : new Float32Array(0),
    hash: hashOf(values),
    elapsedUs: null,
    values: keep.values ? values : null,
  };
}

/** Throws if a record contradicts itself. Checked by the writer, so that no file ever holds such a record. */
export function checkRecord(record: TraceRecord): void {
  const { rows } = rowsAndColumns(record.shape);
  const count = elementsOf(record.shape);
  const problem =
    record.statistics.count !== count
      ? `counts ${record.statistics.count} elements`
      : record.rowRms.length !== rows
        ? `has ${record.rowRms.length} row RMS for ${rows} rows`
        : record.sketch.length !== 0 && record.sketch.length !== rows * SKETCH_SIZE
          ? `has a sketch of ${record.sketch.length} numbers for ${rows} rows`
          : record.values !== null && record.values.length !== count
            ? `has ${record.values.length} values`
            : null;
  if (problem !== null) throw new Error(`record ${record.tap} [${record.shape.join(", ")}] ${problem}`);
}
