/** `faultline compare`: two traces, the first divergent op. */
import type { Command } from "commander";
import { compareTraces } from "../compare/compare.ts";
import { comparisonText } from "../report/comparison.ts";
import { comparisonJson } from "../report/comparison-facts.ts";
import { Trace } from "../trace/reader.ts";
import { addGitBisectOption, addOutputOptions, type OutputOptions } from "./options.ts";
import { progressBar } from "./progress.ts";

/** Exit status of a divergence. */
export const DIVERGENT = 1;

export function addCompare(program: Command): void {
  const command = program
    .command("compare")
    .description("hold one trace against another and name the first op that differs")
    .argument("<expected>", "trace that is trusted")
    .argument("<actual>", "trace that is judged")
    .option("--envelope <trace>", "a second trusted trace: how far it is from the expected one is taken as natural");
  addOutputOptions(addGitBisectOption(command))
    .addHelpText(
      "after",
      "\nExit status: 0 match, 1 divergent, 2 could not compare.\n\nExample:\n  faultline compare reference.arrow mine.arrow",
    )
    .action(async (expectedPath: string, actualPath: string, options: OutputOptions & { envelope?: string }) => {
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
        const comparison = await compareTraces(expected, actual, {
          ...(options.envelope === undefined ? {} : { envelope: await openTrace(options.envelope) }),
          progress: (done, total) => bar.update(done, total),
        });
        bar.stop();
        process.stdout.write(
          options.json ? `${JSON.stringify(comparisonJson(comparison))}\n` : comparisonText(comparison),
        );
        if (comparison.verdict === "divergent") process.exitCode = DIVERGENT;
      } finally {
        bar.stop();
        for (const trace of open) await trace.close();
      }
    });
}
