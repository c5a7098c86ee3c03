/** A bisection in words and as JSON: what was found, by which proof, and what this run could not have shown. */
import { z } from "zod";
import { type Bisection, findingOf, isAllClean, referenceFault } from "../compare/bisection.ts";
import { auditVerdictLine, faultLines, nonFiniteLines } from "./audit.ts";
import { auditJson, auditSchema, faultSentence, firstFault, proofText } from "./audit-facts.ts";
import { blindSpotsText } from "./blind-spots.ts";
import { colors } from "./colors.ts";
import { comparisonText } from "./comparison.ts";
import { comparisonJson, comparisonSchema, first } from "./comparison-facts.ts";
import { type DeterminismFacts, determinismJson, determinismSchema } from "./determinism.ts";
import { causePhrase, diagnosisJson, diagnosisLines, diagnosisSchema } from "./diagnosis.ts";

const findings = [
  "unstable",
  "token",
  "shape",
  "own-fault",
  "reference-fault",
  "rounding",
  "divergent",
  "match",
] as const;

/** The document of `bisect --json` and of bisect.json: what is shared with `compare --json`, and the proofs. */
export const bisectionSchema = comparisonSchema.extend({
  schema: z.literal("faultline.bisect/1"),
  finding: z.enum(findings),
  sentence: z.string(),
  diagnosis: diagnosisSchema.nullable(),
  audit: auditSchema.omit({ ops: true }).nullable(),
  audit_left_out: z.string().nullable(),
  reference_audit: auditSchema.omit({ ops: true }).nullable(),
  determinism: determinismSchema.nullable(),
  blind_spots: z.array(
    z.object({ id: z.string(), reason: z.string(), everywhere: z.boolean(), taps: z.number().int() }),
  ),
});

/** One sentence: what to look at first. */
export function bisectionSentence(bisection: Bisection): string {
  const { comparison, audit, determinism, diagnoses } = bisection;
  const parts = first(comparison)?.sentence ?? "";
  switch (findingOf(bisection)) {
    case "unstable":
      return `${determinism?.first?.tap} (step ${determinism?.first?.step}) does not give the same bits in every run (${determinism?.cause}): that comes before any comparison`;
    case "own-fault": {
      const [fault] = audit?.faults ?? [];
      return fault === undefined || audit === null ? parts : `${faultSentence(fault)}; ${proofText(fault, audit)}`;
    }
    case "reference-fault": {
      const fault = referenceFault(bisection);
      const judged = isAllClean(audit)
        ? "every op of the judged run is right by itself, and the reference is not"
        : audit === null
          ? "the reference is wrong where the runs part; the judged run was not audited"
          : "no op of the judged run is proved wrong, and one of the reference is";
      return `${judged}: ${fault === null ? "" : faultSentence(fault)}`;
    }
    case "rounding":
      return `the runs part (${parts}), yet every op of both is right by itself: what differs is rounding that grew`;
    case "divergent": {
      const clean = isAllClean(audit) ? "every op of the judged run is right by itself for this model; " : "";
      const cause = diagnoses[0] === undefined ? null : causePhrase(diagnoses[0]);
      return `${clean}${parts}${cause === null ? "" : `; ${diagnoses[0]?.tap}: ${cause}`}`;
    }
    default:
      return parts;
  }
}

/** Divergent wherever runs part, are unstable, or an op is wrong. */
export const bisectionVerdict = (bisection: Bisection): "match" | "divergent" =>
  findingOf(bisection) === "match" ? "match" : "divergent";

/** The whole report. Its first line is the verdict. */
export function bisectionText(bisection: Bisection): string {
  const { comparison, audit, auditLeftOut, referenceAudit, diagnoses, blindSpots, determinism } = bisection;
  const compared = comparisonText(comparison);
  const isMatch = findingOf(bisection) === "match";
  const judged = audit === null ? 0 : audit.ops.length - audit.counts["not-judged"];
  const audited =
    audit === null
      ? `audit: left out, ${auditLeftOut ?? ""}`
      : audit.faults.length > 0
        ? null
        : `audit: ${judged} ops recomputed from their own inputs, none at fault${audit.counts.suspicious > 0 ? `, ${audit.counts.suspicious} suspicious` : ""}${audit.counts["not-judged"] > 0 ? `; ${audit.counts["not-judged"]} could not be judged` : ""}`;
  const [, ...rest] = compared.split("\n");
  return [
    isMatch
      ? (compared.split("\n")[0] ?? "")
      : audit !== null && findingOf(bisection) === "own-fault"
        ? auditVerdictLine(audit)
        : `${colors.red(colors.bold("divergent"))}: ${bisectionSentence(bisection)}`,
    ...(determinism === null ? [] : [`determinism: ${determinism.verdict}`]),
    ...(audited === null ? [] : [audited]),
    ...(audit === null || audit.faults.length === 0 ? [] : ["", ...nonFiniteLines(audit), ...faultLines(audit)]),
    ...(referenceAudit === null || referenceAudit.faults.length === 0
      ? []
      : ["", "in the reference:", ...faultLines(referenceAudit)]),
    ...(diagnoses.length > 0 && audit === null ? [""] : []),
    ...diagnoses.flatMap((each) => [
      `${colors.red(">>")} ${each.tap}`,
      ...diagnosisLines(each).map((line) => `   ${line}`),
    ]),
    ...(diagnoses.length > 0 ? [""] : []),
    ...(isMatch ? [] : [colors.bold(`comparison: ${comparison.verdict}`)]),
    ...rest,
    ...(blindSpots.some(({ everywhere }) => everywhere) ? [blindSpotsText(blindSpots)] : []),
  ].join("\n");
}

export function bisectionJson(
  bisection: Bisection,
  determinism: DeterminismFacts | null,
): z.infer<typeof bisectionSchema> {
  const { comparison, audit, referenceAudit, auditLeftOut, blindSpots, diagnoses } = bisection;
  const finding = findingOf(bisection);
  const compared = comparisonJson(comparison);
  const [fault] = audit?.faults ?? [];
  const diagnosis = fault?.diagnosis ?? diagnoses[0] ?? null;
  return bisectionSchema.parse({
    ...compared,
    schema: "faultline.bisect/1",
    verdict: bisectionVerdict(bisection),
    finding,
    sentence: bisectionSentence(bisection),
    first: finding === "own-fault" && audit !== null ? withPlace(firstFault(audit)) : compared.first,
    diagnosis: finding === "token" || diagnosis === null ? compared.diagnosis : diagnosisJson(diagnosis),
    audit: audit === null ? null : auditJson(audit),
    audit_left_out: auditLeftOut,
    reference_audit: referenceAudit === null ? null : auditJson(referenceAudit),
    determinism: determinism === null ? null : determinismJson(determinism),
    blind_spots: blindSpots.map(({ id, reason, everywhere, taps }) => ({ id, reason, everywhere, taps: taps.length })),
  });
}

/** A comparison's place also has the row within its record. */
function withPlace(found: ReturnType<typeof firstFault>) {
  return found === null || found.at === null ? found : { ...found, at: { ...found.at, token: found.at.position } };
}
