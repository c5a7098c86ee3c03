/** What comes after a comparison, with progress on the terminal, and what would have shown more. */
import { suggest } from "../compare/blind/suggest.ts";
import { blindSpots } from "../compare/blind-spots.ts";
import type { Comparison } from "../compare/compare.ts";
import { blindRunOf, judgeTraces } from "../compare/judged-traces.ts";
import type { Model } from "../model/model.ts";
import { suggestionsText } from "../report/blind-spots.ts";
import type { Trace } from "../trace/reader.ts";
import { audited } from "./audited.ts";

export { blindRunOf, spotsOf } from "../compare/judged-traces.ts";

/** Judges the actual trace by itself, and where no op of it is found wrong and yet it parts from the reference, the reference too. */
export const judge = (
  model: Model,
  expected: Trace,
  actual: Trace,
  comparison: Comparison,
  { audit, quiet }: { readonly audit: boolean; readonly quiet?: boolean },
) => {
  const auditor = audit ? (trace: Trace, options = {}) => audited(model, trace, quiet, options) : null;
  return judgeTraces(model, expected, actual, comparison, auditor);
};

/** Lines of `--suggest`: the smallest prompt or setting that removes each blind spot. */
export async function suggestions(model: Model, trace: Trace): Promise<string> {
  const run = await blindRunOf(model, trace);
  return run === null ? "" : suggestionsText(suggest(model, run, blindSpots(model, run)), model.file.path);
}
