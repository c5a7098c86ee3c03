/** `faultline kernels`: every kernel alone, at many shapes and on hard inputs, held against the f64 oracle. */
import { accessSync, appendFileSync, constants, existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Command } from "commander";
import { Answer } from "../compare/kernels/answer.ts";
import { againstHistory, historyOf, RISE, readHistory, saveHistory } from "../compare/kernels/baseline.ts";
import { type KernelCase, type KernelKind, KINDS_OF_KERNEL, kernelCases } from "../compare/kernels/cases.ts";
import { judgeKernel, type KernelJudgement } from "../compare/kernels/judge.ts";
import { pairedRatio } from "../compare/kernels/paired.ts";
import { storeFault } from "../engine/chore.ts";
import { Gpu } from "../engine/device.ts";
import type { Fault } from "../engine/faults/fault.ts";
import { parseFault } from "../engine/faults/parse.ts";
import { ForeignKernel } from "../engine/foreign/foreign-kernel.ts";
import { timePairs } from "../engine/kernel-pair.ts";
import { runKernel } from "../engine/kernel-run.ts";
import { Pipelines, type SourceOf } from "../engine/kernels.ts";
import type { KernelFacts, VersionPair } from "../report/kernel-facts.ts";
import { isFailed, kernelsJson, kernelsText } from "../report/kernels.ts";
import { kernelsModelJson, kernelsModelSummary, kernelsModelText } from "../report/kernels-model.ts";
import { kernelsSummary } from "../report/kernels-summary.ts";
import { InputError } from "../trace/errors.ts";
import { hashOf } from "../trace/sketch.ts";
import { DIVERGENT } from "./compare.ts";
import { changedKernels, fileOf, kernelOf, kernelsIn, kernelsOf, misfit } from "./kernel-folders.ts";
import { authorOf, inFolder, type OwnKernel, type OwnOptions, ownKernel, runOwn, triedCases } from "./kernel-own.ts";
import { KernelVoices } from "./kernel-voices.ts";
import { type KernelsModelOptions, kernelsOfModel } from "./kernels-model.ts";
import { addDeviceOption, addGitBisectOption, addOutputOptions, addPromptOptions, integer } from "./options.ts";
import { progressBar } from "./progress.ts";

interface Options extends KernelsModelOptions, OwnOptions {
  readonly filter?: string;
  readonly onnx: boolean;
  readonly save?: string;
  readonly baseline?: string;
  readonly summary?: string;
  readonly gitBisect?: boolean;
  readonly alarmsFail: boolean;
}

/** Exit statuses where nothing could be judged: 2, and for `git bisect run` the one that skips. */
const [COULD_NOT, SKIP] = [2, 125];

/** Calls that are timed together: enough that a submission's own cost is spread. */
const CALLS = 10;

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
    .option("--no-time", "do not time the calls")
    .option("--no-onnx", "do not ask ONNX Runtime's kernels too")
    .option("--save <file>", "add this run to a history (Arrow), which is made where it is not there")
    .option("--baseline <file>", `hold errors against a history: a rise above ${RISE} times its own is an alarm`)
    .option("--against-kernels <dir>", "another version's WGSL files: bits and times of both, alternately, in this run")
    .option("--summary <file>", "add a summary in Markdown to a file, as a job's page ($GITHUB_STEP_SUMMARY) takes it")
    .option("-n, --steps <count>", "of a model: decode steps after the prompt (4)", integer(0))
    .option("--alarms-fail", "exit with 1 where there is an alarm, as where a kernel fails", false);
  addOutputOptions(addGitBisectOption(addPromptOptions(command)))
    .addHelpText(
      "after",
      "\nExit status: 0 all pass (of a model: same bits, or all within their bounds), 1 a kernel fails, 2 could not do it.\n\nExamples:\n  faultline kernels\n  faultline kernels --filter 'rms_norm wide'\n  faultline kernels --filter rope --fault rope.pairing\n  faultline kernels --save kernels.arrow\n  faultline kernels --baseline kernels.arrow --alarms-fail\n  faultline kernels --against-kernels ../before/kernels\n  faultline kernels embedded --against-kernels ../before/kernels\n  faultline kernels --wgsl mine.wgsl --as rms_norm --bindings mine.json",
    )
    .action(async (path: string | undefined, options: Options) => {
      checkMode(path, options);
      if (options.summary !== undefined) checkSummary(options.summary);
      if (path !== undefined) {
        await runModel(path, options, version);
        return;
      }
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
      process.stdout.write(options.json ? `${JSON.stringify(kernelsJson(facts))}\n` : kernelsText(facts));
      if (options.summary !== undefined) addSummary(options.summary, kernelsSummary(facts, options.alarmsFail));
      const isAlarmed = options.alarmsFail && (baseline?.rises.length ?? 0) > 0;
      if (isAlarmed || isFailed(facts)) process.exitCode = DIVERGENT;
    });
}

