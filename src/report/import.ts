/** What `import` prints: what became of every name of the dump. */
import { z } from "zod";
import { colors } from "./colors.ts";
import { seconds, visible } from "./numbers.ts";

export const importSchema = z.object({
  schema: z.literal("faultline.import/1"),
  file: z.string(),
  records: z.number().int(),
  steps: z.number().int(),
  ignored: z.array(z.string()),
  unknown: z.array(z.string()),
  replaced: z.array(z.string()),
  left_out: z.array(z.object({ name: z.string(), reason: z.string() })),
  elapsed_ms: z.number(),
});

export interface ImportedFacts {
  readonly file: string;
  readonly records: number;
  readonly steps: number;
  readonly ignored: readonly string[];
  readonly unknown: readonly string[];
  readonly replaced: readonly string[];
  readonly leftOut: readonly { readonly name: string; readonly reason: string }[];
  readonly elapsedMs: number;
}

export function importJson(facts: ImportedFacts): z.infer<typeof importSchema> {
  const { file, records, steps, ignored, unknown, replaced, leftOut, elapsedMs } = facts;
  return importSchema.parse({
    schema: "faultline.import/1",
    ...{ file, records, steps, ignored: [...ignored], unknown: [...unknown], replaced: [...replaced] },
    left_out: leftOut.map(({ name, reason }) => ({ name, reason })),
    elapsed_ms: Math.round(elapsedMs),
  });
}

export function importText(facts: ImportedFacts): string {
  const { file, records, steps, ignored, unknown, replaced, leftOut, elapsedMs } = facts;
  const reasons = [...new Set(leftOut.map(({ reason }) => reason))];
  return [
    `${colors.bold(visible(file))}: ${records} records of ${steps} step${steps === 1 ? "" : "s"}, ${seconds(elapsedMs)}`,
    ...(replaced.length > 0 ? [`replaced by a later tensor of the same tap: ${some(replaced)}`] : []),
    ...(ignored.length > 0 ? [`known to be no taps: ${some(ignored)}`] : []),
    ...(unknown.length > 0 ? [colors.yellow(`no tap has these names, they were left out: ${some(unknown)}`)] : []),
    ...reasons.map((reason) => {
      const names = leftOut.filter((each) => each.reason === reason).map(({ name }) => name);
      return colors.yellow(`left out (${reason}): ${some([...new Set(names)])}`);
    }),
    `compare: faultline compare reference.arrow ${visible(file)}`,
    "",
  ].join("\n");
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, 5).map(visible).join(", ");
  return `${shown}${names.length > 5 ? `, and ${names.length - 5} more` : ""}`;
}
