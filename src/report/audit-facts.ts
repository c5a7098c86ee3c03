/** The headline of an audit, as facts and as a sentence, and its JSON document. */
import { z } from "zod";
import { verdictOf } from "../compare/audit.ts";
import type { AuditedOp } from "../compare/audit-node.ts";
import type { Fault, JudgedAudit } from "../compare/judged-audit.ts";
import { nameInLayer } from "../trace/taps.ts";
import { anatomyText } from "./anatomy.ts";
import { causePhrase, diagnosisJson, diagnosisSchema } from "./diagnosis.ts";
import { elementPlace, elementSchema, placeWords } from "./element-place.ts";
import { reasonText } from "./non-finite.ts";
import { apart, nearOne, short, timesOver } from "./numbers.ts";

const verdict = z.enum(["clean", "suspicious", "likely", "proved", "not-judged"]);
const count = z.number().int();
const figure = z.number().nullable();

const firstSchema = z.object({
  step: count,
  tap: z.string(),
  op: z.string(),
  kind: z.enum(["own-fault", "non-finite"]),
  relL2: figure,
  allowed: figure,
  at: elementSchema.nullable(),
  sentence: z.string(),
});

export const auditSchema = z.object({
  schema: z.literal("faultline.audit/1"),
  verdict: z.enum(["match", "divergent"]),
  first: firstSchema.nullable(),
  /** Every op at fault, in execution order. */
  origins: z.array(
    z.object({
      step: count,
      steps: z.array(count),
      tap: z.string(),
      verdict: z.enum(["proved", "likely"]),
      relL2: figure,
      allowed: figure,
      diagnosis: diagnosisSchema.nullable(),
      /** The shape of the error, one fact a line, the most telling first. */
      anatomy: z.array(z.string()),
    }),
  ),
  /** Of the first op at fault. */
  diagnosis: diagnosisSchema.nullable(),
  totals: z.object({
    records: count,
    judged: count,
    clean: count,
    suspicious: count,
    likely: count,
    proved: count,
    not_judged: count,
  }),
  /** Largest shares of the bounds by name of tap: how tight they are. */
  kinds: z.array(
    z.object({ tap: z.string(), ops: count, relL2: figure, of_likely: figure, of_worst: figure, at: z.string() }),
  ),
  ops: z.array(
    z.object({
      step: count,
      tap: z.string(),
      op: z.string(),
      verdict,
      reason: z.string().nullable(),
      relL2: figure,
      likely: figure,
      worst: figure,
      of_likely: figure,
      of_worst: figure,
      beyond_likely: count.nullable(),
      beyond_worst: count.nullable(),
      factor: figure,
      total: figure,
      inherited: figure,
      added: figure,
      cancelled: figure,
      amplification: figure,
    }),
  ),
  /** Where the first NaN or Inf began; null where all is finite, or nothing tells. */
  not_finite: z
    .object({
      step: count,
      tap: z.string(),
      row: count,
      column: count,
      value: z.string(),
      reason: z.string(),
      sentence: z.string(),
    })
    .nullable(),
  /** Largest magnitude as a share of the largest half. */
  f16_headroom: z.object({ max_abs: figure, share: figure, tap: z.string().nullable() }),
  others: z.array(z.object({ tap: z.string(), step: count, reason: z.string() })),
  warnings: z.array(z.string()),
});
export type AuditFirst = z.infer<typeof firstSchema>;

const finite = (value: number | null | undefined) =>
  value !== null && value !== undefined && Number.isFinite(value) ? value : null;

/** `in step 0`, `in steps 1 to 8`, `in steps 0, 2, 5`. */
export function stepsText(steps: readonly number[]): string {
  const [first = 0, last = 0] = [steps[0], steps.at(-1)];
  if (steps.length === 1) return `in step ${first}`;
  return last - first + 1 === steps.length
    ? `in steps ${first} to ${last}`
    : `in steps ${steps.slice(0, 4).join(", ")}${steps.length > 4 ? `, ... ${last}` : ""}`;
}

const isNonFinite = ({ op }: Fault) => (op.own?.nonFinite.unexplained ?? 0) > 0;

/** What proves a fault: the figures beside what rounding explains. */
export function proofText(fault: Fault, audit: JudgedAudit): string {
  const { op, verdict } = fault;
  const { own } = op;
  if (own === null) return "";
  if (isNonFinite(fault) && own.nonFinite.first >= 0) {
    const where = placeWords(elementPlace(op, own.nonFinite.first, audit.trace.manifest));
    return `${own.nonFinite.unexplained} of ${own.count} elements ${own.nonFinite.unexplained === 1 ? "is" : "are"} not finite although inputs and right values are; the first at ${where}`;
  }
  const relative = `off by relL2 ${short(own.relL2)} where rounding explains ${short(own.likely)}`;
  if (verdict === "proved" && own.at !== null) {
    const where = placeWords(elementPlace(op, own.at.index, audit.trace.manifest));
    const [gave, right] = apart(own.at.actual, own.at.expected);
    return `${relative}; at ${where} it gave ${gave} for ${right}, ${times(own.worstShare)} what any right computation may be off by`;
  }
  return verdictOf(op) === "likely"
    ? `${relative}; all elements are scaled alike, by ${nearOne(1 + own.factor.value)}, ${times(Math.abs(own.factor.value) / own.factor.allowed)} what rounding explains of that`
    : `${relative}; ${own.beyondLikely} of ${own.count} elements are beyond what independent roundings explain, and a known bug reproduces the output`;
}