/** What goes with cases alone, and what with a model. */
const OF_CASES = ["filter", "wgsl", "as", "bindings", "fault", "save", "baseline", "alarmsFail"] as const;
const OF_MODELS = ["prompt", "chat", "system", "tokens", "steps"] as const;

/** Throws InputError for options that would do nothing. */
function checkMode(path: string | undefined, options: Options): void {
  const isGiven = (name: (typeof OF_CASES)[number] | (typeof OF_MODELS)[number]) =>
    options[name] !== undefined && options[name] !== false;
  if (path === undefined && options.alarmsFail && options.baseline === undefined)
    throw new InputError("--alarms-fail goes with a history; give one with --baseline");
  const idle = path === undefined ? OF_MODELS.find(isGiven) : OF_CASES.find(isGiven);
  if (idle === undefined) return;
  const flag = `--${idle.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  throw new InputError(
    path === undefined ? `${flag} goes with a model; give one` : `${flag} goes with single kernels; leave ${path} out`,
  );
}

/** Both versions on a whole model. */
async function runModel(path: string, options: Options, version: string): Promise<void> {
  const facts = await kernelsOfModel(path, options, version);
  process.stdout.write(options.json ? `${JSON.stringify(kernelsModelJson(facts))}\n` : kernelsModelText(facts));
  if (options.summary !== undefined) addSummary(options.summary, kernelsModelSummary(facts));
  if (facts.verdict === "wrong") process.exitCode = DIVERGENT;
  if (facts.verdict === "not-judged") process.exitCode = options.gitBisect === true ? SKIP : COULD_NOT;
}

/** A page that cannot be written is refused before minutes of work; it is not made yet. Throws InputError. */
function checkSummary(path: string): void {
  const page = statSync(path, { throwIfNoEntry: false });
  if (page?.isDirectory()) throw new InputError(`--summary ${path}: is a folder; give a file`);
  try {
    accessSync(page === undefined ? dirname(path) : path, constants.W_OK);
  } catch (error) {
    throw unwritable(path, error);
  }
}

const unwritable = (path: string, error: unknown) =>
  new InputError(
    `--summary ${path}: cannot be written: ${error instanceof Error ? error.message.split(",")[0] : error}; give another file`,
  );

/** Adds a part to a page. Throws InputError where it cannot be written. */
function addSummary(path: string, text: string): void {
  try {
    appendFileSync(path, text);
  } catch (error) {
    throw unwritable(path, error);
  }
}

async function kernelFacts(options: Options): Promise<Omit<KernelFacts, "baseline">> {
  const { filter, device, time, onnx, fault, quiet, againstKernels, wgsl } = options;
  const own = ownKernel(options);
  const described = own?.description ?? null;
  const folder: SourceOf = options.kernels === undefined ? () => null : kernelsIn(options.kernels);
  const sources = own === null || described !== null ? folder : inPlace(own, folder);
  const isNamed = named(filter ?? "");
  // A kernel of one's own is the one for every adapter, and bugs are planted in that one.
  const isOne = own !== null || fault !== undefined;
  const isTried = (id: string) =>
    !(isOne && id.includes(" portable ")) && (options.as === undefined || id.startsWith(`${options.as} `));
  const wanted = [...kernelCases((id) => isNamed(id) && isTried(id))];
  if (wanted.length === 0) {
    throw new InputError(
      `--filter '${filter}': no case has these words; names are like 'linear 5x33x17 Q4_0 normal f32'`,
    );
  }
  const { cases, leftOut } = triedCases(own, wanted);
  const given = options.kernels;
  if (given !== undefined && cases.every(({ kind }) => inFolder(given, kind) === null)) {
    throw new InputError(
      `${given}: none of its kernels computes a case that is tried; change --filter, or leave it out`,
    );
  }
  const planted = cases.map((each) => (fault === undefined ? { fault: null } : plant(fault, each)));
  const refusal = planted.find(({ reason }) => reason !== undefined)?.reason;
  if (fault !== undefined && planted.every((each) => each.fault === null)) {
    throw new InputError(refusal ?? `${fault}: no case can have it`);
  }
  const others = againstKernels === undefined ? null : kernelsIn(againstKernels);
  const changed = others === null ? null : changedKinds(sources, others);
  const gpu = await Gpu.open(device);
  const voices = await KernelVoices.open(onnx);
  const bar = progressBar("kernels", "cases", quiet);
  const started = performance.now();
  try {
    const pipelines = new Pipelines(gpu, sources);
    const foreign = own === null || described === null ? null : new ForeignKernel(gpu, own.path, described);
    const other = new Pipelines(gpu, others ?? undefined);
    const timed = time ? cases.filter((each) => changed?.has(each.kind) && isTimed(each)).length : 0;
    const judgements: KernelJudgement[] = [];
    const versions: VersionPair[] = [];
    for (const [index, each] of cases.entries()) {
      const bug = planted[index]?.fault ?? null;
      if (fault !== undefined && bug === null) continue;
      const single = bug === null ? each : { ...each, fault: bug };
      const calls = time ? CALLS : 0;
      const running =
        foreign === null || "chore" in single
          ? runKernel(gpu, pipelines, single, calls)
          : runOwn(gpu, foreign, single, calls);
      const run = await running.catch((error: unknown) => {
        const given = wgsl ?? options.kernels;
        throw given === undefined || foreign !== null
          ? error
          : misfit(error, given, each.id, `kernels/${fileOf(each.kind)}`);
      });
      const judge = (author: OwnKernel | null) => ("chore" in each ? null : new Answer(each, authorOf(author)));
      const author = own ?? inFolder(options.kernels, each.kind);
      const answer = judge(author);
      judgements.push(judgeKernel(each, run, answer));
      await voices.ask(each, answer, run.values);
      if (changed?.has(each.kind)) {
        const theirs = author === null ? judge(inFolder(againstKernels, each.kind)) : answer;
        const beside = besideOther(gpu, each, run.values, { own: pipelines, other }, { timed, answer: theirs });
        versions.push(
          await beside.catch((error: unknown) => {
            throw misfit(error, againstKernels ?? "", each.id, `kernels/${fileOf(each.kind)}`);
          }),
        );
      }
      bar.update(index + 1, cases.length);
    }
    const otherVersion = againstKernels === undefined ? null : { folder: againstKernels, versions };
    return {
      ...{ judgements, device: gpu.adapter.description, fault: fault ?? null, otherVersion, leftOut, onnx: voices },
      elapsedMs: performance.now() - started,
    };
  } finally {
    bar.stop();
    await voices.close();
    gpu.close();
  }
}

/** A kernel among those of a folder. Where a folder has more kernels for the same cases, these are not run in its place. */
const inPlace =
  ({ kind, path }: OwnKernel, folder: SourceOf): SourceOf =>
  (kernel) =>
    kernel === kernelOf(kind) ? path : kernelsOf(kind).includes(kernel) ? null : folder(kernel);

/** Pairs of submissions that are timed; 2^-20 is a level that a thousand cases can share. */
const PAIRS = 21;
/** Chance that any of the cases is called faster or slower and is not. */
const LEVEL = 0.05;

/** Kinds of case that another text computes. */
function changedKinds(own: SourceOf, other: SourceOf): Set<KernelKind> {
  const changed = changedKernels(own, other);
  return new Set(KINDS_OF_KERNEL.filter((kind) => kernelsOf(kind).some((kernel) => changed.includes(kernel))));
}

const isTimed = ({ data, dtype }: KernelCase) => data === "normal" && dtype === "f32";

/** The other version of a case's kernel: judged, its bits beside these, and times of both in turn; `timed` cases are. */
async function besideOther(
  gpu: Gpu,
  of: KernelCase,
  values: Float32Array,
  versions: { own: Pipelines; other: Pipelines },
  { timed, answer }: { timed: number; answer: Answer | null },
): Promise<VersionPair> {
  const run = await runKernel(gpu, versions.other, of, 0);
  const times = timed > 0 && isTimed(of) ? await timePairs(gpu, of, versions, PAIRS) : null;
  return {
    other: judgeKernel(of, run, answer),
    isSame: hashOf(values) === hashOf(run.values),
    ratio: times === null ? null : pairedRatio(times.own, times.other, LEVEL / timed),
  };
}

/** Names that hold all words, each where a word or a number begins: `normal` is not in `subnormal`, `576` is in `7x576`. */
function named(filter: string): (id: string) => boolean {
  const begins = (id: string, word: string) => {
    const sort = /^\d/.test(word) ? /\d$/ : /[a-z]$/i;
    for (let at = id.indexOf(word); at >= 0; at = id.indexOf(word, at + 1))
      if (!sort.test(id.slice(0, at))) return true;
    return false;
  };
  const words = filter.split(/\s+/).filter((word) => word !== "");
  return (id) => words.every((word) => begins(id, word));
}

/** The fault in a case, where it can have it alone. */
function plant(text: string, of: KernelCase): { fault: Fault | null; reason?: string } {
  try {
    if ("chore" in of) return { fault: storeFault(text, of.chore) };
    const { model, op } = of;
    const [id = "", parameter] = text.split(":");
    const fault = parseFault(`${id}@${op.tap}${parameter === undefined ? "" : `:${parameter}`}`, model);
    if (fault.kind.compute !== undefined) return { fault };
    return {
      fault: null,
      reason: `${fault.text}: needs other ops than ${op.tap}; plant it in a whole run with 'faultline trace'`,
    };
  } catch (error) {
    if (error instanceof InputError) return { fault: null, reason: error.message };
    throw error;
  }
}
