/** An audit with the causes of what it found: diagnosed op by op, from each op's own inputs. */
import type { Model } from "../model/model.ts";
import { arithmeticOf, UNIT } from "../oracle/arithmetic.ts";
import { bounded } from "../oracle/bounds.ts";
import type { Hypothesis } from "../oracle/hypotheses/hypothesis.ts";
import { HYPOTHESES } from "../oracle/hypotheses/table.ts";
import { opCase } from "../oracle/op-case.ts";
import { OracleWeights } from "../oracle/oracle.ts";
import type { Trace } from "../trace/reader.ts";
import { type Anatomy, anatomyOf } from "./anatomy.ts";
import { type Audit, isFault, verdictOf } from "./audit.ts";
import type { AuditedOp } from "./audit-node.ts";
import { type Diagnosis, diagnose, type Evidence } from "./diagnose.ts";
import { evidenceOf } from "./evidence-of-fault.ts";
import { type Headroom, headroom } from "./headroom.ts";
import { type NonFiniteStory, nonFiniteStory } from "./non-finite.ts";
import { TraceValues } from "./run-values.ts";

/** An op at fault, in all steps together. */
export interface Fault {
  readonly tap: string;
  /** The first step that it shows in, and all of them. */
  readonly step: number;
  readonly steps: readonly number[];
  readonly verdict: "proved" | "likely";
  readonly op: AuditedOp;
  /** Null where more ops are at fault than are diagnosed. */
  readonly diagnosis: Diagnosis | null;
  /** The shape of the error in that first step. */
  readonly anatomy: Anatomy | null;
}

export interface JudgedAudit extends Audit {
  /** In execution order. */
  readonly faults: readonly Fault[];
  /** Null where all numbers are finite. */
  readonly nonFinite: NonFiniteStory | null;
  readonly headroom: Headroom;
}

/** Ops that are diagnosed, at most; a fault in all layers needs no more. */
const MOST = 12;
/** Statistical bounds are eight deviations of an element wide; over a tensor two are plenty. */
const OF_LIKELY = 1 / 4;
/** A hypothesis may take a few roundings more than the op itself: 64 u. */
const LEAST = 64 * 2 ** -24;

export interface DiagnoseOptions {
  /** Ops diagnosed at most. */
  readonly most?: number;
  readonly hypotheses?: readonly Hypothesis[];
  readonly progress?: (done: number, total: number) => void;
}

/** Diagnoses an audit's faults, and its suspicious ops: one whose error a known bug reproduces is likely at fault. */
export async function diagnoseAudit(
  model: Model,
  trace: Trace,
  audit: Audit,
  options: DiagnoseOptions = {},
): Promise<JudgedAudit> {
  const run = new TraceValues(trace, model);
  const taps = new Map<string, AuditedOp[]>();
  for (const op of audit.ops) taps.set(op.tap, [...(taps.get(op.tap) ?? []), op]);
  const suspects = [...taps.values()]
    .map((ops) => ({ ops, shown: ops.filter(isShown) }))
    .filter(({ shown }) => shown.length > 0)
    .sort((a, b) => Number(b.shown.some(isFault)) - Number(a.shown.some(isFault)));
  const most = options.most ?? MOST;
  const weights = new OracleWeights(model);
  const faults: Fault[] = [];
  for (const [index, { ops, shown }] of suspects.entries()) {
    const decided = shown.filter(isFault);
    if (index >= most && decided.length === 0) break;
    const diagnosis = index < most ? await diagnosed(model, run, ops, weights, options.hypotheses) : null;
    options.progress?.(Math.min(index + 1, most), Math.min(suspects.length, most));
    const isNamed = diagnosis?.causes.some(({ free }) => free === 0) ?? false;
    const [op] = decided.length > 0 ? decided : shown;
    if (op === undefined || (decided.length === 0 && !isNamed)) continue;
    const anatomy = index < most ? await anatomyAt(model, run, op) : null;
    faults.push({
      ...{ tap: op.tap, step: op.step, steps: shown.map(({ step }) => step), op, diagnosis, anatomy },
      verdict: decided.some((each) => verdictOf(each) === "proved") ? "proved" : "likely",
    });
  }
  const place = new Map(audit.ops.map((op, index) => [op, index]));
  faults.sort((a, b) => (place.get(a.op) ?? 0) - (place.get(b.op) ?? 0));
  return {
    ...audit,
    verdict: faults.length > 0 ? "divergent" : "match",
    faults,
    nonFinite: await nonFiniteStory(model, run, audit),
    headroom: headroom(trace),
  };
}

const isShown = (op: AuditedOp) => isFault(op) || verdictOf(op) === "suspicious";

async function anatomyAt(model: Model, run: TraceValues, { tap, step, dims, shape, dtype }: AuditedOp) {
  const node = model.graph.find(({ op }) => op.tap === tap);
  const actual = await run.values(step, tap);
  if (node === undefined || actual === null) return null;
  const weights = new OracleWeights(model);
  const { inputs, context } = await opCase(model, run, step, node, (name, ids) => weights.get(name, ids));
  const how = arithmeticOf(dtype, run.trace.manifest.producer);
  const { expected, likely } = bounded(model, node.op, inputs, context, how);
  return anatomyOf({ dims, shape, expected, actual, bound: likely, headDim: model.parameters.headDim });
}

/** From the first step at fault, one more at fault, and one that is not. */
async function diagnosed(
  model: Model,
  run: TraceValues,
  ops: readonly AuditedOp[],
  weights: OracleWeights,
  hypotheses: readonly Hypothesis[] | undefined,
): Promise<Diagnosis | null> {
  const node = model.graph.find(({ op }) => op.tap === ops[0]?.tap);
  const shown = ops.filter(isShown);
  const clean = ops.filter((op) => verdictOf(op) === "clean");
  const chosen = [shown[0], shown[1], shown.at(-1), clean[0], clean.at(-1)];
  const evidence: Evidence[] = [];
  for (const op of new Set(chosen)) {
    if (op === undefined || op.own === null || node === undefined) continue;
    // Storing rounds each element by up to the format's unit, which is no eight deviations wide.
    const { store } = arithmeticOf(op.dtype, run.trace.manifest.producer);
    const rounding = store === "f32" ? 0 : (UNIT[store] ?? 0);
    const tolerance = Math.max(LEAST, op.own.likely * OF_LIKELY, rounding);
    const values = await run.values(op.step, op.tap);
    const observed = { step: op.step, isFault: isShown(op), values, sketch: null, tolerance, rounding };
    const worst = op.own.at === null ? {} : { worst: op.own.at.index };
    evidence.push(await evidenceOf(model, run, node, { ...observed, ...worst }, weights));
  }
  const [first, ...others] = evidence;
  if (first === undefined) return null;
  // Storing in the format that the trace declares is no bug.
  const declared = `precision.${arithmeticOf(ops[0]?.dtype ?? "f32", run.trace.manifest.producer).store}-store`;
  return diagnose(
    [first, ...others],
    (hypotheses ?? HYPOTHESES).filter(({ id }) => id !== declared),
  );
}
