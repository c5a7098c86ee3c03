/** What the bug of a run is: from its values, or where it has none from its sketches, beside a run of the same tokens that is trusted. */
import type { Model } from "../model/model.ts";
import { tapMatcher } from "../trace/capture.ts";
import { InputError } from "../trace/errors.ts";
import type { Trace } from "../trace/reader.ts";
import { auditTrace } from "./audit.ts";
import { type Comparison, compareTraces } from "./compare.ts";
import type { Diagnosis } from "./diagnose.ts";
import { diagnoseOrigins, otherRows } from "./diagnose-origins.ts";
import { diagnoseAudit } from "./judged-audit.ts";
import { divergentVerdict } from "./judged-pair.ts";
import { TraceValues } from "./run-values.ts";

/** An op at fault and its cause. */
export interface DiagnosedOp {
  readonly tap: string;
  /** The first step that it shows in. */
  readonly step: number;
  readonly evidence: "values" | "sketch" | "statistics" | "hash";
  /** Null where the evidence does not allow one. */
  readonly diagnosis: Diagnosis | null;
}

export interface DiagnosedTrace {
  /** In execution order; none where no op is found at fault. */
  readonly ops: readonly DiagnosedOp[];
  /** Ops in all steps, and how many of these could not be judged: audited where the trace has values, else compared. */
  readonly judged: { readonly by: "audit" | "comparison"; readonly ops: number; readonly notJudged: number };
}

export interface DiagnoseTraceOptions {
  /** Only this op. */
  readonly tap?: string;
  /** Calls `judge` with a trusted run of the trace's tokens that has values, and closes it. Asked for only where the trace has none itself. */
  readonly beside: (judge: (expected: Trace) => Promise<DiagnosedTrace>) => Promise<DiagnosedTrace>;
  /** In ops that are audited. */
  readonly progress?: (done: number, total: number) => void;
  /** Does a part of the work that counts nothing. */
  readonly during?: During;
}

type During = <T>(part: "comparing" | "causes", work: () => Promise<T>) => Promise<T>;
const UNSEEN: During = (_, work) => work();

/** A reference that would not be looked at is refused. */
export function checkNeeded(trace: Trace, against: unknown): void {
  const valued = trace.records.filter(({ hasValues }) => hasValues).length;
  if (against === undefined || valued === 0) return;
  throw new InputError(
    `${trace.path}: has values in ${valued} of ${trace.records.length} records and is judged by these alone; leave out --against, or see 'faultline audit --against'`,
  );
}

/** Throws InputError for a tap that is not in the model or the trace, TraceError where nothing can be judged. */
export async function diagnoseTrace(
  model: Model,
  trace: Trace,
  options: DiagnoseTraceOptions,
): Promise<DiagnosedTrace> {
  const { tap, beside, during = UNSEEN } = options;
  checkTap(model, trace, tap);
  if (trace.records.some(({ hasValues }) => hasValues)) return fromValues(model, trace, options);
  return beside((expected) => fromSketches(model, expected, trace, { tap, during }));
}

function checkTap(model: Model, trace: Trace, tap: string | undefined): void {
  if (tap === undefined) return;
  if (!model.graph.some(({ op }) => op.tap === tap)) {
    throw new InputError(`--tap ${tap}: no op of ${model.file.name} makes it; ops are named like blk.0.q_rope, logits`);
  }
  if (!trace.records.some((record) => record.tap === tap)) {
    throw new InputError(`--tap ${tap}: not among the ${trace.records.length} records of ${trace.path}; trace it too`);
  }
}

async function fromValues(
  model: Model,
  trace: Trace,
  { tap, progress, during = UNSEEN }: DiagnoseTraceOptions,
): Promise<DiagnosedTrace> {
  const audit = await auditTrace(model, trace, {
    ...(tap === undefined ? {} : { wants: tapMatcher([tap]) }),
    ...(progress === undefined ? {} : { progress }),
  });
  const { faults } = await during("causes", () => diagnoseAudit(model, trace, audit));
  return {
    ops: faults.map(({ tap: at, step, diagnosis }) => ({ tap: at, step, evidence: "values", diagnosis })),
    judged: { by: "audit", ops: audit.ops.length, notJudged: audit.counts["not-judged"] },
  };
}

