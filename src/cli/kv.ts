/** `faultline kv`: the sequence in one step, token by token, and after a reset of the cache: where do they part, and why? */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { checkModel } from "../compare/audit.ts";
import { type CacheFacts, cacheComparison, faultAt, readsCache } from "../compare/cache-check.ts";
import { compareTraces } from "../compare/compare.ts";
import { TraceValues } from "../compare/run-values.ts";
import { argmax } from "../engine/sampler.ts";
import { runSteps } from "../engine/steps.ts";
import { type Model, openModel } from "../model/model.ts";
import { cacheJson, cacheText, cacheVerdict } from "../report/cache-check.ts";
import { cacheReport } from "../report/document/kv.ts";
import { openEngine } from "../run/engine.ts";
import type { EngineOptions, PromptOptions } from "../run/options.ts";
import { plantedIn } from "../run/planted.ts";
import { readPrompt } from "../run/prompt.ts";
import type { TraceRun } from "../run/trace-model.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { audited } from "./audited.ts";
import { DIVERGENT } from "./compare.ts";
import { inTemporaryFolder, madeFolder } from "./folders.ts";
import { spotsOf } from "./judge.ts";
import {
  addEngineOptions,
  addGitBisectOption,
  addOutputOptions,
  addPromptOptions,
  integer,
  type OutputOptions,
} from "./options.ts";
import { print } from "./output.ts";
import { onTerminal, underway } from "./progress.ts";
import { addPageOptions, checkReportFiles, leaveReports, type ReportOptions } from "./report-files.ts";
import { traced } from "./traced.ts";

interface Options extends PromptOptions, EngineOptions, OutputOptions, ReportOptions {
  readonly steps: number;
  readonly positions: number;
  readonly audit: boolean;
  readonly output?: string;
  readonly prefill?: string;
  readonly stepped?: string;
  readonly afterReset?: string;
}

/** Traces of the three runs; the last may be absent. */
interface Runs {
  readonly prefill: string;
  readonly stepped: string;
  readonly afterReset?: string;
}

/** Names of the traces that -o keeps. */
const RUNS = ["stepped", "after-reset", "prefill"];

export function addKv(program: Command, version: string): void {
  const command = program
    .command("kv")
    .description("hold a prefill against step-by-step decoding, and against the same after a reset of the cache")
    .argument("<model>", "GGUF file")
    .option("-n, --steps <count>", "tokens to generate after the prompt, which are stepped through too", integer(0), 4)
    .option("--positions <count>", "positions looked at, from the first on", integer(2), 24)
    .option("--prefill <trace>", "another engine's run of the whole sequence in one step, instead of running here")
    .option("--stepped <trace>", "its run of the same sequence, token by token")
    .option("--after-reset <trace>", "that again, after other tokens went through its cache")
    .option("--no-audit", "leave out the proof: every op recomputed from its own inputs, and causes named")
    .option("-o, --output <dir>", "keep the traces in this folder");
  addPromptOptions(command);
  addPageOptions(addOutputOptions(addGitBisectOption(addEngineOptions(command))))
    .addHelpText(
      "after",
      '\nExit status: 0 alike, 1 divergent, 2 could not do it.\n\nExamples:\n  faultline kv model.gguf -p "Once upon a time"\n  faultline kv model.gguf --prefill whole.arrow --stepped steps.arrow',
    )
    .action(async (path: string, options: Options) => {
      checkReportFiles(options, [path, options.prefill, options.stepped, options.afterReset]);
      const model = await openModel(path, options.layers === undefined ? {} : { layers: options.layers });
      const { output } = options;
      const own = async (folder: string) =>
        cacheFacts(model, await ownRuns(model, options, folder, version), options, true);
      try {
        const foreign = givenRuns(options);
        const facts = await (foreign !== undefined
          ? cacheFacts(model, foreign, options, false)
          : output === undefined
            ? inTemporaryFolder("kv", own)
            : own(output));
        await leaveReports(options, (created) => cacheReport(facts, { version, created }));
        print(
          options,
          () => cacheJson(facts),
          () => cacheText(facts),
        );
        if (cacheVerdict(facts) === "divergent") process.exitCode = DIVERGENT;
      } finally {
        model.file.close();
      }
    });
}

/** Traces that were given; undefined where none is, and the model is to be run here. */
function givenRuns({ prefill, stepped, afterReset, prompt, chat, tokens, fault, output }: Options): Runs | undefined {
  if (prefill === undefined && stepped === undefined && afterReset === undefined) return undefined;
  if (prefill === undefined || stepped === undefined) {
    throw new InputError(
      "--prefill and --stepped go together: a run of the whole sequence, and the same token by token",
    );
  }
  if ([prompt, chat, tokens, fault, output].some((option) => option !== undefined)) {
    throw new InputError(`${stepped} was run already; leave out -p, --chat, --tokens, --fault and -o`);
  }
  return { prefill, stepped, ...(afterReset === undefined ? {} : { afterReset }) };
}

