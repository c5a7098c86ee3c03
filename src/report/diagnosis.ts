/** A diagnosis in words and as JSON: what reproduces the wrong output, how well, and what comes next. */
import { z } from "zod";
import type { Candidate, Diagnosis } from "../compare/diagnose.ts";
import { short } from "./numbers.ts";

const candidateSchema = z.object({
  hypothesis: z.string(),
  what: z.string(),
  parameter: z.string().nullable(),
  residual: z.number().nullable(),
  /** A step that speaks against it. */
  contradictedBy: z.number().int().nullable(),
});

export const diagnosisSchema = z.object({
  /** Of FAULTS.md; null where no bug of the catalogue reproduces the output. */
  hypothesis: z.string().nullable(),
  what: z.string().nullable(),
  parameter: z.string().nullable(),
  /** Relative L2 distance of the prediction, and of the right output, from what the op gave. */
  residual: z.number().nullable(),
  correctResidual: z.number().nullable(),
  /** Others that reproduce it equally well. */
  ties: z.array(candidateSchema),
  runnerUp: candidateSchema.nullable(),
  /** A plain relation that holds, where no bug of the catalogue does: a factor, a permutation. */
  fit: candidateSchema.nullable(),
  /** What a residual must stay within to count as reproduced. */
  tolerance: z.number(),
  evidence: z.enum(["values", "sketch"]),
  tried: z.number().int(),
});

const finite = (value: number) => (Number.isFinite(value) ? value : null);
const candidate = ({ hypothesis, what, parameter, residual, contradictedBy }: Candidate) => ({
  ...{ hypothesis, what, parameter, contradictedBy },
  residual: finite(residual),
});

export const isFit = (cause: Candidate | undefined) => cause?.hypothesis.startsWith("fit.") ?? false;

/** The document of a diagnosis. */
export function diagnosisJson(diagnosis: Diagnosis): z.infer<typeof diagnosisSchema> {
  const { causes, runnerUp, correctResidual, tolerance, evidence, tried } = diagnosis;
  const [best, ...ties] = isFit(causes[0]) ? [] : causes;
  return {
    hypothesis: best?.hypothesis ?? null,
    what: best?.what ?? null,
    parameter: best?.parameter ?? null,
    residual: best === undefined ? null : finite(best.residual),
    correctResidual: finite(correctResidual),
    ties: ties.map(candidate),
    runnerUp: runnerUp === null ? null : candidate(runnerUp),
    fit: causes[0] !== undefined && isFit(causes[0]) ? candidate(causes[0]) : null,
    ...{ tolerance, evidence, tried },
  };
}

/** `rotated in halves instead of neighbours (rope.pairing)`: what follows "is wrong by itself: "; null where nothing is known. */
export function causePhrase({ causes }: Diagnosis): string | null {
  const [best, ...ties] = causes;
  if (best === undefined) return null;
  const id = `${best.hypothesis}${best.parameter === null ? "" : `, ${best.parameter}`}`;
  if (isFit(best)) return `${best.what} (${id}; no bug of the catalogue gives this)`;
  return ties.length === 0
    ? `${best.what} (${id})`
    : `${best.what} (${id}), or equally ${ties.map(({ hypothesis }) => hypothesis).join(", ")}`;
}

/** Lines below a fault: how well the cause explains it. */
export function diagnosisLines({ causes, runnerUp, correctResidual, tried, evidence }: Diagnosis): string[] {
  const from = evidence === "sketch" ? " (from sketches)" : "";
  const next =
    runnerUp === null || !Number.isFinite(runnerUp.residual)
      ? ""
      : `; nearest${causes.length === 0 ? "" : " other"}: ${runnerUp.hypothesis}, ${short(runnerUp.residual)} away${runnerUp.contradictedBy === null ? "" : `, but not what step ${runnerUp.contradictedBy} shows`}`;
  const right = Number.isFinite(correctResidual)
    ? `the right output is ${short(correctResidual)} away`
    : "the right output is finite elsewhere";
  if (causes.length === 0) {
    return [`cause: unknown; none of ${tried} known ways to get this op wrong reproduces the output${from}${next}`];
  }
  return causes.map(({ hypothesis, what, parameter, residual, free }, index) => {
    const open = free > 1 ? `, with ${free} elements taken as they are` : "";
    const label = index === 0 ? (isFit(causes[0]) ? "fit:  " : "cause:") : "   or:";
    return `${label} ${hypothesis}${parameter === null ? "" : ` (${parameter})`}: ${what}; reproduces the output to ${short(residual)}${open}${index === 0 ? `, ${right}${next}${from}` : ""}`;
  });
}