/** Inputs are the trusted run's: right ones, since nothing before an origin differs. */
async function fromSketches(
  model: Model,
  expected: Trace,
  trace: Trace,
  { tap, during }: { readonly tap: string | undefined; readonly during: During },
): Promise<DiagnosedTrace> {
  if (!expected.records.some(({ hasValues }) => hasValues)) {
    throw new InputError(
      `${expected.path}: holds no values; give a reference made with --capture full, or leave out --against`,
    );
  }
  const comparison = await during("comparing", () => compareTraces(expected, trace));
  if (comparison.tokens.difference !== null && comparison.tokenStep === 0) {
    throw new InputError(
      `${expected.path} and ${trace.path} ran other tokens from position ${comparison.tokens.difference.position} on; 'faultline compare' says which`,
    );
  }
  const origins = comparison.ops.filter((op) => op.isOrigin && (tap ?? op.tap) === op.tap);
  if (origins.length === 0) checkSeen(comparison, tap);
  checkRows(model, expected, trace, origins[0]?.step);
  const diagnoses = new Map<string, Diagnosis>(
    (await during("causes", () => diagnoseOrigins(model, expected, trace, comparison))).map((each) => [each.tap, each]),
  );
  const first = origins.filter((origin, index) => origins.findIndex((op) => op.tap === origin.tap) === index);
  return {
    ops: first.map(({ tap: at, step, evidence }) => ({
      ...{ tap: at, step, evidence },
      diagnosis: diagnoses.get(at) ?? null,
    })),
    judged: { by: "comparison", ...seenOf(comparison, trace, tap) },
  };
}

/** Records of the judged trace, and those that no record of the trusted one was held against. */
function seenOf({ ops }: Comparison, { records }: Trace, tap: string | undefined) {
  const asked = records.filter((record) => (tap ?? record.tap) === record.tap);
  const compared = ops.filter(({ verdict }) => verdict !== "other-context");
  const seen = new Set(compared.map((op) => `${op.step} ${op.tap}`));
  return { ops: asked.length, notJudged: asked.filter((record) => !seen.has(`${record.step} ${record.tap}`)).length };
}

/** That nothing is at fault is said only where something was compared, and where what differs, if anything, is explained by what feeds it. */
function checkSeen({ expected, actual, ops, refused }: Comparison, tap: string | undefined): void {
  const asked = (op: { readonly tap: string }) => (tap ?? op.tap) === op.tap;
  const [compared, sides] = [ops.filter(asked), `${expected.path} and ${actual.path}`];
  const [odd] = refused.filter(asked);
  const differs = compared.find(divergentVerdict);
  const remedy = "trace with --capture full, which is judged without a reference";
  if (odd !== undefined) throw new InputError(`${sides}: ${odd.tap} of step ${odd.step}: ${odd.reason}; ${remedy}`);
  if (differs !== undefined) {
    throw new InputError(
      `${sides}: ${differs.tap} of step ${differs.step} differs, and so does what feeds it: whether it is at fault itself cannot be told; ${remedy}`,
    );
  }
  if (compared.every(({ verdict }) => verdict === "other-context")) {
    throw new InputError(`${sides}: no record of ${tap ?? "any op"} could be compared; ${remedy}`);
  }
}

function checkRows(model: Model, expected: Trace, actual: Trace, step: number | undefined): void {
  const [inputs, observed] = [new TraceValues(expected, model), new TraceValues(actual, model)];
  if (step === undefined || !otherRows(inputs, observed, step)) return;
  const size = ({ steps }: TraceValues) => `${steps[step]?.tokens.length ?? 0} tokens`;
  throw new InputError(
    `${expected.path} and ${actual.path} ran other steps: step ${step} has ${size(inputs)} in one, ${size(observed)} in the other; give a reference of the same tokens and steps, or leave out --against`,
  );
}
