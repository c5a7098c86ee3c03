/** What commands that audit share: the model as the trace ran it, and an audit with its causes. */
import { type AuditOptions, auditTrace } from "../compare/audit.ts";
import { diagnoseAudit, type JudgedAudit } from "../compare/judged-audit.ts";
import type { Model } from "../model/model.ts";
import type { Trace } from "../trace/reader.ts";
import { progressBar, underway } from "./progress.ts";

export { modelOf } from "../compare/judged-traces.ts";

/** An audit with its causes, with progress on the terminal. */
export async function audited(
  model: Model,
  trace: Trace,
  quiet: boolean | undefined,
  options: AuditOptions = {},
): Promise<JudgedAudit> {
  const bar = progressBar("auditing", "ops", quiet);
  try {
    const audit = await auditTrace(model, trace, { ...options, progress: (done, total) => bar.update(done, total) });
    bar.stop();
    return await underway("causes", quiet, () => diagnoseAudit(model, trace, audit));
  } finally {
    bar.stop();
  }
}
