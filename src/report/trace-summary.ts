/** What `trace` and `generate` print when they are done. */

import { z } from "zod";
import type { TraceFacts } from "../trace/trace-facts.ts";
import { colors } from "./colors.ts";
import { seconds, visible } from "./numbers.ts";

export const traceSummarySchema = z.object({
  schema: z.literal("faultline.trace-summary/1"),
  file: z.string(),
  records: z.number().int(),
  steps: z.number().int(),
  prompt: z.array(z.number().int()),
  generated: z.array(z.number().int()),
  device: z.string(),
  elapsed_ms: z.number(),
  peak_rss_bytes: z.number(),
});

export function traceSummaryJson({
  elapsedMs,
  peakRssBytes,
  ...facts
}: TraceFacts): z.infer<typeof traceSummarySchema> {
  return traceSummarySchema.parse({
    schema: "faultline.trace-summary/1",
    ...facts,
    elapsed_ms: Math.round(elapsedMs),
    peak_rss_bytes: peakRssBytes,
  });
}

/** `text`: the generated tokens, decoded. */
export function traceSummaryText(facts: TraceFacts, text: string): string {
  const { file, records, steps, prompt, generated, device, elapsedMs } = facts;
  const decode = steps - 1;
  return [
    `${colors.bold(file)}: ${records} records of ${steps} step${steps === 1 ? "" : "s"} (${prompt.length} prompt tokens, ${decode} decode step${decode === 1 ? "" : "s"}), ${seconds(elapsedMs)} on ${device}`,
    `continues with "${visible(text)}" (${generated.join(" ")})`,
    `look inside: faultline inspect ${file}`,
    "",
  ].join("\n");
}

export const generationSchema = z.object({
  schema: z.literal("faultline.generation/1"),
  prompt: z.array(z.number().int()),
  generated: z.array(z.number().int()),
  text: z.string(),
  device: z.string(),
  elapsed_ms: z.number(),
});

export function generationJson(facts: {
  readonly prompt: readonly number[];
  readonly generated: readonly number[];
  readonly text: string;
  readonly device: string;
  readonly elapsedMs: number;
}): z.infer<typeof generationSchema> {
  const { elapsedMs, ...rest } = facts;
  return generationSchema.parse({ schema: "faultline.generation/1", ...rest, elapsed_ms: Math.round(elapsedMs) });
}
