/** `faultline audit`: every op of a trace recomputed from its own inputs, and the cause of what is wrong. */
import type { Command } from "commander";
import { type AuditOptions, auditTrace } from "../compare/audit.ts";
import { diagnoseAudit, type JudgedAudit } from "../compare/judged-audit.ts";
import { type Model, openModel } from "../model/model.ts";
import { auditText } from "../report/audit.ts";
import { auditJson } from "../report/audit-facts.ts";
import { tapFilter, tapMatcher } from "../trace/capture.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { DIVERGENT } from "./compare.ts";
import { addGitBisectOption, addOutputOptions, globList, integer, type OutputOptions } from "./options.ts";
import { progressBar } from "./progress.ts";

interface Options extends OutputOptions {
  readonly model: string;
  readonly against?: string;
  readonly taps?: readonly string[];
  readonly workers?: number;
}

export function addAudit(program: Command): void {
  const command = program
    .command("audit")
    .description(
      "recompute every op of a trace from its own inputs; name the ops that are wrong by themselves, and why",
    )
    .argument("<trace>", "trace with values (--capture full)")
    .requiredOption("--model <model>", "the GGUF file that was run")
    .option("--against <trace>", "a trace of the same tokens: tells inherited from added error")
    .option("--taps <globs>", "ops to judge, comma-separated, e.g. 'blk.0.*,logits'", globList)
    .option("--workers <count>", "threads; as many as the machine has unless told", integer(0));
  addOutputOptions(addGitBisectOption(command))
    .addHelpText(
      "after",
      "\nExit status: 0 no op is at fault, 1 one is, 2 could not audit.\n\nExample:\n  faultline audit mine.arrow --model model.gguf",
    )
    .action(async (path: string, options: Options) => {
      const open: Trace[] = [];
      const openTrace = async (name: string) => {
        const trace = await Trace.open(name);
        open.push(trace);
        return trace;
      };
      try {
        const trace = await openTrace(path);
        const model = await modelOf(trace, options.model);
        try {
          const against = options.against === undefined ? {} : { against: await openTrace(options.against) };
          const judged = await audited(model, trace, options.quiet, {
            ...against,
            ...(options.taps === undefined ? {} : { wants: wanted(model, options.taps) }),
            ...(options.workers === undefined ? {} : { workers: options.workers }),
          });
          process.stdout.write(options.json ? `${JSON.stringify(auditJson(judged))}\n` : auditText(judged));
          if (judged.verdict === "divergent") process.exitCode = DIVERGENT;
        } finally {
          model.file.close();
        }
      } finally {
        for (const trace of open) await trace.close();
      }
    });
}

/** The model with the layers that the trace ran. */
export function modelOf(trace: Trace, path: string): Promise<Model> {
  const { layers } = trace.manifest.producer.settings;
  return openModel(path, typeof layers === "string" ? { layers } : {});
}

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
    return await diagnoseAudit(model, trace, audit);
  } finally {
    bar.stop();
  }
}

function wanted(model: Model, taps: readonly string[]): (tap: string) => boolean {
  const idle = taps.find((glob) => !model.graph.some(({ op }) => tapMatcher([glob])(op.tap)));
  if (idle !== undefined) throw new InputError(`no op matches ${idle}; ops are named like blk.0.attn_norm, logits`);
  return tapFilter(taps);
}
