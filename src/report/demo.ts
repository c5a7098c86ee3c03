/** The demo in words: three short stories with the verdict of each. */
import { z } from "zod";
import type { Comparison } from "../compare/compare.ts";
import type { Manifest } from "../trace/record.ts";
import { colors } from "./colors.ts";
import { verdictLine, whereItBegins } from "./comparison.ts";
import { comparisonJson, comparisonSchema, first } from "./comparison-facts.ts";
import { seconds, visible } from "./numbers.ts";

export interface DemoRun {
  /** `id@tap`, or null for the engine as it is. */
  readonly fault: string | null;
  readonly what: string | null;
  /** What the engine went on to say. */
  readonly text: string;
  readonly comparison: Comparison;
  readonly elapsedMs: number;
}

export const demoSchema = z.object({
  schema: z.literal("faultline.demo/1"),
  as_planted: z.boolean(),
  runs: z.array(z.object({ fault: z.string().nullable(), text: z.string(), comparison: comparisonSchema })),
});

/** True if the clean run matches, and a planted fault is named at its tap. */
export function isAsPlanted({ fault, comparison }: DemoRun): boolean {
  const tap = first(comparison)?.tap ?? null;
  return fault === null ? comparison.verdict === "match" : tap === fault.split("@")[1];
}

export function demoHead({ producer, prompt, model }: Manifest): string {
  return [
    `${colors.bold(model.file)}, every op of every step, against ${producer.name} ${producer.version} (PyTorch, CPU)`,
    `prompt: "${visible(prompt ?? "")}"`,
    "",
    "",
  ].join("\n");
}

export function demoRunText({ fault, what, text, comparison, elapsedMs }: DemoRun, number: number): string {
  const title = fault === null ? "the engine as it is" : `with a planted fault: ${fault}`;
  return [
    `${colors.bold(`${number}. ${title}`)}  (${seconds(elapsedMs)})`,
    ...(what === null ? [] : [colors.dim(`   ${what}`)]),
    `   it says: "${visible(text)}"`,
    `   ${verdictLine(comparison)}`,
    ...(fault === null ? [] : [whereItBegins(comparison).replaceAll(/^/gm, "   ")]),
    "",
    "",
  ].join("\n");
}

export function demoTail(runs: readonly DemoRun[], folder: string): string {
  const right = runs.filter(isAsPlanted).length;
  const verdict = right === runs.length ? colors.green("as planted") : colors.red("not as planted");
  return [
    `${right} of ${runs.length} verdicts are ${verdict}. Traces and report are in ${folder}.`,
    "Your own model: faultline bisect model.gguf --against llamacpp --exact -p TEXT; your own engine: docs/writing-a-dumper.md",
    "",
  ].join("\n");
}

export function demoJson(runs: readonly DemoRun[]): z.infer<typeof demoSchema> {
  return demoSchema.parse({
    schema: "faultline.demo/1",
    as_planted: runs.every(isAsPlanted),
    runs: runs.map(({ fault, text, comparison }) => ({ fault, text, comparison: comparisonJson(comparison) })),
  });
}