const times = (share: number) => (Number.isFinite(share) ? `${timesOver(share)} times` : "beyond");

/** One sentence about one op at fault. */
export function faultSentence(fault: Fault): string {
  const cause = fault.diagnosis === null ? null : causePhrase(fault.diagnosis);
  const how = fault.verdict === "proved" ? "is wrong by itself" : "is very likely wrong by itself";
  return `${fault.tap} ${how} ${stepsText(fault.steps)}${cause === null ? "" : `: ${cause}`}`;
}

/** The headline: the first op at fault, in execution order. Null where there is none. */
export function firstFault(audit: JudgedAudit): AuditFirst | null {
  const [fault] = audit.faults;
  if (fault === undefined) return null;
  const { op } = fault;
  const at = op.own?.at ?? null;
  return {
    step: op.step,
    tap: op.tap,
    op: op.op,
    kind: isNonFinite(fault) ? "non-finite" : "own-fault",
    relL2: finite(op.own?.relL2),
    allowed: finite(op.own?.worst),
    at:
      at === null
        ? null
        : {
            ...elementPlace(op, at.index, audit.trace.manifest),
            expected: finite(at.expected),
            actual: finite(at.actual),
          },
    sentence: `${faultSentence(fault)}; ${proofText(fault, audit)}`,
  };
}

/** Largest shares of the bounds by name of tap, in the order of the graph. */
export function tightness(ops: readonly AuditedOp[]) {
  const kinds = new Map<string, { ops: number; relL2: number; ofLikely: number; ofWorst: number; at: string }>();
  for (const { tap, step, own } of ops) {
    if (own === null) continue;
    const name = nameInLayer(tap);
    const known = kinds.get(name) ?? { ops: 0, relL2: 0, ofLikely: -1, ofWorst: 0, at: "" };
    const isWorse = own.likelyShare > known.ofLikely;
    kinds.set(name, {
      ops: known.ops + 1,
      relL2: Math.max(known.relL2, own.relL2),
      ofLikely: isWorse ? own.likelyShare : known.ofLikely,
      ofWorst: Math.max(known.ofWorst, own.worstShare),
      at: isWorse ? `${tap}, step ${step}` : known.at,
    });
  }
  return kinds;
}

function notFinite({ nonFinite }: JudgedAudit) {
  const first = nonFinite?.first ?? null;
  if (first === null) return null;
  const { step, tap, place, value, reason } = first;
  return { step, tap, row: place.row, column: place.column, value, reason: reason.kind, sentence: reasonText(reason) };
}

/** The document of `audit --json`. */
export function auditJson(audit: JudgedAudit): z.infer<typeof auditSchema> {
  const { counts, ops, faults } = audit;
  const [fault] = faults;
  const diagnosis = (of: Fault | undefined) =>
    of === undefined || of.diagnosis === null ? null : diagnosisJson(of.diagnosis);
  return auditSchema.parse({
    schema: "faultline.audit/1",
    verdict: audit.verdict,
    first: firstFault(audit),
    origins: faults.map((each) => ({
      step: each.step,
      steps: [...each.steps],
      tap: each.tap,
      verdict: each.verdict,
      relL2: finite(each.op.own?.relL2),
      allowed: finite(each.op.own?.worst),
      diagnosis: diagnosis(each),
      anatomy: each.anatomy === null ? [] : anatomyText(each.anatomy),
    })),
    diagnosis: diagnosis(fault),
    totals: {
      records: ops.length + audit.others.length,
      judged: ops.length - counts["not-judged"],
      clean: counts.clean,
      suspicious: counts.suspicious,
      likely: counts.likely,
      proved: counts.proved,
      not_judged: counts["not-judged"],
    },
    kinds: [...tightness(ops)].map(([tap, { ops: number, relL2, ofLikely, ofWorst, at }]) => ({
      ...{ tap, ops: number, at },
      relL2: finite(relL2),
      of_likely: finite(ofLikely),
      of_worst: finite(ofWorst),
    })),
    ops: ops.map((op) => ({
      step: op.step,
      tap: op.tap,
      op: op.op,
      verdict: verdictOf(op),
      reason: op.reason,
      relL2: finite(op.own?.relL2),
      likely: finite(op.own?.likely),
      worst: finite(op.own?.worst),
      of_likely: finite(op.own?.likelyShare),
      of_worst: finite(op.own?.worstShare),
      beyond_likely: op.own?.beyondLikely ?? null,
      beyond_worst: op.own?.beyondWorst ?? null,
      factor: finite(op.own?.factor.value),
      total: finite(op.parts?.total),
      inherited: finite(op.parts?.inherited),
      added: finite(op.parts?.added),
      cancelled: finite(op.parts?.cancelled),
      amplification: finite(op.parts?.amplification),
    })),
    not_finite: notFinite(audit),
    f16_headroom: {
      max_abs: finite(audit.headroom.overall.maxAbs),
      share: finite(audit.headroom.overall.share),
      tap: audit.headroom.overall.at?.tap ?? null,
    },
    others: audit.others.map((each) => ({ ...each })),
    warnings: [...audit.warnings],
  });
}