/** Three runs on one engine: token by token over fresh memory, again after other tokens, and all in one step. */
async function ownRuns(model: Model, options: Options, folder: string, version: string): Promise<Runs> {
  if (!options.kvCache) throw new InputError("--no-kv-cache: the cache is what is looked at; leave it out");
  if (options.device === "oracle")
    throw new InputError("--device oracle: the engine's cache is what is looked at; leave it out");
  const given = readPrompt(model, options, options.steps);
  const { tokenizer } = given;
  const { prompt, faults } = plantedIn(model, options, given, options.steps);
  const fed = prompt.tokens.slice(0, options.positions);
  const length = Math.min(options.positions, fed.length + options.steps);
  if (length < 2) {
    throw new InputError("1 position: nothing is read from a cache; give a longer prompt, or -n 1 or more");
  }
  const there = RUNS.map((name) => join(folder, `${name}.arrow`)).find((path) => existsSync(path));
  if (there !== undefined) throw new InputError(`${there}: is there already; choose another folder with -o`);
  madeFolder(folder);
  const engine = await openEngine(
    model,
    options,
    { capacity: length, longestStep: length },
    onTerminal(options.quiet),
    faults,
  );
  try {
    const common: Omit<TraceRun, "prompt" | "steps" | "output"> = {
      ...{ model, tokenizer, engine: options, version, faults, capture: "full", taps: ["!rope.*"] },
      ...(options.quiet === undefined ? {} : { quiet: options.quiet }),
      open: async () => ({ ...engine, close: () => {} }),
    };
    const [first = 0, ...rest] = fed;
    const steps = length - 1;
    const step = async (name: string, follow: readonly number[]) => {
      const output = join(folder, `${name}.arrow`);
      const { generated } = await traced({
        ...{ ...common, prompt: { text: prompt.text, tokens: [first] }, steps, follow, output },
      });
      return { output, sequence: [first, ...generated.slice(0, steps)] };
    };
    const { output: stepped, sequence } = await step("stepped", rest);
    await runOther(engine.runner, sequence, model.parameters.vocab);
    const { output: afterReset } = await step("after-reset", sequence.slice(1));
    const prefill = join(folder, "prefill.arrow");
    await traced({ ...common, prompt: { text: prompt.text, tokens: sequence }, steps: 0, output: prefill });
    return { prefill, stepped, afterReset };
  } finally {
    await engine.close();
  }
}

/** Other tokens, step by step: what they leave in the cache must not show afterwards. */
async function runOther(
  runner: Parameters<typeof runSteps>[0],
  sequence: readonly number[],
  vocab: number,
): Promise<void> {
  const [first = 0, ...others] = sequence.map((token) => (token + 1) % vocab);
  let next = 0;
  const sample = (logits: ArrayLike<number>) => others[next++] ?? argmax(logits);
  const plan = { prompt: [first], steps: others.length, kvCache: true, sample, stop: new Set<number>() };
  for await (const _ of runSteps(runner, plan));
}

async function cacheFacts(model: Model, runs: Runs, options: Options, exact: boolean): Promise<CacheFacts> {
  const open: Trace[] = [];
  const trace = async (path: string) => {
    const opened = await Trace.open(path);
    open.push(opened);
    await checkModel(model, opened);
    return opened;
  };
  try {
    const [prefill, stepped] = [await trace(runs.prefill), await trace(runs.stepped)];
    if (!readsCache(new TraceValues(prefill, model).steps, new TraceValues(stepped, model).steps)) {
      throw new InputError(
        `${runs.stepped}: none of its positions was computed from a cache that ${runs.prefill} computed in one step; --prefill is the whole sequence in one step, --stepped the same token by token`,
      );
    }
    const compared = async (expected: Trace, actual: Trace) =>
      cacheComparison(await underway("comparing", options.quiet, () => compareTraces(expected, actual)), exact);
    const against = await compared(prefill, stepped);
    const again = runs.afterReset === undefined ? null : await trace(runs.afterReset);
    const afterReset = again === null ? null : await compared(stepped, again);
    const shown = new Set((await spotsOf(model, prefill)).map(({ id }) => id));
    const blindSpots = (await spotsOf(model, stepped)).filter(({ id }) => shown.has(id));
    const facts = { stepped: against, afterReset, further: [], blindSpots };
    const proved = await proof(model, stepped, options);
    if (proved.audit?.faults.length === 0) {
      if (against.verdict === "parts")
        return { ...facts, ...(await proof(model, prefill, options)), audited: "prefill" };
      if (again !== null && afterReset?.verdict === "parts")
        return { ...facts, ...(await proof(model, again, options)), audited: "after-reset" };
    }
    const faults = proved.audit?.faults ?? [];
    const isOpen =
      faults.length > 0 && against.verdict === "parts" && faultAt(against.first, faults, true) === undefined;
    const others = isOpen ? ((await proof(model, prefill, options)).audit?.faults ?? []) : [];
    const further = others.filter(({ tap }) => !faults.some((fault) => fault.tap === tap));
    return { ...facts, ...proved, audited: "stepped", further };
  } finally {
    for (const each of open) await each.close();
  }
}

async function proof(
  model: Model,
  trace: Trace,
  { audit, quiet }: Options,
): Promise<Pick<CacheFacts, "audit" | "auditLeftOut">> {
  if (!audit) return { audit: null, auditLeftOut: "as --no-audit says" };
  try {
    return { audit: await audited(model, trace, quiet), auditLeftOut: null };
  } catch (error) {
    if (error instanceof InputError) return { audit: null, auditLeftOut: error.message };
    throw error;
  }
}
