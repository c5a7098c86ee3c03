/** What `import` prints: what became of every name of the dump. */
import { z } from "zod";
import { colors } from "./colors.ts";
import { seconds } from "./numbers.ts";

export const importSchema = z.object({
  schema: z.literal("faultline.import/1"),
  file: z.string(),
  records: z.number().int(),
  steps: z.number().int(),
  ignored: z.array(z.string()),
  unknown: z.array(z.string()),
  replaced: z.array(z.string()),
  elapsed_ms: z.number(),
});

export interface ImportedFacts {
  readonly file: string;
  readonly records: number;
  readonly steps: number;
  readonly ignored: readonly string[];
  readonly unknown: readonly string[];
  readonly replaced: readonly string[];
  readonly elapsedMs: number;
}

export function importJson({
  file,
  records,
  steps,
  ignored,
  unknown,
  replaced,
  elapsedMs,
}: ImportedFacts): z.infer<typeof importSchema> {
  const lists = { ignored: [...ignored], unknown: [...unknown], replaced: [...replaced] };
  return importSchema.parse({
    schema: "faultline.import/1",
    file,
    records,
    steps,
    ...lists,
    elapsed_ms: Math.round(elapsedMs),
  });
}

export function importText(facts: ImportedFacts): string {
  const { file, records, steps, ignored, unknown, replaced, elapsedMs } = facts;
  const some = (names: readonly string[]) =>
    `${names.slice(0, 5).join(", ")}${names.length > 5 ? `, and ${names.length - 5} more` : ""}`;
  return [
    `${colors.bold(file)}: ${records} records of ${steps} step${steps === 1 ? "" : "s"}, ${seconds(elapsedMs)}`,
    ...(replaced.length > 0 ? [`replaced by a later tensor of the same tap: ${some(replaced)}`] : []),
    ...(ignored.length > 0 ? [`known to be no taps: ${some(ignored)}`] : []),
    ...(unknown.length > 0 ? [colors.yellow(`no tap has these names, they were left out: ${some(unknown)}`)] : []),
    `compare: faultline compare reference.arrow ${file}`,
    "",
  ].join("\n");
}
