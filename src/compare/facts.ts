/** What the noise model asks of two traces: row sizes and distances, columns, dtypes and steps. */
import type { RecordSummary, Trace } from "../trace/reader.ts";
import { type Distance, ratio } from "./metrics.ts";
import type { NoiseFacts } from "./noise.ts";
import { type Pair, tokenAxis } from "./pairs.ts";

export interface StepRows {
  readonly step: number;
  readonly posStart: number;
  readonly count: number;
}

/** A pair, and how far apart its records are: null where nothing is known of that. */
export interface MeasuredPair {
  readonly pair: Pair;
  readonly distance: Distance | null;
}

/** The facts, the number of positions, and the steps of the actual trace in order. */
export function noiseFacts(
  expected: Trace,
  actual: Trace,
  pairs: readonly MeasuredPair[],
): { facts: NoiseFacts; capacity: number; steps: StepRows[] } {
  const steps = stepsOf(actual.records);
  const capacity = Math.max(0, ...steps.map(({ posStart, count }) => posStart + count));
  const rms = new Map<string, Float64Array>();
  const columns = new Map<string, number>();
  const dtypes = new Map<string, Map<number, readonly string[]>>();
  const measured = new Map<string, Float64Array>();
  const unknown = () => new Float64Array(capacity).fill(Number.NaN);
  for (const { pair, distance } of pairs) {
    const [e, a] = [expected.records[pair.expected], actual.records[pair.actual]];
    if (e === undefined || a === undefined) continue;
    columns.set(pair.tap, pair.layout.columns);
    const bySteps = dtypes.get(pair.tap) ?? new Map<number, readonly string[]>();
    dtypes.set(pair.tap, bySteps.set(pair.step, [e.dtype, a.dtype]));
    const rows = rms.get(pair.tap) ?? unknown();
    rms.set(pair.tap, rows);
    const distances = measured.get(pair.tap) ?? unknown();
    measured.set(pair.tap, distances);
    for (const { token, difference, expected: energy } of distance?.tokens ?? [])
      distances[pair.posStart + token] = ratio(difference, energy);
    for (const { expectedToken, actualToken, count } of pair.ranges) {
      for (let t = 0; t < count; t++) rows[pair.posStart + actualToken + t] = rowSize(e, expectedToken + t);
    }
  }
  // What the actual trace left out still has its size in the expected one: sums and means go by it.
  for (const record of expected.records) {
    const rows = rms.get(record.tap) ?? unknown();
    rms.set(record.tap, rows);
    if (!columns.has(record.tap)) columns.set(record.tap, tokenAxis(record).columns);
    for (let t = 0; record.dims.includes("token") && t < tokenAxis(record).tokens; t++) {
      const position = record.posStart + t;
      if (position < capacity && Number.isNaN(rows[position])) rows[position] = rowSize(record, t);
    }
  }
  const fallback = [expected.manifest.producer.dtype, actual.manifest.producer.dtype];
  return {
    capacity,
    steps,
    facts: {
      rms: (tap, position) => rms.get(tap)?.[position] ?? Number.NaN,
      measured: (tap, position) => measured.get(tap)?.[position] ?? Number.NaN,
      columns: (tap) => columns.get(tap) ?? Number.NaN,
      dtypes: (tap, step) => dtypes.get(tap)?.get(step) ?? fallback,
    },
  };
}

/** RMS of a token's row over all its heads; where the columns are keys, over those that the token sees. */
function rowSize(record: RecordSummary, token: number): number {
  const { outer, tokens, columns } = tokenAxis(record);
  let squares = 0;
  for (let o = 0; o < outer; o++) squares += (record.rowRms[o * tokens + token] ?? Number.NaN) ** 2;
  const seen = record.dims.endsWith("key") ? record.posStart + token + 1 : columns;
  return Math.sqrt((squares / outer) * (columns / seen));
}

/** The rows of each step: from the first that any record has to the last. */
function stepsOf(records: readonly RecordSummary[]): StepRows[] {
  const steps = new Map<number, StepRows>();
  for (const record of records) {
    if (!record.dims.includes("token")) continue;
    const { step, posStart } = record;
    const before = steps.get(step) ?? { step, posStart, count: 0 };
    const from = Math.min(before.posStart, posStart);
    const to = Math.max(before.posStart + before.count, posStart + tokenAxis(record).tokens);
    steps.set(step, { step, posStart: from, count: to - from });
  }
  return [...steps.values()].sort((a, b) => a.step - b.step);
}
