/** What comes after a comparison: the audit of the judged run, of the reference where that is needed, causes, and blind spots. */
import type { Bisection } from "../compare/bisection.ts";
import { suggest } from "../compare/blind/suggest.ts";
import { type BlindRun, type BlindSpot, blindSpots, type TapStatistics } from "../compare/blind-spots.ts";
import type { Comparison } from "../compare/compare.ts";
import { diagnoseOrigins } from "../compare/diagnose-origins.ts";
import type { JudgedAudit } from "../compare/judged-audit.ts";
import { TraceValues } from "../compare/run-values.ts";
import type { Model } from "../model/model.ts";
import { suggestionsText } from "../report/blind-spots.ts";
import { InputError } from "../trace/errors.ts";
import type { Trace } from "../trace/reader.ts";
import { audited } from "./audited.ts";

type Judged = Omit<Bisection, "comparison" | "determinism">;

/** Judges the actual trace by itself, and where no op of it is found wrong and yet it parts from the reference, the reference too. */
export async function judge(
  model: Model,
  expected: Trace,
  actual: Trace,
  comparison: Comparison,
  { audit: wanted, quiet }: { readonly audit: boolean; readonly quiet?: boolean },
): Promise<Judged> {
  const isDivergent = comparison.verdict === "divergent";
  const against =
    isDivergent && comparison.tokens.difference === null && hasValues(expected) ? { against: expected } : {};
  const own = wanted ? await tryAudit(model, actual, quiet, against) : "as --no-audit says";
  const audit = typeof own === "string" ? null : own;
  const asksReference = wanted && isDivergent && (audit?.faults.length ?? 0) === 0 && hasValues(expected);
  const reference = asksReference ? await tryAudit(model, expected, quiet, {}) : null;
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
async function tryAudit(
  model: Model,
  trace: Trace,
  quiet: boolean | undefined,
  options: { against?: Trace },
): Promise<JudgedAudit | string> {
  try {
    return await audited(model, trace, quiet, options);
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

/** Lines of `--suggest`: the smallest prompt or setting that removes each blind spot. */
export async function suggestions(model: Model, trace: Trace): Promise<string> {
  const run = await blindRunOf(model, trace);
  return run === null ? "" : suggestionsText(suggest(model, run, blindSpots(model, run)), model.file.path);
}
