/** `faultline bisect`: check, trace, reference, compare, audit, diagnose, report in one command; everything is left in one folder. */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { compareTraces } from "../compare/compare.ts";
import { traceSequence } from "../compare/tokens.ts";
import { type Model, openModel } from "../model/model.ts";
import { bisectionJson, bisectionText, bisectionVerdict } from "../report/bisection.ts";
import { plain } from "../report/colors.ts";
import { reportOf } from "../report/document/report.ts";
import { reportHtml } from "../report/formats/html.ts";
import { printable } from "../report/printable.ts";
import { atWidth } from "../report/terminal.ts";
import type { EngineOptions, PromptOptions } from "../run/options.ts";
import { plantedIn } from "../run/planted.ts";
import { readPrompt } from "../run/prompt.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { DIVERGENT } from "./compare.ts";
import { checkDeterminism } from "./determinism-checks.ts";
import { madeFolder } from "./folders.ts";
import { judge, suggestions } from "./judge.ts";
import {
  addEngineOptions,
  addGitBisectOption,
  addOutputOptions,
  addPromptOptions,
  addSuggestOption,
  integer,
  type OutputOptions,
} from "./options.ts";
import { print } from "./output.ts";
import { underway } from "./progress.ts";
import { addReferenceOptions, referenceName } from "./reference.ts";
import { REFERENCES, type ReferenceOptions, type ReferenceRun, traceReference } from "./references.ts";
import { addReportOptions, checkReportFiles, leaveReports, type ReportOptions } from "./report-files.ts";
import { traced } from "./traced.ts";

type Options = PromptOptions &
  EngineOptions &
  ReferenceOptions &
  OutputOptions &
  ReportOptions & {
    steps?: number;
    output: string;
    against: string;
    actual?: string;
    envelope?: string;
    determinism: boolean;
    audit: boolean;
    suggest?: boolean;
  };

/** Decode steps where none are asked for: a KV cache shows its faults from the first on. */
const STEPS = 4;
/** Prompt tokens of the runs that check determinism. */
const CHECKED_TOKENS = 32;

export function addBisect(program: Command, version: string): void {
  const command = program
    .command("bisect")
    .description("run the model here and in a trusted engine, and name the first op that differs")
    .argument("<model>", "GGUF file")
    .requiredOption("--against <reference>", `${REFERENCES.join(", ")}, or a trace`)
    .option(
      "--actual <trace>",
      "judge this trace of another engine instead of running the model here; its tokens are followed",
    )
    .option("--envelope <reference>", "a second reference or trace: how far it is from the first is taken as natural")
    .option("-n, --steps <count>", `decode steps after the prompt (${STEPS} unless told)`, integer(0))
    .option("--no-determinism", "leave out the first stage: repeated runs, poisoned memory, with and without a trace")
    .option("--no-audit", "leave out the proof: every op recomputed from its own inputs, and causes named")
    .option("-o, --output <dir>", "folder for traces and report", "faultline-bisect");
  addReferenceOptions(addEngineOptions(addPromptOptions(command)));
  addReportOptions(addOutputOptions(addGitBisectOption(addSuggestOption(command))))
    .addHelpText(
      "after",
      '\nExit status: 0 match, 1 divergent, 2 could not do it.\n\nExample:\n  faultline bisect model.gguf --against llamacpp --exact -p "Once upon a time"',
    )
    .action(async (path: string, options: Options) => {
      const { output: folder, against, actual, envelope } = options;
      const own = ["actual.arrow", "expected.arrow", "envelope.arrow", "bisect.json", "report.html", "report.txt"];
      checkReportFiles(options, [path, against, actual, envelope, ...own.map((name) => join(folder, name))]);
      const model = await openModel(path, options.layers === undefined ? {} : { layers: options.layers });
      try {
        const { bisection, determinism, suggest, report } = await bisect(model, options, version);
        const { output } = options;
        const text = () => bisectionText(bisection) + (options.suggest ? suggest : "");
        const json = bisectionJson(bisection, determinism);
        writeFileSync(join(output, "bisect.json"), `${JSON.stringify(json)}\n`);
        writeFileSync(join(output, "report.txt"), plain(printable(atWidth(Number.POSITIVE_INFINITY, text))));
        writeFileSync(join(output, "report.html"), reportHtml(report));
        await leaveReports(options, () => report);
        print(
          options,
          () => json,
          () => `${text()}left in ${output}: report.html, report.txt, bisect.json and the traces\n`,
        );
        if (bisectionVerdict(bisection) === "divergent") process.exitCode = DIVERGENT;
      } finally {
        model.file.close();
      }
    });
}

async function bisect(model: Model, options: Options, version: string) {
  checkNames(options);
  const sides = await plan(model, options, version);
  madeFolder(options.output);
  const determinism = await sides.determinism();
  const open: Trace[] = [];
  const openTrace = async (path: string) => {
    const trace = await Trace.open(path);
    open.push(trace);
    return trace;
  };
  try {
    const actual = await openTrace(await sides.actual());
    const expected = await openTrace(await sides.reference(options.against, "expected.arrow"));
    const natural = options.envelope ?? sides.natural;
    const envelope =
      natural === undefined
        ? {}
        : {
            envelope: await openTrace(await sides.reference(natural, "envelope.arrow", options.envelope === undefined)),
          };
    const comparison = await underway("comparing", options.quiet, () => compareTraces(expected, actual, envelope));
    const judged = await judge(model, expected, actual, comparison, options);
    const suggest = await underway("blind", options.quiet, () => suggestions(model, actual));
    const bisection = { comparison, determinism: determinism?.judgement ?? null, ...judged };
    const created = new Date().toISOString();
    const sources = { ...bisection, determinism, expected, actual, ...envelope, piece: sides.piece, version, created };
    return {
      bisection,
      determinism,
      suggest,
      report: await underway("reports", options.quiet, () => reportOf(sources)),
    };
  } finally {
    for (const trace of open) await trace.close();
  }
}

