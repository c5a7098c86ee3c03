/** How the tool did on one planted fault: where it said the fault is, and what. */
import { auditTrace } from "../../src/compare/audit.ts";
import { compareTraces } from "../../src/compare/compare.ts";
import type { Diagnosis } from "../../src/compare/diagnose.ts";
import { diagnoseOrigins } from "../../src/compare/diagnose-origins.ts";
import { diagnoseAudit, type JudgedAudit } from "../../src/compare/judged-audit.ts";
import type { Model } from "../../src/model/model.ts";
import { isFit } from "../../src/report/diagnosis.ts";
import type { Trace } from "../../src/trace/reader.ts";

/**
 * exact: the planted op. late: an op after it. silent: none, though the op's error is beyond rounding. below: none, and the error
 * stays within what rounding explains. unseen: none, and no bit of the op changed. false: an op before it, or one where nothing was.
 */
export const PLACES = ["exact", "late", "silent", "below", "unseen", "false"] as const;
export type Place = (typeof PLACES)[number];
/** right: the planted id alone. tied: among equals. withheld: unknown. wrong: other ids only. */
export const CAUSES = ["right", "tied", "withheld", "wrong"] as const;
export type Cause = (typeof CAUSES)[number];

export interface Outcome {
  readonly place: Place;
  readonly cause: Cause | null;
  /** What was said, for the table of exceptions. */
  readonly said: string;
}

/** What was planted, and what it did to its op. */
export interface Planted {
  readonly id: string;
  readonly tap: string;
  /** True if a bit of the tap differs from the clean run's. */
  readonly changed: boolean;
  /** True if the op's own error is beyond what rounding explains. */
  readonly felt: boolean;
}

/** True if any record of the tap differs from the clean run's. */
export function changesTap(tap: string, clean: Trace, faulty: Trace): boolean {
  const hashes = (trace: Trace) =>
    trace.records
      .filter((record) => record.tap === tap)
      .map(({ step, hash }) => `${step} ${hash}`)
      .join();
  return hashes(clean) !== hashes(faulty);
}

/** True if the op's own error, in any step, is beyond its statistical bound as a whole or not finite. */
export const isFelt = (tap: string, { ops }: JudgedAudit): boolean =>
  ops.some(
    ({ tap: at, own }) =>
      at === tap &&
      own !== null &&
      (own.relL2 > own.likely || own.nonFinite.unexplained > 0 || own.verdict !== "clean"),
  );

export const auditOf = async (model: Model, trace: Trace): Promise<JudgedAudit> =>
  diagnoseAudit(model, trace, await auditTrace(model, trace));

/** From the faulty trace alone. */
export function byAudit(planted: Planted, order: readonly string[], { faults }: JudgedAudit): Outcome {
  const [first] = faults;
  return outcome(planted, order, first?.tap ?? null, first?.diagnosis ?? undefined);
}

/** Against a reference with values; the faulty trace may hold less. */
export async function byComparison(
  model: Model,
  planted: Planted,
  order: readonly string[],
  reference: Trace,
  faulty: Trace,
): Promise<Outcome> {
  const comparison = await compareTraces(reference, faulty);
  const first = comparison.ops.find(({ isOrigin }) => isOrigin)?.tap ?? null;
  const diagnoses = first === null ? [] : await diagnoseOrigins(model, reference, faulty, comparison);
  return outcome(
    planted,
    order,
    first,
    diagnoses.find(({ tap }) => tap === first),
  );
}

function outcome(
  { id, tap, changed, felt }: Planted,
  order: readonly string[],
  first: string | null,
  diagnosis: Diagnosis | undefined,
): Outcome {
  if (first === null) return { place: !changed ? "unseen" : felt ? "silent" : "below", cause: null, said: "nothing" };
  const causes = diagnosis?.causes ?? [];
  const ids = causes.map(({ hypothesis }) => hypothesis);
  const said = `${first}: ${ids.join(", ") || "unknown"}`;
  if (!changed || order.indexOf(first) < order.indexOf(tap)) return { place: "false", cause: null, said };
  if (first !== tap) return { place: "late", cause: null, said };
  const isNamed = ids.length > 0 && !isFit(causes[0]);
  const cause = ids.includes(id) ? (ids.length === 1 ? "right" : "tied") : isNamed ? "wrong" : "withheld";
  return { place: "exact", cause, said };
}
