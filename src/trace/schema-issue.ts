/** What a schema objects to, in the words of the file's writer. */
import type { ZodError } from "zod";

/** The first objection: where it is, and what is wrong there. `whole` names the document itself. */
export function firstIssue({ issues }: ZodError, whole: string): string {
  const [issue] = issues;
  const place = issue?.path.join(".") || whole;
  const message = issue?.message ?? "";
  if (/received undefined$/.test(message)) return `${place} is missing`;
  return `${place}: ${message.replace(/^Invalid input: /, "").replace(/^Invalid option: /, "")}`;
}
