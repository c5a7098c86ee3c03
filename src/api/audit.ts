/** Every op of a trace recomputed from its own inputs, and the bug that explains what is wrong: no reference is needed. */
import { z } from "zod";
import { auditTrace, wantedOps } from "../compare/audit.ts";
import { diagnoseAudit, type JudgedAudit } from "../compare/judged-audit.ts";
import { auditText } from "../report/audit.ts";
import { firstLine } from "../report/colors.ts";
import { callback, checkOptions } from "./checked.ts";
import { type TraceOrPath, withModelOf, withTraces } from "./opened.ts";

export interface AuditModelOptions {
  /** Path of the GGUF file that was run. */
  readonly model: string;
  /** A run of the same tokens: tells inherited from added error. */
  readonly against?: TraceOrPath;
  /** Globs of the ops to judge, e.g. `["blk.0.*", "logits"]`; all unless told. */
  readonly taps?: readonly string[];
  /** Threads; as many as the machine has unless told, 0 for none. */
  readonly workers?: number;
  /** In ops. */
  readonly progress?: (done: number, total: number) => void;
}

export interface AuditedTrace extends JudgedAudit {
  /** The verdict and what is at fault, in one line. */
  readonly line: string;
}

const KNOWN: { readonly [K in keyof AuditModelOptions]-?: z.ZodType } = {
  ...{ model: z.string(), against: z.unknown().optional(), taps: z.array(z.string()).readonly().optional() },
  ...{ workers: z.number().int().min(0).optional(), progress: callback.optional() },
};

/**
 * Recomputes every op in f64 from the trace's own inputs, as `faultline audit` does. `verdict` is "divergent" where `faults` has an op:
 * one whose error no rounding explains, with its cause where a known bug reproduces the output. `counts["not-judged"]` ops had too little
 * in the trace. Needs a trace with values (capture "full") and no GPU. Throws InputError where the model is not the trace's or an option
 * does not fit, TraceError where nothing can be judged.
 */
export async function audit(trace: TraceOrPath, options: AuditModelOptions): Promise<AuditedTrace> {
  checkOptions("audit", KNOWN, options);
  const { model: path, against, taps, workers, progress } = options;
  return withTraces(async (open) => {
    const judged = await open("what is audited", trace);
    const beside = against === undefined ? {} : { against: await open("against", against) };
    return withModelOf(judged, path, async (model) => {
      const facts = await auditTrace(model, judged, {
        ...beside,
        ...(taps === undefined ? {} : { wants: wantedOps(model, taps) }),
        ...(workers === undefined ? {} : { workers }),
        ...(progress === undefined ? {} : { progress }),
      });
      const found = await diagnoseAudit(model, judged, facts);
      return { ...found, line: firstLine(auditText(found)) };
    });
  });
}
