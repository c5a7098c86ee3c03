/** `faultline audit`: every op of a trace recomputed from its own inputs, and the cause of what is wrong. */
import { join } from "node:path";
import type { Command } from "commander";
import { wantedOps } from "../compare/audit.ts";
import { bundleOf, checkFree } from "../compare/bundle-write.ts";
import type { JudgedAudit } from "../compare/judged-audit.ts";
import { TraceValues } from "../compare/run-values.ts";
import type { Model } from "../model/model.ts";
import { auditText } from "../report/audit.ts";
import { auditJson } from "../report/audit-facts.ts";
import { blindSpotsText } from "../report/blind-spots.ts";
import { causePhrase } from "../report/diagnosis.ts";
import { reportOf } from "../report/document/report.ts";
import { piecesOf } from "../run/prompt.ts";
import { Trace } from "../trace/reader.ts";
import { audited, modelOf } from "./audited.ts";
import { DIVERGENT } from "./compare.ts";
import { madeFolder } from "./folders.ts";
import { spotsOf, suggestions } from "./judge.ts";
import {
  addGitBisectOption,
  addOutputOptions,
  addSuggestOption,
  globList,
  integer,
  type OutputOptions,
} from "./options.ts";
import { print } from "./output.ts";
import { addReportOptions, checkReportFiles, leaveReports, type ReportOptions } from "./report-files.ts";

interface Options extends OutputOptions, ReportOptions {
  readonly model: string;
  readonly against?: string;
  readonly taps?: readonly string[];
  readonly workers?: number;
  readonly bundle?: string;
  readonly suggest?: boolean;
}

export function addAudit(program: Command, version: string): void {
  const command = program
    .command("audit")
    .description(
      "recompute every op of a trace from its own inputs; name the ops that are wrong by themselves, and why",
    )
    .argument("<trace>", "trace with values (--capture full)")
    .requiredOption("--model <model>", "the GGUF file that was run")
    .option("--against <trace>", "a trace of the same tokens: tells inherited from added error")
    .option("--taps <globs>", "ops to judge, comma-separated, e.g. 'blk.0.*,logits'", globList)
    .option("--bundle <dir>", "write each op at fault (the first 8) to a folder in DIR, for 'faultline replay'")
    .option("--workers <count>", "threads; as many as the machine has unless told", integer(0));
  addReportOptions(addOutputOptions(addGitBisectOption(addSuggestOption(command))))
    .addHelpText(
      "after",
      "\nExit status: 0 no op is at fault, 1 one is, 2 could not audit.\n\nExample:\n  faultline audit mine.arrow --model model.gguf",
    )
    .action(async (path: string, options: Options) => {
      checkReportFiles(options, [path, options.model, options.against]);
      const open: Trace[] = [];
      const openTrace = async (name: string) => {
        const trace = await Trace.open(name);
        open.push(trace);
        return trace;
      };
      try {
        if (options.bundle !== undefined) checkFree(options.bundle);
        const trace = await openTrace(path);
        const model = await modelOf(trace, options.model);
        try {
          const against = options.against === undefined ? {} : { against: await openTrace(options.against) };
          const judged = await audited(model, trace, options.quiet, {
            ...against,
            ...(options.taps === undefined ? {} : { wants: wantedOps(model, options.taps) }),
            ...(options.workers === undefined ? {} : { workers: options.workers }),
          });
          const left = options.bundle === undefined ? [] : await writeBundles(model, trace, judged, options.bundle);
          const bundles = left.map((folder) => `bundle: ${folder}; judge it again with: faultline replay ${folder}\n`);
          const blindSpots = await spotsOf(model, trace);
          const alone = { comparison: null, expected: null, referenceAudit: null, auditLeftOut: null, diagnoses: [] };
          const sources = { ...alone, audit: judged, blindSpots, actual: trace, determinism: null };
          await leaveReports(options, (created) => reportOf({ ...sources, piece: piecesOf(model), version, created }));
          const cannot = blindSpotsText(blindSpots) + (options.suggest ? await suggestions(model, trace) : "");
          print(
            options,
            () => auditJson(judged),
            () => auditText(judged) + cannot + bundles.join(""),
          );
          if (judged.verdict === "divergent") process.exitCode = DIVERGENT;
        } finally {
          model.file.close();
        }
      } finally {
        for (const trace of open) await trace.close();
      }
    });
}

/** Ops at fault that get a bundle, at most. */
const MOST_BUNDLES = 8;

/** One folder an op at fault, `blk.3.q_rope-step0`; their paths. */
export async function writeBundles(model: Model, trace: Trace, audit: JudgedAudit, folder: string): Promise<string[]> {
  const run = new TraceValues(trace, model);
  const written: string[] = [];
  for (const { op, tap, step, diagnosis } of audit.faults.slice(0, MOST_BUNDLES)) {
    madeFolder(folder);
    const path = join(folder, `${tap}-step${step}`);
    await bundleOf(model, run, op, path, diagnosis === null ? null : causePhrase(diagnosis));
    written.push(path);
  }
  return written;
}
