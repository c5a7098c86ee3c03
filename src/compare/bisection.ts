/** What a bisection found, put together: the comparison says where runs part, the audits which ops are wrong by themselves. */
import type { BlindSpot } from "./blind-spots.ts";
import type { Comparison } from "./compare.ts";
import type { Judgement } from "./determinism.ts";
import type { Diagnosis } from "./diagnose.ts";
import type { Fault, JudgedAudit } from "./judged-audit.ts";

export interface Bisection {
  readonly comparison: Comparison;
  /** Null where the run was not made here, or the check was left out. */
  readonly determinism: Judgement | null;
  /** Of the run that is judged; null with a reason where it could not be made. */
  readonly audit: JudgedAudit | null;
  readonly auditLeftOut: string | null;
  /** Of the reference, made where the two runs part and no op of the judged one is at fault. */
  readonly referenceAudit: JudgedAudit | null;
  /** Causes of origins, from sketches, where there was no audit. */
  readonly diagnoses: readonly Diagnosis[];
  readonly blindSpots: readonly BlindSpot[];
}

/**
 * What a bisection comes to. unstable: runs differ from themselves. token, shape: what ran is not the same. own-fault: an op of the
 * judged run is wrong by itself. reference-fault: one of the reference is, and none of the judged run. rounding: they part although
 * every op of both is right by itself. divergent: they part, and there is no proof which op is wrong. match.
 */
export type Finding =
  | "unstable"
  | "token"
  | "shape"
  | "own-fault"
  | "reference-fault"
  | "rounding"
  | "divergent"
  | "match";

export function findingOf({ comparison, determinism, audit, referenceAudit }: Bisection): Finding {
  if (determinism?.verdict === "unstable") return "unstable";
  const { tokens, tokenStep, refused, ops } = comparison;
  const [fault] = audit?.faults ?? [];
  const theirs = referenceFault({ comparison, audit, referenceAudit });
  // A token chosen after an op went wrong is what the op led to.
  const isLed = [fault, theirs, ops.find(({ isOrigin }) => isOrigin)].some((at) => at != null && at.step < tokenStep);
  if (tokens.difference !== null && !isLed) return "token";
  if (fault !== undefined) return "own-fault";
  if (refused.length > 0) return "shape";
  if (comparison.verdict === "match") return "match";
  if (theirs !== null) return "reference-fault";
  return isAllClean(audit) && isAllClean(referenceAudit) ? "rounding" : "divergent";
}

/** The reference's fault that explains why the runs part; of a judged run that was not audited itself, only one at the origin does. */
export function referenceFault({
  comparison,
  audit,
  referenceAudit,
}: Pick<Bisection, "comparison" | "audit" | "referenceAudit">): Fault | null {
  const faults = referenceAudit?.faults ?? [];
  const origin = comparison.ops.find(({ isOrigin }) => isOrigin);
  const isAtOrigin = ({ tap, steps }: Fault) => tap === origin?.tap && steps.includes(origin.step);
  return (audit === null ? faults.find(isAtOrigin) : faults[0]) ?? null;
}

/** True if every op was judged, and none is even suspicious. */
export const isAllClean = (audit: JudgedAudit | null) => audit !== null && audit.counts.clean === audit.ops.length;