const isTrace = (name: string) => name.endsWith(".arrow");

/** What is named must exist as a reference or a trace, and no trace that is given may be written over. */
function checkNames({ against, envelope, actual, output, layers, fault }: Options): void {
  if (actual !== undefined && fault !== undefined) {
    throw new InputError(`--fault ${fault[0]} is planted in the engine here; with --actual it does not run`);
  }
  const whole = [against, envelope].find((name) => name === "llamacpp" || name === "hf");
  if (layers !== undefined && whole !== undefined) {
    throw new InputError(`--layers ${layers}: ${whole} runs all layers; compare with --against onnx`);
  }
  for (const name of [against, envelope]) if (name !== undefined && !isTrace(name)) referenceName(name);
  const written = [
    ...(actual === undefined ? ["actual.arrow"] : []),
    ...(isTrace(against) ? [] : ["expected.arrow"]),
    ...(envelope !== undefined && isTrace(envelope) ? [] : ["envelope.arrow"]),
  ].map((name) => resolve(output, name));
  for (const given of [actual, against, envelope]) {
    if (given !== undefined && written.includes(resolve(given))) {
      throw new InputError(`${given}: would be written over; choose another folder with -o`);
    }
  }
}

/** Both sides of a bisection: functions that make a trace, or find it where it is given, and say where it is. */
async function plan(model: Model, options: Options, version: string) {
  const { output, quiet, against, actual } = options;
  const given = isTrace(against) ? against : undefined;
  const leader = actual ?? given;
  if (leader !== undefined) refuseSteps(options, leader);
  const tokens = leader === undefined ? null : await tokensOf(leader);
  const decode = tokens === null ? (options.steps ?? STEPS) : tokens.follow.length;
  const read = readPrompt(model, tokens === null ? options : { tokens: tokens.prompt }, decode);
  const planted = plantedIn(model, options, read, decode);
  const text = tokens === null ? read.prompt.text : tokens.text;
  const common = {
    ...{ model, tokenizer: read.tokenizer, prompt: { ...read.prompt, text }, steps: decode, version },
    capture: "full" as const,
    ...(quiet === undefined ? {} : { quiet }),
  };
  // One side chooses the tokens, the other follows them: so that every step can be held against its partner.
  let follow = tokens?.follow;
  const isShipped = against === "llamacpp" && !options.exact;
  const isF32 = [...model.weights.keys()].every((name) => model.file.tensor(name).type.name === "F32");
  return {
    piece: (id: number) => read.tokenizer.piece(id),
    /** As shipped, llama.cpp quantises activations: its own exact run shows how much that alone moves each tap. */
    natural: isShipped && !isF32 ? "llamacpp" : undefined,
    /** Before any difference: does the engine agree with itself? Asked of a short run. */
    determinism: async () => {
      if (actual !== undefined || options.device === "oracle" || !options.determinism) return null;
      const tokens = planted.prompt.tokens.slice(0, CHECKED_TOKENS);
      const run = { model, tokens, steps: Math.min(1, decode), engine: options, faults: planted.faults, runs: 2 };
      return checkDeterminism({ ...run, quick: true, ...(quiet === undefined ? {} : { quiet }) });
    },
    actual: async () => {
      if (actual !== undefined) return actual;
      const path = join(output, "actual.arrow");
      const summary = await traced({
        ...common,
        // A fault of the token sequence is the engine's alone: the reference runs the prompt as it was meant.
        prompt: { ...planted.prompt, text },
        engine: options,
        faults: planted.faults,
        // A reference has no rotary tables of ours.
        ...(isTrace(against) ? {} : { taps: ["!rope.*", ...(options.weights ? ["weight:*"] : [])] }),
        output: path,
        ...(follow === undefined ? {} : { follow }),
      });
      follow = summary.generated.slice(0, decode);
      return path;
    },
    reference: async (name: string, file: string, exact = options.exact) => {
      if (isTrace(name)) return name;
      const path = join(output, file);
      const run: ReferenceRun = { ...common, output: path, ...(follow === undefined ? {} : { follow }) };
      await traceReference(referenceName(name), run, { ...options, exact });
      return path;
    },
  };
}

function refuseSteps({ prompt, chat, tokens, steps }: Options, leader: string): void {
  if ([prompt, chat, tokens, steps].some((option) => option !== undefined)) {
    throw new InputError(`${leader} says which tokens were run; leave out -p, --chat, --tokens and -n`);
  }
}

/** Tokens of a trace: its first step, and those after it one by one. */
async function tokensOf(path: string): Promise<{ prompt: number[]; follow: number[]; text: string | null }> {
  const trace = await Trace.open(path);
  try {
    const { tokens, prompt } = trace.manifest;
    const { ids } = traceSequence(trace);
    const first = tokens[0]?.length ?? 0;
    if (first === 0)
      throw new InputError(`${path}: its manifest names no tokens; import it again with the steps' tokens`);
    return { prompt: ids.slice(0, first), follow: ids.slice(first), text: prompt };
  } finally {
    await trace.close();
  }
}
