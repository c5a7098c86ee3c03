/** `faultline kernels`: every kernel alone, at many shapes and on hard inputs, held against the f64 oracle. */
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { againstHistory, historyOf, RISE, readHistory, saveHistory } from "../compare/kernels/baseline.ts";
import { KINDS_OF_KERNEL } from "../compare/kernels/cases.ts";
import { kernelsReport } from "../report/document/kernels.ts";
import { kernelsModelReport } from "../report/document/kernels-model.ts";
import { kernelsJunit } from "../report/formats/junit-kernels.ts";
import { isFailed, kernelsJson, kernelsText } from "../report/kernels.ts";
import { kernelsModelJson, kernelsModelSummary, kernelsModelText } from "../report/kernels-model.ts";
import { kernelsSummary } from "../report/kernels-summary.ts";
import { InputError } from "../trace/errors.ts";
import { DIVERGENT } from "./compare.ts";
import { LIMIT_S } from "./kernel-limits.ts";
import { kernelsOfModel } from "./kernels-model.ts";
import { checkMode, type KernelsOptions } from "./kernels-options.ts";
import { kernelFacts } from "./kernels-run.ts";
import { addDeviceOption, addGitBisectOption, addOutputOptions, addPromptOptions, integer, number } from "./options.ts";
import { print } from "./output.ts";
import { addCasesOptions, checkReportFiles, leaveReports } from "./report-files.ts";

/** Exit statuses where nothing could be judged: 2, and for `git bisect run` the one that skips. */
const [COULD_NOT, SKIP] = [2, 125];

export function addKernels(program: Command, version: string): void {
  const command = program
    .command("kernels")
    .argument(
      "[model]",
      "with --against-kernels: run this GGUF file (or `embedded`) by both versions, name the first op that differs",
    )
    .description("try every kernel alone at many shapes, on hard inputs, against the f64 oracle")
    .option("--filter <words>", "only cases whose names hold all these words, e.g. 'linear Q4_K'")
    .option("--wgsl <file>", "try this kernel instead of this program's; with --as")
    .option("--as <op>", `the op that it computes: ${KINDS_OF_KERNEL.join(", ")}`)
    .option("--kernels <dir>", "WGSL files that take the place of this program's of the same names")
    .option("--bindings <file>", "how --wgsl is called (JSON), where that is not as this program's own kernel is")
    .option("--fault <id>", "plant a bug (faultline faults) in every case that can have it");
  addDeviceOption(command)
    .option(
      "--limit <seconds>",
      `longest that a submission to the GPU may take; then the kernel is said never to end (${LIMIT_S}, of a model more)`,
      number(1, 1e6),
    )
    .option("--no-time", "do not time the calls")
    .option("--no-onnx", "do not ask ONNX Runtime's kernels too")
    .option("--save <file>", "add this run to a history (Arrow), which is made where it is not there")
    .option("--baseline <file>", `hold errors against a history: a rise above ${RISE} times its own is an alarm`)
    .option("--against-kernels <dir>", "another version's WGSL files: bits and times of both, alternately, in this run")
    .option("-n, --steps <count>", "of a model: decode steps after the prompt (4)", integer(0))
    .option("--alarms-fail", "exit with 1 where there is an alarm, as where a kernel fails", false);
  addCasesOptions(addOutputOptions(addGitBisectOption(addPromptOptions(command))))
    .addHelpText(
      "after",
      "\nExit status: 0 all pass (of a model: same bits, or all within their bounds), 1 a kernel fails, 2 could not do it.\n\nExamples:\n  faultline kernels\n  faultline kernels --filter 'rms_norm wide'\n  faultline kernels --filter rope --fault rope.pairing\n  faultline kernels --save kernels.arrow\n  faultline kernels --baseline kernels.arrow --alarms-fail\n  faultline kernels --against-kernels ../before/kernels\n  faultline kernels embedded --against-kernels ../before/kernels\n  faultline kernels --wgsl mine.wgsl --as rms_norm --bindings mine.json",
    )
    .action(async (path: string | undefined, options: KernelsOptions) => {
      checkMode(path, options);
      const { wgsl, bindings, baseline, save } = options;
      checkReportFiles(options, [path, wgsl, bindings, baseline, save]);
      await (path === undefined ? runCases(options, version) : runModel(path, options, version));
    });
}

/** Every case alone. */
async function runCases(options: KernelsOptions, version: string): Promise<void> {
  if (options.save !== undefined && options.fault !== undefined) {
    throw new InputError("--save: a run with a planted bug is no history; leave --fault out");
  }
  // A history that cannot be read is refused before minutes of work.
  const history = options.baseline === undefined ? null : readHistory(options.baseline);
  if (options.save !== undefined && existsSync(options.save)) readHistory(options.save);
  const tried = await kernelFacts(options);
  const { judgements, device: adapter } = tried;
  const baseline = history === null ? null : againstHistory(options.baseline ?? "", history, judgements, adapter);
  const facts = { ...tried, baseline };
  if (options.save !== undefined) {
    saveHistory(options.save, historyOf(judgements, { adapter, version, created: new Date().toISOString() }));
  }
  print(
    options,
    () => kernelsJson(facts),
    () => kernelsText(facts),
  );
  const markdown = () => kernelsSummary(facts, options.alarmsFail);
  const own = options.wgsl === undefined ? options.kernels : `${options.wgsl} as ${options.as}`;
  await leaveReports(options, (created) => kernelsReport(facts, own ?? null, { version, created }), {
    ...{ md: markdown, summary: markdown },
    junit: (created) => kernelsJunit(facts, options.alarmsFail, created),
  });
  const isAlarmed = options.alarmsFail && (baseline?.rises.length ?? 0) > 0;
  if (isAlarmed || isFailed(facts)) process.exitCode = DIVERGENT;
}

/** Both versions on a whole model. */
async function runModel(path: string, options: KernelsOptions, version: string): Promise<void> {
  const facts = await kernelsOfModel(path, options, version);
  print(
    options,
    () => kernelsModelJson(facts),
    () => kernelsModelText(facts),
  );
  const markdown = () => kernelsModelSummary(facts);
  const own = { md: markdown, summary: markdown };
  await leaveReports(options, (created) => kernelsModelReport(facts, { version, created }), own);
  if (facts.verdict === "wrong") process.exitCode = DIVERGENT;
  if (facts.verdict === "not-judged") process.exitCode = options.gitBisect === true ? SKIP : COULD_NOT;
}
