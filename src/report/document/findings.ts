/** What a report accuses, op by op, with what was held against each. */
import { type Bisection, findingOf } from "../../compare/bisection.ts";
import type { At } from "../../compare/details.ts";
import type { Diagnosis } from "../../compare/diagnose.ts";
import type { Fault, JudgedAudit } from "../../compare/judged-audit.ts";
import { anatomyText } from "../anatomy.ts";
import { faultSentence, proofText } from "../audit-facts.ts";
import { first } from "../comparison-facts.ts";
import { diagnosisLines } from "../diagnosis.ts";
import { short } from "../numbers.ts";
import type { ReportFinding } from "./schema.ts";
import { bisectionOf, type ReportSources } from "./sources.ts";
import { figure, worded } from "./wording.ts";

/** Findings that are told, at most: a fault in all layers is one. */
const MOST = 12;

export type Finding = Omit<ReportFinding, "step" | "tap"> & { readonly at: At };

/** Ops at fault; where none is, the places where the runs part. In execution order. */
export function findingsOf(sources: ReportSources): Finding[] {
  const { audit, referenceAudit } = sources;
  const bisection = bisectionOf(sources);
  const faults = [...faultsOf(audit, "actual"), ...faultsOf(referenceAudit, "expected")];
  return (faults.length > 0 || bisection === null ? faults : originsOf(bisection)).slice(0, MOST);
}

function faultsOf(audit: JudgedAudit | null, side: "actual" | "expected"): Finding[] {
  return (audit?.faults ?? []).map((fault) => ({
    at: fault,
    side,
    sentence: worded(faultSentence(fault)),
    proof: audit === null ? null : worded(proofText(fault, audit)),
    lines: linesOf(fault).map((line) => worded(line)),
    ...candidatesOf(fault.diagnosis),
  }));
}

const linesOf = ({ diagnosis, anatomy }: Fault) => [
  ...(diagnosis === null ? [] : diagnosisLines(diagnosis)),
  ...(anatomy === null ? [] : anatomyText(anatomy).map((line) => `error: ${line}`)),
];

function originsOf(bisection: Bisection): Finding[] {
  if (findingOf(bisection) === "match") return [];
  const { comparison, diagnoses } = bisection;
  const headline = first(comparison);
  return comparison.ops
    .filter(({ isOrigin }) => isOrigin)
    .map((op) => {
      const isFirst = headline?.step === op.step && headline.tap === op.tap;
      const diagnosis = diagnoses.find(({ tap }) => tap === op.tap) ?? null;
      const { relL2, allowed } = op.judgement;
      return {
        at: op,
        side: "actual" as const,
        sentence: worded(
          isFirst ? headline.sentence : `${op.tap} (step ${op.step}): relL2 ${short(relL2)}, allowed ${short(allowed)}`,
        ),
        proof: null,
        lines: (diagnosis === null ? [] : diagnosisLines(diagnosis)).map((line) => worded(line)),
        ...candidatesOf(diagnosis),
      };
    });
}

function candidatesOf(diagnosis: Diagnosis | null): Pick<Finding, "candidates" | "tolerance"> {
  if (diagnosis === null) return { candidates: [], tolerance: null };
  const { causes, runnerUp, correctResidual, tolerance } = diagnosis;
  const row = (role: string) => (each: (typeof causes)[number]) => ({
    name: worded(`${each.hypothesis}${each.parameter === null ? "" : ` (${each.parameter})`}`),
    what: worded(each.what),
    residual: figure(each.residual),
    role,
  });
  return {
    candidates: [
      ...causes.map(row("reproduces the output")),
      ...(runnerUp === null ? [] : [row("nearest other")(runnerUp)]),
      { name: "the right op", what: "as the model says", residual: figure(correctResidual), role: "right" },
    ],
    tolerance: figure(tolerance),
  };
}
