/** Options of the library held against what is known, for callers without types: a wrong name would else be taken as never given. */
import { z } from "zod";
import { InputError } from "../trace/errors.ts";

/** Throws InputError with the first option that does not fit. `called`: the function, for the message. */
export function checkOptions(called: string, known: z.ZodRawShape, options: unknown): void {
  const { error } = z.strictObject(known).safeParse(options);
  const [issue] = error?.issues ?? [];
  if (issue === undefined) return;
  const at = issue.path.length === 0 ? "" : `${issue.path.join(".")}: `;
  const there = issue.code === "unrecognized_keys" ? `; there are ${Object.keys(known).join(", ")}` : "";
  throw new InputError(`${called}: ${at}${issue.message}${there}`);
}

/** A function that is told how far the work is. */
export const callback = z.custom<(...given: never[]) => void>((value) => typeof value === "function", "not a function");
