/** `faultline determinism`: the same run again, over other memory, with and without a trace: the same bits? */
import type { Command } from "commander";
import { openModel } from "../model/model.ts";
import { determinismJson, determinismText } from "../report/determinism.ts";
import { determinismReport } from "../report/document/determinism.ts";
import type { EngineOptions, PromptOptions } from "../run/options.ts";
import { plantedIn } from "../run/planted.ts";
import { readPrompt } from "../run/prompt.ts";
import { DIVERGENT } from "./compare.ts";
import { checkDeterminism } from "./determinism-checks.ts";
import {
  addEngineOptions,
  addGitBisectOption,
  addOutputOptions,
  addPromptOptions,
  integer,
  type OutputOptions,
} from "./options.ts";
import { print } from "./output.ts";
import { addPageOptions, checkReportFiles, leaveReports, type ReportOptions } from "./report-files.ts";

type Options = PromptOptions &
  EngineOptions &
  OutputOptions &
  ReportOptions & { steps: number; runs: number; quick?: boolean };

export function addDeterminism(program: Command, version: string): void {
  const command = program
    .command("determinism")
    .description("run a model again, over poisoned memory and without a trace, and name the first op whose bits change")
    .argument("<model>", "GGUF file")
    .option("-r, --runs <count>", "runs on one device, at least 2", integer(2), 3)
    .option("-n, --steps <count>", "decode steps after the prompt", integer(0), 2)
    .option("--quick", "four runs: a repeat at level full, an untraced one, one over NaN");
  addPageOptions(addOutputOptions(addGitBisectOption(addEngineOptions(addPromptOptions(command)))))
    .addHelpText(
      "after",
      '\nExit status: 0 deterministic, 1 unstable, 2 could not do it.\n\nExample:\n  faultline determinism model.gguf -p "Once upon a time"\n  faultline determinism model.gguf -p "Once upon a time" --fault memory.race@blk.1.attn_out',
    )
    .action(async (path: string, options: Options) => {
      checkReportFiles(options, [path]);
      const model = await openModel(path, options.layers === undefined ? {} : { layers: options.layers });
      try {
        const { steps, runs, quick, quiet } = options;
        const { prompt, faults } = plantedIn(model, options, readPrompt(model, options, steps), steps);
        const facts = await checkDeterminism({
          ...{ model, tokens: prompt.tokens, steps, engine: options, faults, runs },
          ...(quick === undefined ? {} : { quick }),
          ...(quiet === undefined ? {} : { quiet }),
        });
        await leaveReports(options, (created) => determinismReport(facts, { version, created }));
        print(
          options,
          () => determinismJson(facts),
          () => determinismText(facts),
        );
        if (facts.judgement.verdict === "unstable") process.exitCode = DIVERGENT;
      } finally {
        model.file.close();
      }
    });
}
