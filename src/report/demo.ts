/** The demo in words: three short stories with the verdict of each. */
import { z } from "zod";
import type { Comparison } from "../compare/compare.ts";
import type { JudgedAudit } from "../compare/judged-audit.ts";
import type { Manifest } from "../trace/record.ts";
import { faultSentence } from "./audit-facts.ts";
import { colors } from "./colors.ts";
import { verdictLine, whereItBegins } from "./comparison.ts";
import { comparisonJson, comparisonSchema, first } from "./comparison-facts.ts";
import { diagnosisLines } from "./diagnosis.ts";
import { seconds, visible } from "./numbers.ts";

export interface DemoRun {
  /** `id@tap`, or null for the engine as it is. */
  readonly fault: string | null;
  readonly what: string | null;
  /** What the engine went on to say. */
  readonly text: string;
  readonly comparison: Comparison;
  readonly audit: JudgedAudit;
  readonly elapsedMs: number;
}

export const demoSchema = z.object({
  schema: z.literal("faultline.demo/1"),
  as_planted: z.boolean(),
  runs: z.array(
    z.object({
      fault: z.string().nullable(),
      text: z.string(),
      /** What the audit names: hypotheses that reproduce the output of the first op at fault. */
      causes: z.array(z.string()),
      comparison: comparisonSchema,
    }),
  ),
});

const causesOf = ({ audit: { faults } }: DemoRun) =>
  faults[0]?.diagnosis?.causes.map(({ hypothesis }) => hypothesis) ?? [];

/** True if the clean run matches and no op of it is at fault, and a planted fault is proved at its tap and named. */
export function isAsPlanted(run: DemoRun): boolean {
  const { fault, comparison, audit } = run;
  if (fault === null) return comparison.verdict === "match" && audit.verdict === "match";
  const [id = "", tap] = fault.split("@");
  return first(comparison)?.tap === tap && audit.faults[0]?.tap === tap && causesOf(run).includes(id);
}

export function demoHead({ producer, prompt, model }: Manifest): string {
  return [
    `${colors.bold(model.file)}, every op of every step, against ${producer.name} ${producer.version} (PyTorch, CPU)`,
    `prompt: "${visible(prompt ?? "")}"`,
    "",
    "",
  ].join("\n");
}

export function demoRunText(run: DemoRun, number: number): string {
  const { fault, what, text, comparison, audit, elapsedMs } = run;
  const title = fault === null ? "the engine as it is" : `with a planted fault: ${fault}`;
  return [
    `${colors.bold(`${number}. ${title}`)}  (${seconds(elapsedMs)})`,
    ...(what === null ? [] : [colors.dim(`   ${what}`)]),
    `   it says: "${visible(text)}"`,
    `   ${verdictLine(comparison)}`,
    ...proofLines(audit).map((line) => `   ${line}`),
    ...(fault === null ? [] : [whereItBegins(comparison).replaceAll(/^/gm, "   ")]),
    "",
    "",
  ].join("\n");
}

function proofLines({ faults, counts, ops }: JudgedAudit): string[] {
  const [fault] = faults;
  if (fault === undefined)
    return [`no op is wrong by itself: ${counts.clean} of ${ops.length}, recomputed from their own inputs, are right`];
  return [`proved: ${faultSentence(fault)}`, ...(fault.diagnosis === null ? [] : diagnosisLines(fault.diagnosis))];
}

export function demoTail(runs: readonly DemoRun[], folder: string): string {
  const right = runs.filter(isAsPlanted).length;
  const verdict = right === runs.length ? colors.green("as planted") : colors.red("not as planted");
  return [
    `${right} of ${runs.length} verdicts are ${verdict}. Traces, report.txt and a page for each run (.html, to open in a browser) are in ${folder}.`,
    "Your own model: npx faultline bisect model.gguf --against llamacpp --exact -p TEXT; your own engine: docs/writing-a-dumper.md",
    "",
  ].join("\n");
}

export function demoJson(runs: readonly DemoRun[]): z.infer<typeof demoSchema> {
  return demoSchema.parse({
    schema: "faultline.demo/1",
    as_planted: runs.every(isAsPlanted),
    runs: runs.map((run) => ({
      ...{ fault: run.fault, text: run.text, causes: causesOf(run) },
      comparison: comparisonJson(run.comparison),
    })),
  });
}
