/** What `diagnose` says of each op at fault, in words and as JSON. */
import { z } from "zod";
import type { DiagnosedOp, DiagnosedTrace } from "../compare/diagnose-trace.ts";
import { colors } from "./colors.ts";
import { causePhrase, diagnosisJson, diagnosisLines, diagnosisSchema } from "./diagnosis.ts";

export const diagnosesSchema = z.object({
  schema: z.literal("faultline.diagnosis/1"),
  verdict: z.enum(["match", "divergent"]),
  trace: z.string(),
  judged: z.object({
    by: z.enum(["audit", "comparison"]),
    ops: z.number().int().min(0),
    not_judged: z.number().int().min(0),
  }),
  ops: z.array(
    z.object({
      tap: z.string(),
      step: z.number().int(),
      evidence: z.enum(["values", "sketch", "statistics", "hash"]),
      diagnosis: diagnosisSchema.nullable(),
    }),
  ),
});

export function diagnosesJson(trace: string, { ops, judged }: DiagnosedTrace): z.infer<typeof diagnosesSchema> {
  return {
    schema: "faultline.diagnosis/1",
    verdict: ops.length === 0 ? "match" : "divergent",
    trace,
    judged: { by: judged.by, ops: judged.ops, not_judged: judged.notJudged },
    ops: ops.map(({ diagnosis, ...op }) => ({
      ...op,
      diagnosis: diagnosis === null ? null : diagnosisJson(diagnosis),
    })),
  };
}

/** `tap`: the one that was asked for, where it was one. */
export function diagnosesText(
  trace: string,
  { ops, judged: { by, ops: all, notJudged } }: DiagnosedTrace,
  tap?: string,
): string {
  const left =
    notJudged === 0
      ? ""
      : `note: ${notJudged} of ${all} ops could not be judged; faultline ${by === "audit" ? "audit" : "compare"} says why\n`;
  if (ops.length === 0)
    return `${colors.green(colors.bold("match"))}: ${tap === undefined ? "no op" : tap} of ${trace} is ${tap === undefined ? "" : "not "}found at fault, so there is nothing to explain\n${left}`;
  return ops
    .flatMap(({ tap, step, evidence, diagnosis }) => {
      const cause = diagnosis === null ? null : causePhrase(diagnosis);
      return [
        `${colors.red(colors.bold("divergent"))}: ${tap} from step ${step} on${cause === null ? "" : `: ${cause}`}`,
        ...(diagnosis === null ? [withheld(evidence)] : diagnosisLines(diagnosis)).map((line) => `   ${line}`),
      ];
    })
    .concat(left)
    .join("\n");
}

/** Why no cause is named. */
function withheld(evidence: DiagnosedOp["evidence"]): string {
  return evidence === "statistics"
    ? "cause: withheld; statistics tell where, many bugs share them; trace with --capture sketch or full"
    : "cause: withheld; too little of the op and its inputs is in the traces; trace with --capture full";
}
