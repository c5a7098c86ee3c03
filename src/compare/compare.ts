/**
 * Two traces, one judgement: tokens, then a plan on metadata, then data, one pair at a time. Facts only; src/report has the words.
 */
import { TraceError } from "../trace/errors.ts";
import type { Trace } from "../trace/reader.ts";
import { downcastDistance } from "./downcast.ts";
import { envelopeOf } from "./envelope.ts";
import { Room } from "./evidence.ts";
import {
  type ComparedOp,
  divergentVerdict,
  type Judged,
  judgePair,
  type Measured,
  measurePair,
} from "./judged-pair.ts";
import { type LogitsSummary, summariseLogits } from "./logits.ts";
import { edgesOf, originsOf } from "./origins.ts";
import { pairNoise } from "./pair-noise.ts";
import { type Left, type Pair, planPairs } from "./pairs.ts";
import { checkModels, graphOf, warningsOf } from "./preconditions.ts";
import { alignTokens, traceSequence as sequence, type TokenAlignment } from "./tokens.ts";

export type { ComparedOp } from "./judged-pair.ts";

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
  const room = new Room();
  for (const [index, pair] of plan.pairs.entries()) {
    measured.push(await measurePair(expected, actual, pair, envelope, room));
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

const sideOf = ({ path, manifest, partial }: Trace): Side => ({ path, manifest, partial });
