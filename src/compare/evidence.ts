/** The distance of two records by the best evidence that both sides have. */
import type { RecordSummary, Trace } from "../trace/reader.ts";
import type { TraceRecord } from "../trace/record.ts";
import {
  type Distance,
  NO_NON_FINITE,
  type NonFinite,
  sketchDistance,
  statisticsDistance,
  valueDistance,
} from "./metrics.ts";
import type { Pair } from "./pairs.ts";

export interface Loaded {
  readonly distance: Distance;
  readonly records: { readonly expected: TraceRecord; readonly actual: TraceRecord } | null;
  readonly isHash: boolean;
}

/** The best evidence that both sides have: equal hashes say that all bits are equal, then values, then sketches, then statistics. */
export async function distanceOf(expected: Trace, actual: Trace, pair: Pair): Promise<Loaded> {
  const [e, a] = [expected.records[pair.expected], actual.records[pair.actual]];
  if (e === undefined || a === undefined) throw new Error(`pair ${pair.tap} without records`);
  const { layout, ranges } = pair;
  const isWhole =
    ranges.length === 1 && ranges[0]?.count === layout.actualTokens && ranges[0].count === layout.expectedTokens;
  const isHash =
    isWhole &&
    e.hash === a.hash &&
    e.hash !== 0n &&
    sameShape(e, a) &&
    e.statistics.nanCount + e.statistics.infCount === 0;
  const isLogits = pair.tap === "logits" && e.hasValues && a.hasValues;
  if (isHash && !isLogits) {
    return { distance: { ...statisticsDistance(e, e, layout, ranges), evidence: "values" }, records: null, isHash };
  }
  const level = e.hasValues && a.hasValues ? "values" : e.hasSketch && a.hasSketch ? "sketch" : "statistics";
  if (level === "statistics") return { distance: statisticsDistance(e, a, layout, ranges), records: null, isHash };
  const [loadedE, loadedA] = [await expected.load(pair.expected), await actual.load(pair.actual)];
  const records = { expected: loadedE, actual: loadedA };
  if (level === "sketch") return { distance: sketchDistance(loadedE, loadedA, layout, ranges), records, isHash };
  if (loadedE.values === null || loadedA.values === null)
    throw new Error(`${pair.tap}: values were announced and are not there`);
  return { distance: valueDistance(loadedE.values, loadedA.values, layout, ranges), records, isHash };
}

const sameShape = (e: RecordSummary, a: RecordSummary) =>
  e.shape.length === a.shape.length && e.shape.every((size, axis) => size === a.shape[axis]);

/** Without values only counts can be held against one another. */
export function countsOf(e: RecordSummary, a: RecordSummary): NonFinite {
  const [ec, ac] = [e.statistics, a.statistics];
  const differing = Math.abs(ec.nanCount - ac.nanCount) + Math.abs(ec.infCount - ac.infCount);
  const same = Math.min(ec.nanCount, ac.nanCount) + Math.min(ec.infCount, ac.infCount);
  return differing + same === 0 ? NO_NON_FINITE : { differing, same, first: null };
}
