/**
 * Two traces, one judgement: tokens, then a plan on metadata, then data, one pair at a time. Facts only; src/report has the words.
 */
import { graphOfArchitecture } from "../model/model.ts";
import { TraceError } from "../trace/errors.ts";
import type { RecordSummary, Trace } from "../trace/reader.ts";
import type { TraceRecord } from "../trace/record.ts";
import { layerOfTap } from "../trace/taps.ts";
import { type Judgement, judge } from "./budget.ts";
import { noiseFacts } from "./facts.ts";
import { type LogitsRow, type LogitsSummary, logitsRow, summariseLogits } from "./logits.ts";
import {
  type Distance,
  type Evidence,
  NO_NON_FINITE,
  type NonFinite,
  sketchDistance,
  statisticsDistance,
  valueDistance,
} from "./metrics.ts";
import { NoiseModel } from "./noise.ts";
import { edgesOf, originsOf } from "./origins.ts";
import { type Left, type Pair, planPairs, tokenAxis } from "./pairs.ts";
import { alignTokens, sequenceOf, type TokenAlignment } from "./tokens.ts";

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
  readonly cosine: number | null;
  readonly largest: Distance["largest"];
  readonly ulps: Distance["ulps"];
  readonly nonFinite: NonFinite;
  readonly rms: { readonly expected: number; readonly actual: number };
  /** relL2 once the expected values are rounded to the actual side's narrower dtype; null where that does not apply. */
  readonly downcast: number | null;
  readonly verdict: "alike" | "numeric" | "non-finite" | "other-context";
  readonly isOrigin: boolean;
}

export interface Comparison {
  readonly expected: Side;
  readonly actual: Side;
  readonly tokens: TokenAlignment;
  readonly verdict: "match" | "divergent";
  readonly ops: readonly ComparedOp[];
  readonly unmatched: readonly Left[];
  readonly refused: readonly Left[];
  readonly logits: LogitsSummary | null;
  readonly totals: {
    readonly expected: number;
    readonly actual: number;
    readonly matched: number;
    readonly unmatched: number;
    readonly refused: number;
  };
  readonly warnings: readonly string[];
  readonly envelope: string | null;
}

interface Side {
  readonly path: string;
  readonly manifest: Trace["manifest"];
  readonly partial: boolean;
}

export interface CompareOptions {
  /** A second reference: how far it is from the expected trace is the natural noise. */
  readonly envelope?: Trace;
  readonly progress?: (done: number, total: number) => void;
}

/** Compares two traces. Throws TraceError where nothing can be compared. */
export async function compareTraces(expected: Trace, actual: Trace, options: CompareOptions = {}): Promise<Comparison> {
  const tokens = alignTokens(sequence(expected), sequence(actual));
  const plan = planPairs(expected.records, actual.records, tokens);
  if (plan.pairs.length === 0) {
    const why = plan.refused[0]?.reason ?? plan.unmatched[0]?.reason ?? "both are empty";
    throw new TraceError(
      `${expected.path} and ${actual.path}: none of ${expected.records.length} and ${actual.records.length} records belong together (${why}); compare traces of one model and one prompt`,
    );
  }
  const graph = graphOf(expected, actual);
  const order = new Map(graph.map((node, index) => [node.op.tap, index]));
  const noise = noiseOf(graph, expected, actual, plan.pairs);
  const envelope = options.envelope === undefined ? null : await envelopeOf(expected, options.envelope);

  const judged: { op: ComparedOp; logits: LogitsRow[] }[] = [];
  for (const [index, pair] of plan.pairs.entries()) {
    judged.push(await comparePair(expected, actual, pair, noise, envelope));
    options.progress?.(index + 1, plan.pairs.length);
  }
  const steps = [...new Set(judged.map(({ op }) => op.step))];
  const key = (op: ComparedOp) => `${op.step} ${op.tap}`;
  const divergent = new Set(
    judged.filter(({ op }) => op.verdict === "numeric" || op.verdict === "non-finite").map(({ op }) => key(op)),
  );
  const origins = originsOf(divergent, new Set(judged.map(({ op }) => key(op))), edgesOf(graph), steps);
  const place = (op: ComparedOp) => order.get(op.tap) ?? -1;
  const ops = judged
    .map(({ op }) => ({ ...op, isOrigin: origins.has(key(op)) }))
    .sort((a, b) => a.step - b.step || place(a) - place(b));
  const left = [...plan.unmatched, ...plan.refused];
  const count = (side: Left["side"], list: readonly Left[]) => list.filter((each) => each.side === side).length;
  return {
    expected: sideOf(expected),
    actual: sideOf(actual),
    tokens,
    verdict: divergent.size > 0 || tokens.difference !== null || plan.refused.length > 0 ? "divergent" : "match",
    ops,
    unmatched: plan.unmatched,
    refused: plan.refused,
    logits: summariseLogits(judged.flatMap(({ logits }) => logits)),
    totals: {
      expected: expected.records.length,
      actual: actual.records.length,
      matched: actual.records.length - count("actual", left),
      unmatched: plan.unmatched.length,
      refused: plan.refused.length,
    },
    warnings: warningsOf(expected, actual),
    envelope: options.envelope?.path ?? null,
  };
}

