/** What `doctor` prints. */

import { z } from "zod";
import { colors } from "./colors.ts";

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

export function doctorText(findings: readonly DoctorFinding[]): string {
  return findings
    .map(({ name, state, found, needed, remedy }) => {
      const mark =
        state === "works" ? colors.green("works  ") : needed ? colors.red("MISSING") : colors.yellow("missing");
      return `${mark}  ${name.padEnd(15)} ${found}${state === "works" ? "" : `\n         ${" ".repeat(15)} mend: ${remedy}`}\n`;
    })
    .join("");
}
