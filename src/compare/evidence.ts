/** The distance of two records by the best evidence that both sides have. */
import type { RecordSummary, Trace } from "../trace/reader.ts";
import {
  type Distance,
  type Evidence,
  NO_NON_FINITE,
  type NonFinite,
  rowsOf,
  sketchDistance,
  statisticsDistance,
  valueDistance,
} from "./metrics.ts";
import type { Pair } from "./pairs.ts";
import { selectedStatistics } from "./selected.ts";

export interface Loaded {
  /** Null where nothing is known on both sides. */
  readonly distance: Distance | null;
  /** Values of both sides, until the next pair is read into the same room. */
  readonly values: { readonly expected: Float32Array; readonly actual: Float32Array } | null;
  readonly isHash: boolean;
}

/** The best evidence that both sides have: equal hashes say that all bits are equal, then values, then sketches, then statistics. */
export async function distanceOf(expected: Trace, actual: Trace, pair: Pair, room: Room): Promise<Loaded> {
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
    const same = statisticsDistance(e, e, layout, ranges) ?? noDistance("values");
    return { distance: { ...same, evidence: "values" }, values: null, isHash };
  }
  const level = e.hasValues && a.hasValues ? "values" : e.hasSketch && a.hasSketch ? "sketch" : "statistics";
  if (level === "statistics") {
    const sides = [
      await comparedRows(expected, e, pair, "expected"),
      await comparedRows(actual, a, pair, "actual"),
    ] as const;
    return { distance: statisticsDistance(...sides, layout, ranges), values: null, isHash };
  }
  if (level === "sketch") {
    const [loadedE, loadedA] = [await expected.load(pair.expected), await actual.load(pair.actual)];
    return { distance: sketchDistance(loadedE, loadedA, layout, ranges), values: null, isHash };
  }
  const values = {
    expected: await expected.values(pair.expected, room.of("expected", e.statistics.count)),
    actual: await actual.values(pair.actual, room.of("actual", a.statistics.count)),
  };
  return { distance: valueDistance(values.expected, values.actual, layout, ranges), values, isHash };
}

/** Room for the values of one pair, made once and grown: a pair is done with before the next is read. Each run through pairs has its own. */
export class Room {
  readonly #kept = new Map<string, Float32Array>();

  of(side: "expected" | "actual", count: number): Float32Array {
    const found = this.#kept.get(side);
    if (found !== undefined && found.length >= count) return found;
    const grown = new Float32Array(count);
    this.#kept.set(side, grown);
    return grown;
  }
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

/** Where a record has more rows than are compared, and its values: their statistics. */
async function comparedRows(trace: Trace, record: RecordSummary, pair: Pair, side: "expected" | "actual") {
  const rows = rowsOf(pair.ranges, side);
  const [tokens, columns] = [pair.layout[`${side}Tokens`], pair.layout[`${side}Columns`]];
  if (rows.length === tokens || !record.hasValues || columns !== pair.layout.columns) return record;
  const values = await trace.values(pair[side]);
  return {
    rowRms: record.rowRms,
    statistics: selectedStatistics(values, { outer: pair.layout.outer, tokens, columns }, rows),
  };
}

/** A distance that nothing is known of. */
export function noDistance(evidence: Evidence): Distance {
  const none = { cosine: null, largest: null, nonFinite: NO_NON_FINITE, ulps: null };
  return { evidence, difference: 0, expected: 0, tokens: [], ...none };
}
