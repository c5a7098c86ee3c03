/**
 * What `import ... from "faultline"` gives: a model traced, traces opened, compared, audited and diagnosed, outputs judged. The
 * GPU library is loaded where a model is run (`traceModel`, `diagnose` beside the oracle); `device: "oracle"` needs no adapter.
 */
export type { Audit } from "../compare/audit.ts";
export type { AuditedOp } from "../compare/audit-node.ts";
export type { ComparedOp, Comparison } from "../compare/compare.ts";
export type { Candidate, Diagnosis } from "../compare/diagnose.ts";
export type { DiagnosedOp, DiagnosedTrace } from "../compare/diagnose-trace.ts";
export type { Fault, JudgedAudit } from "../compare/judged-audit.ts";
export type { BudgetElement, BudgetFacts } from "../compare/within-budget.ts";
export { DeviceError } from "../engine/errors.ts";
export { ModelError } from "../model/errors.ts";
export type { CaptureLevel } from "../trace/capture.ts";
export { InputError, InterruptedError, TraceError } from "../trace/errors.ts";
export type { RecordSummary, Trace } from "../trace/reader.ts";
export type { Manifest, TraceRecord } from "../trace/record.ts";
export type { TraceFacts } from "../trace/trace-facts.ts";
export { type AuditedTrace, type AuditModelOptions, audit } from "./audit.ts";
export { type DiagnoseModelOptions, type Diagnoses, diagnose } from "./diagnose.ts";
export type { Declared, Given, Kind, Numbers, Weight } from "./given.ts";
export type { TraceOrPath } from "./opened.ts";
export { type TracedModel, type TraceModelOptions, traceModel } from "./trace-model.ts";
export { type CompareTracesOptions, compareTraces, openTrace } from "./traces.ts";
export { withinBudget } from "./within-budget.ts";
