/** `faultline diagnose`: what the bug is, from a trace with values or from sketches alone. */
import { join } from "node:path";
import type { Command } from "commander";
import { checkNeeded, diagnoseTrace } from "../compare/diagnose-trace.ts";
import { modelOf } from "../compare/judged-traces.ts";
import { TraceValues } from "../compare/run-values.ts";
import type { Model } from "../model/model.ts";
import { diagnosesJson, diagnosesText } from "../report/diagnoses.ts";
import { oracleRun } from "../run/oracle-run.ts";
import { type Trace, withTrace } from "../trace/reader.ts";
import { DIVERGENT } from "./compare.ts";
import { inTemporaryFolder } from "./folders.ts";
import { addGitBisectOption, addOutputOptions, type OutputOptions } from "./options.ts";
import { print } from "./output.ts";
import { progressBar, underway } from "./progress.ts";
import { traced } from "./traced.ts";

interface Options extends OutputOptions {
  readonly model: string;
  readonly tap?: string;
  readonly against?: string;
}

export function addDiagnose(program: Command, version: string): void {
  const command = program
    .command("diagnose")
    .description("name the bug of the ops at fault: the one that, computed on purpose, reproduces their output")
    .argument("<trace>", "trace with values or sketches")
    .requiredOption("--model <model>", "the GGUF file that was run")
    .option("--tap <tap>", "only this op, e.g. blk.3.q_rope")
    .option(
      "--against <trace>",
      "for a trace without values: a reference with values (else the f64 oracle runs the tokens)",
    );
  addOutputOptions(addGitBisectOption(command))
    .addHelpText(
      "after",
      "\nExit status: 0 no op is at fault, 1 one is (whether or not its cause is known), 2 could not tell.\n\nExample:\n  faultline diagnose mine.arrow --model model.gguf --tap blk.3.q_rope",
    )
    .action(async (path: string, options: Options) => {
      await withTrace(path, async (trace) => {
        const model = await modelOf(trace, options.model);
        try {
          const found = await diagnosed(model, trace, options, version);
          print(
            options,
            () => diagnosesJson(path, found),
            () => diagnosesText(path, found, options.tap),
          );
          if (found.ops.length > 0) process.exitCode = DIVERGENT;
        } finally {
          model.file.close();
        }
      });
    });
}

async function diagnosed(model: Model, trace: Trace, options: Options, version: string) {
  const { tap, quiet, against } = options;
  checkNeeded(trace, against);
  const bar = progressBar("auditing", "ops", quiet);
  try {
    return await diagnoseTrace(model, trace, {
      ...(tap === undefined ? {} : { tap }),
      progress: (done, total) => bar.update(done, total),
      during: (part, work) => {
        bar.stop();
        return underway(part, quiet, work);
      },
      beside: (judge) =>
        against !== undefined
          ? withTrace(against, judge)
          : inTemporaryFolder("diagnose", async (folder) => {
              const output = join(folder, "oracle.arrow");
              const { steps } = new TraceValues(trace, model);
              await traced({ ...oracleRun(model, steps, { path: trace.path, output, version }), quiet });
              return withTrace(output, judge);
            }),
    });
  } finally {
    bar.stop();
  }
}
