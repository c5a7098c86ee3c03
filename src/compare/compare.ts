/**
 * Two traces, one judgement: tokens, then a plan on metadata, then data, one pair at a time. Facts only; src/report has the words.
 */
import { graphOfArchitecture } from "../model/model.ts";
import { TraceError } from "../trace/errors.ts";
import type { RecordSummary, Trace } from "../trace/reader.ts";
import { knownStatistic } from "../trace/statistics.ts";
import { layerOfTap } from "../trace/taps.ts";
import { type Judgement, judge } from "./budget.ts";
import { downcastDistance } from "./downcast.ts";
import { type Envelope, envelopeOf } from "./envelope.ts";
import { countsOf, distanceOf, noDistance } from "./evidence.ts";
import { type LogitsRow, type LogitsSummary, logitsRow, summariseLogits } from "./logits.ts";
import { type Distance, type Evidence, NO_NON_FINITE, type NonFinite, rowsOf } from "./metrics.ts";
import { edgesOf, originsOf } from "./origins.ts";
import { type PairNoise, pairNoise } from "./pair-noise.ts";
import { type Left, type Pair, planPairs } from "./pairs.ts";
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
  /** Null where it is not known. */
  readonly rms: { readonly expected: number | null; readonly actual: number | null };
  readonly verdict: "alike" | "numeric" | "non-finite" | "other-context";
  readonly isOrigin: boolean;
  /** Of an origin: the taps that feed it and were not compared in its step. */
  readonly unseen: readonly string[];
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
  /** relL2 at the first origin once both sides are rounded to the narrower of their dtypes; null where that does not apply. */
  readonly downcast: number | null;
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
  const { envelope, warnings } = await trustedEnvelope(expected, actual, options.envelope);

  const measured: Measured[] = [];
  for (const [index, pair] of plan.pairs.entries()) {
    measured.push(await measurePair(expected, actual, pair, envelope));
    options.progress?.(index + 1, plan.pairs.length);
  }
  const silent = measured.filter(({ isSilent }) => isSilent).map(({ pair }) => pair);
  const noise = pairNoise(graph, expected, actual, measured);
  const judged = measured.filter(({ isSilent }) => !isSilent).map((each) => judgePair(each, noise(each.pair)));
  if (judged.length === 0) {
    throw new TraceError(
      `${expected.path} and ${actual.path}: nothing can be held against one another in ${plan.pairs.length} pairs of records (${SILENT}); capture both with values, sketches or statistics`,
    );
  }
  const unmatched = [...plan.unmatched, ...silentRecords(silent, judged)];
  const steps = [...new Set(judged.map(({ op }) => op.step))];
  const key = (op: ComparedOp) => `${op.step} ${op.tap}`;
  const divergent = new Set(judged.filter(({ op }) => divergentVerdict(op)).map(({ op }) => key(op)));
  const [compared, edges] = [new Set(judged.map(({ op }) => key(op))), edgesOf(graph)];
  const origins = originsOf(divergent, compared, edges, steps);
  const unseen = (op: ComparedOp) =>
    (edges.get(op.tap) ?? [])
      .map(({ tap }) => tap)
      .filter((tap) => !tap.startsWith("weight:") && !tap.startsWith("rope.") && !compared.has(`${op.step} ${tap}`));
  const place = (op: ComparedOp) => order.get(op.tap) ?? -1;
  const ops = judged
    .map(({ op }) =>
      divergentVerdict(op) && origins.has(key(op)) ? { ...op, isOrigin: true, unseen: unseen(op) } : op,
    )
    .sort((a, b) => a.step - b.step || place(a) - place(b));
  const begin = ops.find((op) => op.isOrigin);
  const beginPair = judged.find(({ op }) => begin !== undefined && key(op) === key(begin))?.pair;
  const left = [...unmatched, ...plan.refused];
  const count = (side: Left["side"], list: readonly Left[]) => list.filter((each) => each.side === side).length;
  return {
    expected: sideOf(expected),
    actual: sideOf(actual),
    tokens,
    tokenStep: tokens.difference === null ? 0 : (sequence(actual).firstSteps[tokens.difference.position] ?? 0),
    verdict: divergent.size > 0 || tokens.difference !== null || plan.refused.length > 0 ? "divergent" : "match",
    ops,
    unmatched,
    refused: plan.refused,
    downcast: beginPair === undefined ? null : await downcastDistance(expected, actual, beginPair),
    logits: summariseLogits(judged.flatMap(({ logits }) => logits)),
    totals: {
      expected: expected.records.length,
      actual: actual.records.length,
      matched: actual.records.length - count("actual", left),
      unmatched: unmatched.length,
      refused: plan.refused.length,
    },
    warnings: [...warningsOf(expected, actual, ops), ...warnings],
    envelope: envelope === null ? null : (options.envelope?.path ?? null),
  };
}

/** The envelope, where it shows any noise; and what a reader must know of it, for what it has wrong it allows to the actual trace. */
async function trustedEnvelope(expected: Trace, actual: Trace, other: Trace | undefined) {
  if (other === undefined) return { envelope: null, warnings: [] };
  const envelope = await envelopeOf(expected, other);
  const isSame = (trace: Trace) => {
    const hashes = new Map(trace.records.map((record) => [`${record.step} ${record.tap}`, record.hash]));
    const shared = other.records.filter((record) => hashes.has(`${record.step} ${record.tap}`));
    return (
      shared.length > 0 && shared.every(({ step, tap, hash }) => hash !== 0n && hashes.get(`${step} ${tap}`) === hash)
    );
  };
  const twin = [expected, actual].find(isSame);
  if (twin !== undefined) {
    const warning = `${other.path} is equal to ${twin.path} to the bit and shows no natural noise: it is left out as an envelope`;
    return { envelope: null, warnings: [warning] };
  }
  const { verdict, ops } = await compareTraces(expected, other);
  const origin = ops.find((op) => op.isOrigin);
  const first = origin === undefined ? "" : `, first at ${origin.tap} (step ${origin.step})`;
  const warning = `${other.path} itself differs from ${expected.path} by more than rounding explains${first}: an envelope allows the actual trace whatever it has wrong itself`;
  return { envelope, warnings: verdict === "match" ? [] : [warning] };
}

