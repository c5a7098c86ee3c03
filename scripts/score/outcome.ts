/** How the tool did on one planted fault: where it said the fault is, and what. */
import { auditTrace } from "../../src/compare/audit.ts";
import { compareTraces } from "../../src/compare/compare.ts";
import type { Diagnosis } from "../../src/compare/diagnose.ts";
import { diagnoseOrigins } from "../../src/compare/diagnose-origins.ts";
import { diagnoseAudit } from "../../src/compare/judged-audit.ts";
import type { Model } from "../../src/model/model.ts";
import { isFit } from "../../src/report/diagnosis.ts";
import type { Trace } from "../../src/trace/reader.ts";

/** exact: the planted op. late: an op after it. silent: no op, though bits changed. unseen: none, and no bit of the op changed. */
export type Place = "exact" | "late" | "silent" | "unseen" | "false alarm";
/** right: the planted id alone. tied: among equals. withheld: unknown. wrong: other ids only. */
export type Cause = "right" | "tied" | "withheld" | "wrong";

export interface Outcome {
  readonly place: Place;
  readonly cause: Cause | null;
  /** What was said, for the table of exceptions. */
  readonly said: string;
}

/** True if any record of the tap differs from the clean run's, or is not there. */
export function changesTap(tap: string, clean: Trace, faulty: Trace): boolean {
  const hashes = (trace: Trace) =>
    trace.records
      .filter((record) => record.tap === tap)
      .map(({ step, hash }) => `${step} ${hash}`)
      .join();
  return hashes(clean) !== hashes(faulty);
}

function outcome(
  id: string,
  tap: string,
  seen: boolean,
  first: string | null,
  diagnosis: Diagnosis | undefined,
): Outcome {
  if (first === null) return { place: seen ? "silent" : "unseen", cause: null, said: "nothing" };
  const causes = diagnosis?.causes ?? [];
  const ids = causes.map(({ hypothesis }) => hypothesis);
  const said = `${first}: ${ids.join(", ") || "unknown"}`;
  if (!seen) return { place: "false alarm", cause: null, said };
  if (first !== tap) return { place: "late", cause: null, said };
  const cause = ids.includes(id)
    ? ids.length === 1
      ? "right"
      : "tied"
    : ids.length === 0 || isFit(causes[0])
      ? "withheld"
      : "wrong";
  return { place: "exact", cause, said };
}

/** From the faulty trace alone. */
export async function byAudit(model: Model, id: string, tap: string, seen: boolean, faulty: Trace): Promise<Outcome> {
  const audit = await diagnoseAudit(model, faulty, await auditTrace(model, faulty));
  const [first] = audit.faults;
  return outcome(id, tap, seen, first?.tap ?? null, first?.diagnosis ?? undefined);
}

/** Against a reference with values; the faulty trace may hold less. */
export async function byComparison(
  model: Model,
  id: string,
  tap: string,
  seen: boolean,
  reference: Trace,
  faulty: Trace,
): Promise<Outcome> {
  const comparison = await compareTraces(reference, faulty);
  const first = comparison.ops.find(({ isOrigin }) => isOrigin)?.tap ?? null;
  const [diagnosis] = first === null ? [] : await diagnoseOrigins(model, reference, faulty, comparison);
  return outcome(id, tap, seen, first, diagnosis?.tap === first ? diagnosis : undefined);
}
