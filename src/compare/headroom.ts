/**
 * How near a run comes to the largest half-precision number: by records' largest magnitudes (every capture level has them), and,
 * where there are values, by the sums of projections on their way. Facts only; src/report/headroom.ts has the words.
 */
import type { Model } from "../model/model.ts";
import { elementFacts } from "../oracle/element.ts";
import { missingInputs, opCase } from "../oracle/op-case.ts";
import { OracleWeights } from "../oracle/oracle.ts";
import { RANGES } from "../oracle/ranges.ts";
import type { RecordSummary, Trace } from "../trace/reader.ts";
import { knownStatistic } from "../trace/statistics.ts";
import { layerOfTap, nameInLayer } from "../trace/taps.ts";
import type { TraceValues } from "./run-values.ts";

const HALF = RANGES.find(({ format }) => format === "f16");
/** Largest half: 65504. */
export const LARGEST_HALF = HALF?.largest ?? Number.NaN;

/** The largest magnitude of a tap, or of all taps of one name, over all steps; over finite elements. */
export interface Peak {
  /** Tap, or its name within layers. */
  readonly name: string;
  readonly records: number;
  /** NaN where no element is finite; null where no record says. */
  readonly maxAbs: number | null;
  /** maxAbs / 65504: a half is infinite from 65520 on, by rounding. */
  readonly share: number | null;
  /** Where: step, tap and flat index. */
  readonly at: { readonly step: number; readonly tap: string; readonly row: number; readonly column: number } | null;
  /** Elements that are not finite already. */
  readonly notFinite: number;
}

export interface Headroom {
  readonly format: "f16";
  readonly largest: number;
  /** Whether every element recorded, rounded to half, is finite; null where that is not known. */
  readonly fits: boolean | null;
  readonly overall: Peak;
  /** By name within layers, in the order of the trace. */
  readonly kinds: readonly Peak[];
  /** The ten taps nearest to overflow, nearest first. */
  readonly nearest: readonly Peak[];
  /** Records that do not say their largest magnitude. */
  readonly unknown: number;
}

const NEAREST = 10;
const isTable = (tap: string) => tap.startsWith("weight:") || tap.startsWith("rope.");

/** Headroom of a trace at any capture level. Weights and rope tables are left out. */
export function headroom({ records }: Pick<Trace, "records">): Headroom {
  const ops = records.filter(({ tap }) => !isTable(tap));
  const taps = grouped(ops, ({ tap }) => tap);
  const overall = peakOf("", ops);
  const unknown = ops.filter(({ statistics }) => knownStatistic("maxAbs", statistics) === null).length;
  const isBeyond = (overall.maxAbs ?? 0) >= (HALF?.overflows ?? 0);
  return {
    ...{ format: "f16", largest: LARGEST_HALF, overall, unknown },
    fits: isBeyond ? false : unknown > 0 || overall.notFinite > 0 || ops.length === 0 ? null : true,
    kinds: grouped(ops, ({ tap }) => (layerOfTap(tap) === null ? tap : nameInLayer(tap))),
    nearest: taps
      .filter(({ maxAbs }) => maxAbs !== null && !Number.isNaN(maxAbs))
      .sort((a, b) => (b.maxAbs ?? 0) - (a.maxAbs ?? 0))
      .slice(0, NEAREST),
  };
}

function grouped(records: readonly RecordSummary[], nameOf: (record: RecordSummary) => string): Peak[] {
  const groups = new Map<string, RecordSummary[]>();
  for (const record of records) {
    const name = nameOf(record);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [record]);
    else group.push(record);
  }
  return [...groups].map(([name, group]) => peakOf(name, group));
}

function peakOf(name: string, records: readonly RecordSummary[]): Peak {
  let [maxAbs, at, notFinite]: [number | null, Peak["at"], number] = [null, null, 0];
  for (const { step, tap, shape, statistics } of records) {
    notFinite += statistics.nanCount + statistics.infCount;
    const size = knownStatistic("maxAbs", statistics);
    if (size === null || (maxAbs !== null && !(size > maxAbs) && !Number.isNaN(maxAbs))) continue;
    if (maxAbs !== null && Number.isNaN(size)) continue;
    const columns = shape.at(-1) ?? 1;
    const index = statistics.maxAbsIndex;
    maxAbs = size;
    at = Number.isNaN(size) ? null : { step, tap, row: Math.floor(index / columns), column: index % columns };
  }
  return {
    name,
    records: records.length,
    maxAbs,
    share: maxAbs === null ? null : maxAbs / LARGEST_HALF,
    at,
    notFinite,
  };
}

/** The sum behind a projection's largest element, as the oracle takes it from the run's own inputs. */
export interface SumHeadroom {
  readonly step: number;
  readonly tap: string;
  readonly row: number;
  readonly column: number;
  readonly value: number;
  /** Largest partial sum, terms taken in order. */
  readonly reach: number;
  /** sum |w x|: no partial sum, in whatever order, is larger. */
  readonly magnitude: number;
  /** magnitude / 65504. Below 1 half-precision sums cannot overflow at this element. */
  readonly share: number;
}

/** Sums of the `count` projections with the largest outputs, each at its largest element, nearest to overflow first. */
export async function sumHeadroom(model: Model, run: TraceValues, count = 3): Promise<SumHeadroom[]> {
  const weights = new OracleWeights(model);
  const projections = new Map(model.graph.flatMap((node) => (node.op.kind === "linear" ? [[node.op.tap, node]] : [])));
  const peaks = grouped(
    run.trace.records.filter(({ tap }) => projections.has(tap)),
    ({ tap }) => tap,
  ).sort((a, b) => (b.maxAbs ?? 0) - (a.maxAbs ?? 0));
  const found: SumHeadroom[] = [];
  for (const { name, at } of peaks) {
    const node = projections.get(name);
    if (found.length === count || node === undefined) break;
    if (at === null || (await missingInputs(run, at.step, node)).length > 0) continue;
    const of = await opCase(model, run, at.step, node, (weight, ids) => weights.get(weight, ids));
    const { sum } = elementFacts(of, at.row, at.column);
    if (sum === null) continue;
    const magnitude = sum.positive - sum.negative;
    const share = magnitude / LARGEST_HALF;
    found.push({ ...at, value: sum.value, reach: sum.reach, magnitude, share });
  }
  return found.sort((a, b) => b.share - a.share);
}