interface Judged {
  readonly pair: Pair;
  readonly op: ComparedOp;
  readonly logits: readonly LogitsRow[];
}

const SILENT = "no statistic is known on both sides, or no RMS to hold it against";

/** Records that have a partner, but no pair in which anything is known on both sides. */
function silentRecords(silent: readonly Pair[], judged: readonly Judged[]): Left[] {
  return (["expected", "actual"] as const).flatMap((side) => {
    const heard = new Set(judged.map(({ pair }) => pair[side]));
    const alone = new Map(silent.filter((pair) => !heard.has(pair[side])).map((pair) => [pair[side], pair]));
    return [...alone].map(([index, { tap, step }]) => ({ side, index, tap, step, reason: SILENT }));
  });
}

function mostFrequent(reasons: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "both are empty";
}

const divergentVerdict = ({ verdict }: ComparedOp) => verdict === "numeric" || verdict === "non-finite";

/** Sizes that two traces of one model share. Layers may be left out of a run: their number is the model's, not the run's. */
const SIZES = ["embd", "heads", "kvHeads", "headDim", "ffn", "vocab", "layers"] as const;

/** Two models, or other layers of one, cannot be compared. Throws TraceError naming what differs. */
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
  const [ofLayers, toLayers] = [expected, actual].map(({ manifest }) => manifest.producer.settings.layers ?? null);
  if (ofLayers !== toLayers) {
    throw new TraceError(
      `${expected.path} ran ${ofLayers === null ? "all layers" : `layers ${ofLayers}`}, ${actual.path} ${toLayers === null ? "all" : toLayers}; without the same layers everything after them must differ`,
    );
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

/** What the data of a pair say, before it is judged. */
interface Measured {
  readonly pair: Pair;
  readonly records: { readonly expected: RecordSummary; readonly actual: RecordSummary };
  readonly distance: Distance | null;
  /** True where nothing is known on both sides. NaN and Inf are a finding even where nothing else is known. */
  readonly isSilent: boolean;
  readonly isHash: boolean;
  readonly nonFinite: NonFinite;
  readonly natural: Distance | null;
  /** Rows of logits, their noise for a relL2 of 1. */
  readonly logits: readonly LogitsRow[];
}

async function measurePair(expected: Trace, actual: Trace, pair: Pair, envelope: Envelope | null): Promise<Measured> {
  const { distance, values, isHash } = await distanceOf(expected, actual, pair);
  const [e, a] = [expected.records[pair.expected], actual.records[pair.actual]] as [RecordSummary, RecordSummary];
  const counts = countsOf(e, a);
  // Values stay only until the next pair is read, and the envelope reads one.
  const isLogits = pair.tap === "logits" && pair.sameContext && values !== null;
  const logits = isLogits ? logitsOf(values.expected, values.actual, pair) : [];
  return {
    pair,
    records: { expected: e, actual: a },
    distance,
    isSilent: distance === null && counts === NO_NON_FINITE,
    isHash,
    nonFinite: distance?.evidence === "values" && !isHash ? distance.nonFinite : counts,
    natural: envelope === null ? null : await envelope(pair),
    logits,
  };
}

function judgePair(measured: Measured, noise: PairNoise): Judged {
  const { pair, isHash, nonFinite } = measured;
  const { expected: e, actual: a } = measured.records;
  const distance = measured.distance ?? noDistance("statistics");
  const judgement = judge(distance, {
    evidence: distance.evidence,
    outer: pair.layout.outer,
    columns: pair.layout.columns,
    rows: rowsOf(pair.ranges),
    ...noise,
    envelope: measured.natural,
  });
  const isBad = nonFinite.differing > 0 || nonFinite.same > 0;
  const verdict = !pair.sameContext
    ? "other-context"
    : isBad
      ? "non-finite"
      : judgement.share <= 1
        ? "alike"
        : "numeric";
  return {
    pair,
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
      rms: { expected: knownStatistic("rms", e.statistics), actual: knownStatistic("rms", a.statistics) },
      verdict,
      isOrigin: false,
      unseen: [],
    },
    logits: measured.logits.map((row) => ({ ...row, noise: row.noise * judgement.allowed })),
  };
}

/** Rows of logits, their noise for a relL2 of 1. */
function logitsOf(expected: Float32Array, actual: Float32Array, pair: Pair): LogitsRow[] {
  const { layout, ranges, posStart } = pair;
  const row = (values: Float32Array, token: number) =>
    values.subarray(token * layout.columns, (token + 1) * layout.columns);
  return ranges.flatMap(({ expectedToken, actualToken, count }) =>
    Array.from({ length: count }, (_, t) =>
      logitsRow(row(expected, expectedToken + t), row(actual, actualToken + t), posStart + actualToken + t, 1),
    ),
  );
}

function warningsOf(expected: Trace, actual: Trace, ops: readonly ComparedOp[]): string[] {
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
  const zero = ops.filter(({ rms }) => rms.expected === 0 && rms.actual === 0);
  if (zero.length > 0)
    warnings.push(
      `${zero.length} of ${ops.length} records are zero on both sides (${zero[0]?.tap}, ...): nothing shows there`,
    );
  return warnings;
}
