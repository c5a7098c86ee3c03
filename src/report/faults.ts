/** What `faults` prints, and the table of docs/faults.md. */
import { z } from "zod";
import { colors } from "./colors.ts";

const faultSchema = z.object({
  id: z.string(),
  /** Where it can be planted, for people. */
  taps: z.string(),
  /** The tap it is planted at unless one is given; in the middle layer, if in a layer. */
  usual: z.string(),
  /** What may follow a colon. */
  parameter: z.string().nullable(),
  what: z.string(),
});
export type FaultListed = z.infer<typeof faultSchema>;
export const faultsSchema = z.object({ schema: z.literal("faultline.faults/1"), faults: z.array(faultSchema) });

export function faultsJson(faults: readonly FaultListed[]): z.infer<typeof faultsSchema> {
  return faultsSchema.parse({ schema: "faultline.faults/1", faults });
}

const written = ({ id, parameter }: FaultListed) => (parameter === null ? id : `${id}[:${parameter}]`);

/** A sentence is longer than a line, so each fault has its own paragraph. */
export function faultsText(faults: readonly FaultListed[]): string {
  const paragraphs = faults.map((fault) => {
    const places = fault.taps === fault.usual ? fault.usual : `${fault.usual} (or ${fault.taps})`;
    return `${written(fault)}  ${colors.dim(places)}\n  ${fault.what}\n`;
  });
  return `${paragraphs.join("")}\n${faults.length} faults; plant one with --fault ID[@TAP][:VALUE]\n`;
}

/** Rows of a Markdown table. */
export function faultsMarkdown(faults: readonly FaultListed[]): string {
  const rows = faults.map(
    (fault) =>
      `| \`${written(fault)}\` | ${fault.taps.replaceAll("*", "\\*")} | ${fault.usual} | ${fault.what.replaceAll("*", "\\*")} |`,
  );
  return [
    "| id | can be planted at | unless told | what you see, why, where to look |",
    "|---|---|---|---|",
    ...rows,
  ].join("\n");
}
