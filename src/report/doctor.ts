/** What `doctor` prints. */

import { z } from "zod";
import { colors } from "./colors.ts";
import { type Column, table } from "./table.ts";

const finding = z.object({
  name: z.string(),
  state: z.enum(["works", "missing"]),
  found: z.string(),
  /** True if the engine cannot run without it. */
  needed: z.boolean(),
  remedy: z.string(),
});
export type DoctorFinding = z.infer<typeof finding>;

export const doctorSchema = z.object({ schema: z.literal("faultline.doctor/1"), findings: z.array(finding) });

export function doctorJson(findings: readonly DoctorFinding[]): z.infer<typeof doctorSchema> {
  return doctorSchema.parse({ schema: "faultline.doctor/1", findings });
}

const COLUMNS: readonly Column[] = ["", "", ""].map((title) => ({ title, align: "left" }));

export function doctorText(findings: readonly DoctorFinding[]): string {
  const rows = findings.map(({ name, state, found, needed }) => [
    state === "works" ? colors.green(state) : needed ? colors.red("MISSING") : colors.yellow(state),
    name,
    found,
  ]);
  const [, ...lines] = table(COLUMNS, rows).split("\n");
  return findings
    .map(({ state, remedy }, i) => `${lines[i]}\n${state === "works" ? "" : `         mend: ${remedy}\n`}`)
    .join("");
}
