/** What `import ... from "faultline"` gives: traces opened and compared, outputs judged. It needs no GPU. */
export { type ComparedOp, type CompareOptions, type Comparison, compareTraces } from "../compare/compare.ts";
export type { BudgetElement, BudgetFacts } from "../compare/within-budget.ts";
export { InputError, TraceError } from "../trace/errors.ts";
export type { RecordSummary, Trace } from "../trace/reader.ts";
export type { Manifest, TraceRecord } from "../trace/record.ts";
export type { Declared, Given, Kind, Numbers, Weight } from "./given.ts";
export { openTrace } from "./traces.ts";
export { withinBudget } from "./within-budget.ts";
