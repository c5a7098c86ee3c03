/** What a command says on standard output. */
import { printable } from "../report/printable.ts";
import type { OutputOptions } from "./options.ts";

/** One JSON document on a line, or the report. */
export function print({ json }: OutputOptions, document: () => unknown, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(document())}\n` : printable(text()));
}
