/** What the bug of a run is. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { checkNeeded, type DiagnosedTrace, diagnoseTrace } from "../compare/diagnose-trace.ts";
import { TraceValues } from "../compare/run-values.ts";
import type { Model } from "../model/model.ts";
import { packageVersion } from "../model/package-root.ts";
import { firstLine } from "../report/colors.ts";
import { diagnosesText } from "../report/diagnoses.ts";
import { type Trace, withTrace } from "../trace/reader.ts";
import { callback, checkOptions } from "./checked.ts";
import { type TraceOrPath, withModelOf, withTraces } from "./opened.ts";

export interface DiagnoseModelOptions {
  /** Path of the GGUF file that was run. */
  readonly model: string;
  /** Only this op, e.g. "blk.3.q_rope". */
  readonly tap?: string;
  /** For a trace without values: a trusted run of the same tokens that has them. Unless told, the f64 oracle runs the tokens (slowly). */
  readonly against?: TraceOrPath;
  /** In ops, of a trace with values. */
  readonly progress?: (done: number, total: number) => void;
}

export interface Diagnoses extends DiagnosedTrace {
  /** The verdict, the first op at fault and its cause, in one line. */
  readonly line: string;
}

const KNOWN: { readonly [K in keyof DiagnoseModelOptions]-?: z.ZodType } = {
  ...{ model: z.string(), tap: z.string().optional(), against: z.unknown().optional(), progress: callback.optional() },
};

/**
 * Names the bug of each op at fault, as `faultline diagnose` does: the one that, computed on purpose, reproduces its output. `ops` is
 * empty where none is found at fault; `diagnosis` is null, or has no `causes`, where the evidence does not allow a name.
 * Throws InputError where model, tap or reference do not fit, TraceError where nothing can be judged.
 */
export async function diagnose(trace: TraceOrPath, options: DiagnoseModelOptions): Promise<Diagnoses> {
  checkOptions("diagnose", KNOWN, options);
  const { model: path, tap, against, progress } = options;
  return withTraces(async (open) => {
    const judged = await open("what is diagnosed", trace);
    return withModelOf(judged, path, async (model) => {
      checkNeeded(judged, against);
      const found = await diagnoseTrace(model, judged, {
        ...(tap === undefined ? {} : { tap }),
        ...(progress === undefined ? {} : { progress }),
        beside: async (judge) =>
          against === undefined ? besideOracle(model, judged, judge) : judge(await open("against", against)),
      });
      return { ...found, line: firstLine(diagnosesText(judged.path, found, tap)) };
    });
  });
}

async function besideOracle<T>(model: Model, trace: Trace, judge: (expected: Trace) => Promise<T>): Promise<T> {
  const [{ oracleRun }, { traceModel }] = await Promise.all([
    import("../run/oracle-run.ts"),
    import("../run/trace-model.ts"),
  ]);
  const { steps } = new TraceValues(trace, model);
  const folder = mkdtempSync(join(tmpdir(), "faultline-oracle-"));
  try {
    const output = join(folder, "oracle.arrow");
    await traceModel(oracleRun(model, steps, { path: trace.path, output, version: packageVersion() }));
    return await withTrace(output, judge);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
