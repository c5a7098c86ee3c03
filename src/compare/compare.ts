/**
 * Two traces, one judgement: tokens, then a plan on metadata, then data, one pair at a time. Facts only; src/report has the words.
 */
import { graphOfArchitecture } from "../model/model.ts";
import { TraceError } from "../trace/errors.ts";
import type { RecordSummary, Trace } from "../trace/reader.ts";
import { layerOfTap } from "../trace/taps.ts";
import { type Judgement, judge } from "./budget.ts";
import { downcastDistance } from "./downcast.ts";
import { type Envelope, envelopeOf } from "./envelope.ts";
import { countsOf, distanceOf } from "./evidence.ts";
import { noiseFacts } from "./facts.ts";
import { type LogitsRow, type LogitsSummary, logitsRow, summariseLogits } from "./logits.ts";
import type { Distance, Evidence, NonFinite } from "./metrics.ts";
import { NoiseModel } from "./noise.ts";
import { edgesOf, originsOf } from "./origins.ts";
import { type Left, type Pair, planPairs, tokenAxis } from "./pairs.ts";
import { ownRounding } from "./rounding.ts";
import { alignTokens, traceSequence as sequence, type TokenAlignment } from "./tokens.ts";

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
  /** The step that was given the first differing token; 0 where none differs. */
  readonly tokenStep: number;
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
  checkModels(expected, actual);
  const tokens = alignTokens(sequence(expected), sequence(actual));
  const plan = planPairs(expected.records, actual.records, tokens);
  if (plan.pairs.length === 0) {
    const { difference } = tokens;
    const why =
      difference === null
        ? mostFrequent([...plan.refused, ...plan.unmatched].map((left) => left.reason))
        : `tokens differ from position ${difference.position} on`;
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
  const divergent = new Set(judged.filter(({ op }) => divergentVerdict(op)).map(({ op }) => key(op)));
  const origins = originsOf(divergent, new Set(judged.map(({ op }) => key(op))), edgesOf(graph), steps);
  const place = (op: ComparedOp) => order.get(op.tap) ?? -1;
  const ops = judged
    .map(({ op }) => ({ ...op, isOrigin: divergentVerdict(op) && origins.has(key(op)) }))
    .sort((a, b) => a.step - b.step || place(a) - place(b));
  const left = [...plan.unmatched, ...plan.refused];
  const count = (side: Left["side"], list: readonly Left[]) => list.filter((each) => each.side === side).length;
  return {
    expected: sideOf(expected),
    actual: sideOf(actual),
    tokens,
    tokenStep: tokens.difference === null ? 0 : stepOf(actual, tokens.difference.position),
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

/** The first step that computed a position. */
function stepOf(trace: Trace, position: number): number {
  const steps = trace.records.filter((record) => {
    const tokens = record.dims.includes("token") ? tokenAxis(record).tokens : 0;
    return position >= record.posStart && position < record.posStart + tokens;
  });
  return Math.min(...steps.map((record) => record.step));
}

function mostFrequent(reasons: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "both are empty";
}

const divergentVerdict = ({ verdict }: ComparedOp) => verdict === "numeric" || verdict === "non-finite";

/** Sizes that two traces of one model share. Layers may be left out of a run: their number is the model's, not the run's. */
const SIZES = ["embd", "heads", "kvHeads", "headDim", "ffn", "vocab", "layers"] as const;

/** Two models cannot be compared. Throws TraceError naming the size by which they differ. */
function checkModels(expected: Trace, actual: Trace): void {
  const [e, a] = [expected.manifest.model, actual.manifest.model];
  for (const name of SIZES) {
    const [of, to] = [e.hyperParameters[name], a.hyperParameters[name]];
    if (of !== undefined && to !== undefined && of !== to) {
      throw new TraceError(
        `${expected.path} is of ${e.file} (${name} ${of}), ${actual.path} of ${a.file} (${name} ${to}); compare traces of one model`,
      );
    }
  }
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

/** Noise of a pair's rows by token, whole and the op's own. */
interface PairNoise {
  readonly noise: (token: number) => number;
  readonly own: (token: number) => number;
}

function noiseOf(
  graph: ReturnType<typeof graphOf>,
  expected: Trace,
  actual: Trace,
  pairs: readonly Pair[],
): (pair: Pair) => PairNoise {
  const { facts, capacity, steps } = noiseFacts(expected, actual, pairs);
  const model = new NoiseModel(graph, facts, capacity);
  // Later steps may compute a position again (no KV cache), so each step's noise is kept by itself.
  const kept = new Map<string, { noise: Float64Array; own: Float64Array }>();
  for (const { step, posStart, count } of steps) {
    model.advance(step, posStart, count);
    const rows = (of: (position: number) => number) => Float64Array.from({ length: count }, (_, i) => of(posStart + i));
    for (const { op } of graph) {
      kept.set(`${step} ${op.tap}`, {
        noise: rows((at) => model.at(op.tap, at)),
        own: rows((at) => model.own(op.tap, at)),
      });
    }
  }
  return (pair) => {
    const rows = kept.get(`${pair.step} ${pair.tap}`);
    // Weights and tables are no ops of the graph.
    const kind = pair.tap.startsWith("rope.") ? "rope_table" : "weight";
    const alone = (token: number) =>
      Math.SQRT2 * ownRounding(kind, "f32", { terms: 1, position: pair.posStart + token });
    return {
      noise: (token) => rows?.noise[token] ?? alone(token),
      own: (token) => rows?.own[token] ?? alone(token),
    };
  };
}

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
    last: Math.max(...pair.ranges.map((range) => range.actualToken + range.count - 1)),
    ...noise(pair),
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
      downcast: values?.e && values.a ? downcastDistance(values.e, values.a, pair, [e.dtype, a.dtype]) : null,
      verdict,
      isOrigin: false,
    },
    logits:
      pair.tap === "logits" && pair.sameContext && values?.e && values.a
        ? logitsOf(values.e, values.a, pair, judgement.allowed)
        : [],
  };
}

/** Rows of logits. `allowed` is the relL2 that two right computations may show: the noise that a margin is held against. */
function logitsOf(expected: Float32Array, actual: Float32Array, pair: Pair, allowed: number): LogitsRow[] {
  const { layout, ranges, posStart } = pair;
  const row = (values: Float32Array, token: number) =>
    values.subarray(token * layout.columns, (token + 1) * layout.columns);
  return ranges.flatMap(({ expectedToken, actualToken, count }) =>
    Array.from({ length: count }, (_, t) =>
      logitsRow(row(expected, expectedToken + t), row(actual, actualToken + t), posStart + actualToken + t, allowed),
    ),
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
