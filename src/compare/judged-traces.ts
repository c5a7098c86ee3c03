/** What comes after a comparison: the audit of the judged run, of the reference where that is needed, causes, and blind spots. */
import { type Model, openModel } from "../model/model.ts";
import { InputError } from "../trace/errors.ts";
import type { Trace } from "../trace/reader.ts";
import type { AuditOptions } from "./audit.ts";
import type { Bisection } from "./bisection.ts";
import { type BlindRun, type BlindSpot, blindSpots, type TapStatistics } from "./blind-spots.ts";
import type { Comparison } from "./compare.ts";
import { diagnoseOrigins } from "./diagnose-origins.ts";
import type { JudgedAudit } from "./judged-audit.ts";
import { TraceValues } from "./run-values.ts";

type Judged = Omit<Bisection, "comparison" | "determinism">;

/** An audit of a trace with its causes. */
export type Auditor = (trace: Trace, options: AuditOptions) => Promise<JudgedAudit>;

/** The model with the layers that the trace ran. */
export function modelOf(trace: Trace, path: string): Promise<Model> {
  const { layers } = trace.manifest.producer.settings;
  return openModel(path, typeof layers === "string" ? { layers } : {});
}

/** Judges the actual trace by itself, and where no op of it is found wrong and yet it parts from the reference, the reference too. */
export async function judgeTraces(
  model: Model,
  expected: Trace,
  actual: Trace,
  comparison: Comparison,
  auditOf: Auditor | null,
): Promise<Judged> {
  const isDivergent = comparison.verdict === "divergent";
  const against =
    isDivergent && comparison.tokens.difference === null && hasValues(expected) ? { against: expected } : {};
  const own = auditOf !== null ? await tryAudit(auditOf, actual, against) : "as --no-audit says";
  const audit = typeof own === "string" ? null : own;
  const asksReference = auditOf !== null && isDivergent && (audit?.faults.length ?? 0) === 0 && hasValues(expected);
  const reference = asksReference ? await tryAudit(auditOf, expected, {}) : null;
  return {
    audit,
    auditLeftOut: typeof own === "string" ? own : null,
    referenceAudit: typeof reference === "string" ? null : reference,
    diagnoses:
      isDivergent && audit === null && hasValues(expected)
        ? await diagnoseOrigins(model, expected, actual, comparison)
        : [],
    blindSpots: await spotsOf(model, actual),
  };
}

const hasValues = (trace: Trace) => trace.records.some((record) => record.hasValues);

/** An audit, or the reason why there is none. */
async function tryAudit(auditOf: Auditor, trace: Trace, options: AuditOptions): Promise<JudgedAudit | string> {
  try {
    return await auditOf(trace, options);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

/** Least |x| that is not 0; infinite where there is none. */
function leastOf(values: Float32Array): number {
  let least = Number.POSITIVE_INFINITY;
  for (const value of values) {
    const magnitude = Math.abs(value);
    if (magnitude < least && magnitude > 0) least = magnitude;
  }
  return least;
}

/** What is known of a run for its blind spots; null where its trace does not say which tokens ran. */
export async function blindRunOf(model: Model, trace: Trace): Promise<BlindRun | null> {
  const { producer, tokens } = trace.manifest;
  if (tokens.length === 0) return null;
  const { steps } = new TraceValues(trace, model);
  const records = new Map<string, TapStatistics>();
  for (const [index, record] of trace.records.entries()) {
    const least = record.hasValues ? { leastAbs: leastOf(await trace.values(index)) } : {};
    records.set(`${record.step} ${record.tap}`, { ...record, ...least });
  }
  const level = hasValues(trace) ? "full" : trace.records.some(({ hasSketch }) => hasSketch) ? "sketch" : "stats";
  return {
    steps,
    capture: {
      ...{ level, dtype: producer.dtype, kvCache: producer.settings.kv_cache !== false },
      statistics: (step, tap) => records.get(`${step} ${tap}`) ?? null,
    },
  };
}

/** What the run that was judged could not have shown. */
export async function spotsOf(model: Model, trace: Trace): Promise<BlindSpot[]> {
  const run = await blindRunOf(model, trace);
  return run === null ? [] : blindSpots(model, run);
}