function sequence(trace: Trace) {
  const starts: number[] = [];
  for (const record of trace.records) if (!record.tap.startsWith("weight:")) starts[record.step] = record.posStart;
  return sequenceOf(trace.manifest, starts);
}

const sideOf = ({ path, manifest, partial }: Trace): Side => ({ path, manifest, partial });

/** The graph of the traces' architecture, as deep as the deepest tap. An unknown architecture has no edges: order is the file's. */
function graphOf(expected: Trace, actual: Trace) {
  const records = [...expected.records, ...actual.records];
  const layers = 1 + Math.max(-1, ...new Set(records.map((record) => layerOfTap(record.tap) ?? -1)));
  const names = [expected, actual].map((trace) => trace.manifest.model.architecture);
  for (const name of names) {
    const graph = graphOfArchitecture(name, layers);
    if (graph !== null) return graph;
  }
  throw new TraceError(
    `${expected.path}: architecture ${names[0] ?? ""} is not known; traces of llama models can be compared`,
  );
}

function noiseOf(
  graph: ReturnType<typeof graphOf>,
  expected: Trace,
  actual: Trace,
  pairs: readonly Pair[],
): (pair: Pair) => (token: number) => number {
  const { facts, capacity, steps } = noiseFacts(expected, actual, pairs);
  // Later steps may compute a position again (no KV cache), so each step's noise is kept by itself.
  const model = new NoiseModel(graph, facts, capacity);
  const taps = new Set(graph.map((node) => node.op.tap));
  const kept = new Map<number, Map<string, Float64Array>>();
  for (const { step, posStart, count } of steps) {
    model.advance(step, posStart, count);
    const rows = new Map<string, Float64Array>();
    for (const tap of taps)
      rows.set(
        tap,
        Float64Array.from({ length: count }, (_, i) => model.at(tap, posStart + i)),
      );
    kept.set(step, rows);
  }
  return (pair) => {
    const rows = kept.get(pair.step)?.get(pair.tap);
    // Weights and tables are no ops of the graph: one rounding, and for tables what an f32 angle costs.
    return (token) =>
      rows?.[token] ?? (pair.tap.startsWith("rope.") ? (2 + pair.posStart + token) * 2 ** -24 : 2 ** -24);
  };
}

/** Distances of expected and envelope, by step and tap, made when they are asked for. */
type Envelope = (pair: Pair) => Promise<Distance | null>;

async function envelopeOf(expected: Trace, envelope: Trace): Promise<Envelope> {
  const tokens = alignTokens(sequence(expected), sequence(envelope));
  if (tokens.difference !== null) {
    throw new TraceError(
      `${envelope.path}: as an envelope it must have the tokens of ${expected.path}, but they differ at position ${tokens.difference.position}; trace both references with the same --tokens`,
    );
  }
  const pairs = new Map(
    planPairs(expected.records, envelope.records, tokens).pairs.map((pair) => [pair.expected, pair]),
  );
  return async (pair) => {
    const other = pairs.get(pair.expected);
    if (other === undefined) return null;
    const { distance } = await distanceOf(expected, envelope, other);
    // Rows of the expected record -> rows of the actual one.
    const moved = (token: number) => {
      const from = other.ranges.find((range) => token >= range.actualToken && token < range.actualToken + range.count);
      const row = from === undefined ? token : token - from.actualToken + from.expectedToken;
      const to = pair.ranges.find((range) => row >= range.expectedToken && row < range.expectedToken + range.count);
      return to === undefined ? -1 : row - to.expectedToken + to.actualToken;
    };
    return { ...distance, tokens: distance.tokens.map((each) => ({ ...each, token: moved(each.token) })) };
  };
}

