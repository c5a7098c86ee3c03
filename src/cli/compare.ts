/** `faultline compare`: two traces, the first divergent op. */
import type { Command } from "commander";
import { type Comparison, compareTraces } from "../compare/compare.ts";
import { bisectionJson, bisectionText, bisectionVerdict } from "../report/bisection.ts";
import { comparisonText } from "../report/comparison.ts";
import { comparisonJson } from "../report/comparison-facts.ts";
import { reportOf } from "../report/document/report.ts";
import type { ReportSources } from "../report/document/sources.ts";
import { piecesOf } from "../run/prompt.ts";
import { Trace } from "../trace/reader.ts";
import { modelOf } from "./audited.ts";
import { judge, suggestions } from "./judge.ts";
import { addGitBisectOption, addOutputOptions, addSuggestOption, type OutputOptions } from "./options.ts";
import { print } from "./output.ts";
import { progressBar } from "./progress.ts";
import { addReportOptions, checkReportFiles, leaveReports, type ReportOptions } from "./report-files.ts";

type Options = OutputOptions &
  ReportOptions & { readonly envelope?: string; readonly model?: string; readonly suggest?: boolean };

/** Exit status of a divergence. */
export const DIVERGENT = 1;

export function addCompare(program: Command, version: string): void {
  const command = program
    .command("compare")
    .description("hold one trace against another and name the first op that differs")
    .argument("<expected>", "trace that is trusted")
    .argument("<actual>", "trace that is judged")
    .option("--model <model>", "the GGUF file that was run: audits the actual trace too, and names causes")
    .option("--envelope <trace>", "a second trusted trace: how far it is from the expected one is taken as natural");
  addReportOptions(addOutputOptions(addGitBisectOption(addSuggestOption(command))))
    .addHelpText(
      "after",
      "\nExit status: 0 match, 1 divergent, 2 could not compare.\n\nExample:\n  faultline compare reference.arrow mine.arrow",
    )
    .action(async (expectedPath: string, actualPath: string, options: Options) => {
      checkReportFiles(options, [expectedPath, actualPath, options.envelope, options.model]);
      const open: Trace[] = [];
      const openTrace = async (path: string) => {
        const trace = await Trace.open(path);
        open.push(trace);
        return trace;
      };
      const bar = progressBar("comparing", "records", options.quiet);
      try {
        const expected = await openTrace(expectedPath);
        const actual = await openTrace(actualPath);
        const envelope = options.envelope === undefined ? {} : { envelope: await openTrace(options.envelope) };
        const comparison = await compareTraces(expected, actual, {
          ...envelope,
          progress: (done, total) => bar.update(done, total),
        });
        bar.stop();
        const sides = { expected, actual, ...envelope, comparison, version };
        if (options.model !== undefined) return await judged(sides, options.model, options);
        const left = { audit: null, auditLeftOut: "no --model was given", referenceAudit: null, diagnoses: [] };
        await report(options, { ...sides, ...left, blindSpots: [], piece: null });
        print(
          options,
          () => comparisonJson(comparison),
          () => comparisonText(comparison),
        );
        if (comparison.verdict === "divergent") process.exitCode = DIVERGENT;
      } finally {
        bar.stop();
        for (const trace of open) await trace.close();
      }
    });
}

interface Sides {
  readonly expected: Trace;
  readonly actual: Trace;
  readonly envelope?: Trace;
  readonly comparison: Comparison;
  readonly version: string;
}

/** With the model each op is judged by itself, too: the document of `bisect`. */
async function judged(sides: Sides, path: string, options: Options) {
  const { expected, actual, comparison } = sides;
  const model = await modelOf(actual, path);
  try {
    const rest = await judge(model, expected, actual, comparison, { audit: true, ...options });
    const bisection = { comparison, determinism: null, ...rest };
    const suggest = options.suggest ? await suggestions(model, actual) : "";
    await report(options, { ...sides, ...rest, piece: piecesOf(model) });
    print(
      options,
      () => bisectionJson(bisection, null),
      () => bisectionText(bisection) + suggest,
    );
    if (bisectionVerdict(bisection) === "divergent") process.exitCode = DIVERGENT;
  } finally {
    model.file.close();
  }
}

const report = (options: Options, sources: Omit<ReportSources, "created" | "determinism">): Promise<void> =>
  leaveReports(options, (created) => reportOf({ ...sources, determinism: null, created }));
