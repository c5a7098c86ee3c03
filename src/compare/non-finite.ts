/**
 * The story of NaN and Inf in a run: the first op, row and element that turned not finite, what it was made of and why; where it
 * became NaN; how far it went; what swallowed it. Facts only; src/report/non-finite.ts has the words.
 */
import type { GraphNode } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import type { RecordSummary, Trace } from "../trace/reader.ts";
import { nameInLayer } from "../trace/taps.ts";
import { type Absorbed, absorbedIn } from "./absorbed.ts";
import type { Audit } from "./audit.ts";
import { placeOf } from "./element-place.ts";
import { type AuditedRun, type NonFiniteElement, notFiniteAt, seenColumns, trailOf } from "./non-finite-element.ts";
import type { TraceValues } from "./run-values.ts";

/** An op whose output is not finite somewhere. */
export interface NonFiniteOp {
  readonly step: number;
  readonly tap: string;
  readonly nan: number;
  readonly inf: number;
  readonly of: number;
  /** Positions of the rows that hold them; null where the trace has no values of it. */
  readonly positions: readonly number[] | null;
}

export interface NonFiniteStory {
  /** Where it began; null where it cannot be told (no values there: `ops[0]` says which op) or where all is absorbed. */
  readonly first: NonFiniteElement | null;
  /** The first NaN, where what began was an Inf. */
  readonly nan: NonFiniteElement | null;
  /** All ops that are not finite somewhere, in execution order. */
  readonly ops: readonly NonFiniteOp[];
  /** Ops after the first that made more by themselves, from finite inputs. */
  readonly alsoBorn: readonly { readonly step: number; readonly tap: string; readonly index: number }[];
  /** Ops of the run from the first on, affected or not. */
  readonly opsAfter: number;
  /** The first logits that are not finite. */
  readonly logits: NonFiniteOp | null;
  readonly absorbed: readonly Absorbed[];
}

/** Null for a run whose numbers are all finite and where nothing was absorbed. -Inf at masked scores is no number of a run. */
export async function nonFiniteStory(model: Model, run: TraceValues, audit: Audit): Promise<NonFiniteStory | null> {
  const of: AuditedRun = { model, run, audit };
  const ops: NonFiniteOp[] = [];
  let [opsAfter, first, nan]: [number, NonFiniteElement | null, NonFiniteElement | null] = [0, null, null];
  for (const step of run.steps.keys()) {
    for (const node of model.graph) {
      const { op } = node;
      const record = run.record(step, op.tap);
      if (record === undefined) continue;
      const found = isAllFinite(record) ? null : await nonFiniteOp(of, node, record);
      if (found !== null) ops.push(found.op);
      if (ops.length > 0) opsAfter++;
      if (found === null || found.firstIndex < 0) continue;
      if (ops.length === 1) first = await originOf(of, step, op.tap, found.firstIndex);
      else if (first?.value !== "NaN" && nan === null && found.firstNaN >= 0)
        nan = await originOf(of, step, op.tap, found.firstNaN);
    }
  }
  const absorbed = await absorbedIn(model, run, audit);
  if (ops.length === 0 && absorbed.every(({ kind }) => kind === "right")) return null;
  const affected = new Set(ops.map(({ step, tap }) => `${step} ${tap}`));
  const last = model.graph.at(-1)?.op.tap;
  return {
    ...{ first, nan, ops, opsAfter, absorbed },
    alsoBorn: audit.ops
      .filter(({ step, tap }) => affected.has(`${step} ${tap}`) && !(step === first?.step && tap === first.tap))
      .flatMap(({ step, tap, own }) => {
        const index = own?.nonFinite.first ?? -1;
        return index < 0 ? [] : [{ step, tap, index }];
      }),
    logits: ops.find(({ tap }) => tap === last) ?? null,
  };
}

const isAllFinite = ({ statistics: { nanCount, infCount } }: RecordSummary) => nanCount + infCount === 0;

const isScores = ({ tap }: RecordSummary) => nameInLayer(tap) === "attn_scores";

const originOf = async (of: AuditedRun, step: number, tap: string, index: number) =>
  (await trailOf(of, { step, tap, index })).at(-1) ?? null;

/** A record's counts without masked scores of -Inf; null where nothing else is left. Indices are -1 where there is none. */
async function nonFiniteOp({ model, run }: AuditedRun, node: GraphNode, record: RecordSummary) {
  const { step, tap, dims, shape, posStart, statistics } = record;
  const { nanCount, infCount, count } = statistics;
  const values = await run.values(step, tap);
  if (values === null) {
    if (isJustMask(record)) return null;
    return {
      op: { step, tap, nan: nanCount, inf: infCount, of: count, positions: null },
      firstIndex: -1,
      firstNaN: -1,
    };
  }
  const here = run.steps[step] ?? { posStart, tokens: [] };
  const sizes = model.axes(here.tokens.length, posStart + here.tokens.length);
  const columns = shape.at(-1) ?? 1;
  const rows = new Set<number>();
  let [nan, inf, firstIndex, firstNaN] = [0, 0, -1, -1];
  for (const index of notFiniteAt(values, columns, seenColumns(node, here, columns))) {
    const isNumber = !Number.isNaN(values[index]);
    if (!isNumber) nan++;
    else inf++;
    if (firstIndex < 0) firstIndex = index;
    if (firstNaN < 0 && !isNumber) firstNaN = index;
    rows.add(Math.floor(index / columns));
  }
  if (nan + inf === 0) return null;
  const places = [...rows].map((row) => placeOf(dims, sizes, posStart, row * columns).position ?? -1);
  const positions = [...new Set(places)].filter((position) => position >= 0).sort((a, b) => a - b);
  const op: NonFiniteOp = { step, tap, nan, inf, of: count, positions };
  return { op, firstIndex, firstNaN };
}

/** True if as many scores are infinite as keys lie after their tokens, and none is NaN. */
function isJustMask(record: RecordSummary): boolean {
  const { shape, posStart, statistics } = record;
  const { nanCount, infCount } = statistics;
  const [heads = 0, tokens = 0, keys = 0] = shape;
  const masked = Array.from({ length: tokens }, (_, t) => Math.max(0, keys - (posStart + t + 1)));
  return isScores(record) && nanCount === 0 && infCount === heads * masked.reduce((sum, each) => sum + each, 0);
}

/** What a trace without values, or without a model, tells: the first record that is not finite somewhere. */
export interface FirstNonFinite {
  readonly step: number;
  readonly tap: string;
  readonly op: string;
  readonly nan: number;
  readonly inf: number;
  readonly of: number;
  /** Rows without any finite element. Rows that are not finite in places are not known. */
  readonly wholeRows: readonly number[];
  readonly rows: number;
  /** True where the record has values, so that an audit can name the element and the reason. */
  readonly hasValues: boolean;
}

/** The first record of a trace, in execution order, with NaN or Inf, from its counts; null where there is none. */
export function firstNonFinite({ records }: Pick<Trace, "records">): FirstNonFinite | null {
  const record = records.find((each) => !isAllFinite(each) && !isJustMask(each));
  if (record === undefined) return null;
  const { step, tap, op, statistics, rowRms, hasValues } = record;
  const { nanCount: nan, infCount: inf, count: of } = statistics;
  const wholeRows = [...rowRms.keys()].filter((row) => Number.isNaN(rowRms[row]));
  return { step, tap, op, nan, inf, of, wholeRows, rows: rowRms.length, hasValues };
}