interface Loaded {
  readonly distance: Distance;
  readonly records: { readonly expected: TraceRecord; readonly actual: TraceRecord } | null;
  readonly isHash: boolean;
}

/** The best evidence that both sides have: equal hashes say that all bits are equal, then values, then sketches, then statistics. */
async function distanceOf(expected: Trace, actual: Trace, pair: Pair): Promise<Loaded> {
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

async function comparePair(
  expected: Trace,
  actual: Trace,
  pair: Pair,
  noise: ReturnType<typeof noiseOf>,
  envelope: Envelope | null,
): Promise<{ op: ComparedOp; logits: LogitsRow[] }> {
  const { distance, records, isHash } = await distanceOf(expected, actual, pair);
  const [e, a] = [expected.records[pair.expected], actual.records[pair.actual]] as [RecordSummary, RecordSummary];
  const nonFinite = distance.evidence === "values" && !isHash ? distance.nonFinite : countsOf(e, a);
  const judgement = judge(distance, {
    evidence: distance.evidence,
    outer: pair.layout.outer,
    columns: pair.layout.columns,
    noise: noise(pair),
    envelope: envelope === null ? null : await envelope(pair),
  });
  const isBad = nonFinite.differing > 0 || nonFinite.same > 0;
  const verdict = !pair.sameContext
    ? "other-context"
    : isBad
      ? "non-finite"
      : judgement.share <= 1
        ? "alike"
        : "numeric";
  const values = records === null ? null : { e: records.expected.values, a: records.actual.values };
  return {
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
      cosine: distance.cosine,
      largest: distance.largest,
      ulps: distance.ulps,
      nonFinite,
      rms: { expected: e.statistics.rms, actual: a.statistics.rms },
      downcast: null,
      verdict,
      isOrigin: false,
    },
    logits: pair.tap === "logits" && values?.e && values.a ? logitsOf(values.e, values.a, pair) : [],
  };
}

/** Without values only counts can be held against one another. */
function countsOf(e: RecordSummary, a: RecordSummary): NonFinite {
  const [ec, ac] = [e.statistics, a.statistics];
  const differing = Math.abs(ec.nanCount - ac.nanCount) + Math.abs(ec.infCount - ac.infCount);
  const same = Math.min(ec.nanCount, ac.nanCount) + Math.min(ec.infCount, ac.infCount);
  return differing + same === 0 ? NO_NON_FINITE : { differing, same, first: null };
}

function logitsOf(expected: Float32Array, actual: Float32Array, { layout, ranges }: Pair): LogitsRow[] {
  return ranges.flatMap(({ expectedToken, actualToken, count }) =>
    Array.from({ length: count }, (_, t) => {
      const row = (values: Float32Array, token: number) =>
        values.subarray(token * layout.columns, (token + 1) * layout.columns);
      return logitsRow(row(expected, expectedToken + t), row(actual, actualToken + t), actualToken + t);
    }),
  );
}

function warningsOf(expected: Trace, actual: Trace): string[] {
  const warnings: string[] = [];
  for (const trace of [expected, actual])
    if (trace.partial) warnings.push(`${trace.path} is partial: it was never finished`);
  const [e, a] = [expected.manifest.model, actual.manifest.model];
  if (e.sha256 !== null && a.sha256 !== null && e.sha256 !== a.sha256) {
    warnings.push(
      `the models differ: ${e.file} (sha256 ${e.sha256.slice(0, 12)}) and ${a.file} (${a.sha256.slice(0, 12)})`,
    );
  }
  for (const trace of [expected, actual]) {
    if (trace.manifest.faults.length > 0)
      warnings.push(`${trace.path} has planted faults: ${trace.manifest.faults.join(", ")}`);
  }
  return warnings;
}

export { tokenAxis };
