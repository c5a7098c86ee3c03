/** `faultline quant`: is it the quantisation, or the engine? Each op's error split in two, for several types of one model. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { quantizeModel } from "../../references/llamacpp/dump.ts";
import { SIZES } from "../compare/preconditions.ts";
import type { QuantFacts, QuantisedModel } from "../compare/quantisation.ts";
import { readGgufMetadata } from "../model/gguf-metadata.ts";
import { type Model, openModel } from "../model/model.ts";
import { type Tokenizer, tokenizerFromMetadata } from "../model/tokenizer.ts";
import { quantReport } from "../report/document/quant.ts";
import { quantJson, quantText, quantVerdict } from "../report/quantisation.ts";
import type { EngineOptions, PromptOptions } from "../run/options.ts";
import { readPrompt } from "../run/prompt.ts";
import { InputError } from "../trace/errors.ts";
import { DIVERGENT } from "./compare.ts";
import { inTemporaryFolder, madeFolder } from "./folders.ts";
import {
  addEngineOptions,
  addGitBisectOption,
  addOutputOptions,
  addPromptOptions,
  integer,
  type OutputOptions,
} from "./options.ts";
import { print } from "./output.ts";
import { underway } from "./progress.ts";
import { BASE, QuantJudge } from "./quant-judge.ts";
import { addPageOptions, checkReportFiles, leaveReports, type ReportOptions } from "./report-files.ts";

interface Options extends PromptOptions, EngineOptions, OutputOptions, ReportOptions {
  readonly types?: readonly string[];
  readonly text?: string;
  readonly ops: number;
  readonly positions: number;
  readonly audit: boolean;
  readonly output?: string;
  readonly llamaCpp?: string;
}

/** Types that are made where neither types nor files are named. */
const TYPES = ["q8_0", "q6_k", "q4_k_m", "q4_0"];

export function addQuant(program: Command, version: string): void {
  const command = program
    .command("quant")
    .description("split each op's error into what quantised weights explain and what the engine adds")
    .argument("<model>", "GGUF file in F16 or F32, which the others are held against")
    .argument("[others...]", "the same model in other types")
    .option("--types <list>", `made by llama.cpp's quantiser (${TYPES.join(",")} where no file is given)`, typeList)
    .option("--text <file>", "text for KL, agreement of tokens and perplexity, instead of the prompt")
    .option("--ops <count>", "tokens whose every op is split", integer(1), 8)
    .option("--positions <count>", "tokens of the text that are predicted, at most", integer(2), 32)
    .option(
      "--audit",
      "prove every op of every type, recomputed from the engine's own inputs (always so with --dtype f16)",
      false,
    )
    .option("-o, --output <dir>", "keep the quantised files and the traces in this folder")
    .option(
      "--llama-cpp <dir>",
      "your own llama.cpp, with headers and shared libraries built, instead of the pinned one",
    );
  addPromptOptions(command);
  addPageOptions(addOutputOptions(addGitBisectOption(addEngineOptions(command))))
    .addHelpText(
      "after",
      '\nExit status: 0 the engine adds no more than rounding, 1 divergent, 2 could not do it.\n\nExamples:\n  faultline quant model-f16.gguf --types q4_0,q4_k_m,q6_k,q8_0 -p "Once upon a time there was a small town"\n  faultline quant model-f16.gguf model-q4.gguf --text story.txt',
    )
    .action(async (path: string, others: readonly string[], options: Options) => {
      checkReportFiles(options, [path, ...others, options.text]);
      const { output } = options;
      const made = (folder: string) => quantFacts(path, others, options, folder, version);
      const facts = await (output === undefined ? inTemporaryFolder("quant", made) : made(output));
      await leaveReports(options, (created) => quantReport(facts, { version, created }));
      print(
        options,
        () => quantJson(facts),
        () => quantText(facts),
      );
      if (quantVerdict(facts) === "divergent") process.exitCode = DIVERGENT;
    });
}

function typeList(text: string): string[] {
  const types = text.split(",").map((type) => type.trim().toLowerCase());
  if (types.includes("")) throw new InvalidArgumentError("A list of types like q4_0,q6_k is needed.");
  if (types.includes("iq4_xs")) throw new InvalidArgumentError("There is no decoder for iq4_xs here.");
  return [...new Set(types)];
}

async function quantFacts(
  path: string,
  others: readonly string[],
  options: Options,
  folder: string,
  version: string,
): Promise<QuantFacts> {
  if (options.device === "oracle") {
    throw new InputError("--device oracle: it is held beside the engine anyway; leave it out");
  }
  const base = await openModel(path);
  try {
    const { tokenizer, tokens: text } = readText(base, options);
    const tokens = text.slice(0, options.ops);
    const types = options.types ?? (others.length === 0 ? TYPES : []);
    const given = types.map((type) => ({ type, path: join(folder, `${basename(path, ".gguf")}-${type}.gguf`) }));
    // What is given is looked at before anything is made.
    for (const other of others) await checkSameModel(base, other);
    for (const made of [...given.map((each) => each.path), join(folder, BASE)]) {
      if (existsSync(made)) throw new InputError(`${made}: is there already; choose another folder with -o`);
    }
    madeFolder(folder);
    const { quiet, llamaCpp } = options;
    // What a comparison allows halves hides a fault of their size; the audit's bounds are of each op alone.
    const audit = options.audit || options.dtype === "f16";
    for (const { type, path: made } of given)
      await underway(`making ${type}`, quiet, () =>
        quantizeModel(path, made, type, llamaCpp === undefined ? {} : { llamaCpp }),
      );
    const judge = new QuantJudge({
      ...{ base, tokenizer, tokens, text, engine: options, audit, folder, version },
      llamaCpp: llamaCpp === undefined ? {} : { llamaCpp },
      ...(quiet === undefined ? {} : { quiet }),
    });
    const first = await judge.base();
    const models: QuantisedModel[] = [];
    for (const other of others) models.push(await judge.judge({ path: other, type: null }));
    for (const { type, path: made } of given) {
      models.push(await judge.judge({ path: made, type }));
      if (options.output === undefined) rmSync(made);
    }
    judge.checkPlanted();
    const isRequantised = [...base.weights.keys()].some((name) => base.file.tensor(name).type.elements > 1);
    return { base: first, models, isRequantised, tokens, textTokens: text.length };
  } finally {
    base.file.close();
  }
}

/** The text's tokens, cut at what is asked for. Throws InputError where it is too short to predict anything. */
function readText(model: Model, options: Options): { tokenizer: Tokenizer; tokens: readonly number[] } {
  const { text, positions, ...prompt } = options;
  const { context } = model.parameters;
  if (positions > context) {
    throw new InputError(`--positions ${positions}: the model's context is ${context}; give at most that many`);
  }
  const given = [prompt.prompt, prompt.chat, prompt.tokens].some((option) => option !== undefined);
  if (text !== undefined && given) throw new InputError("--text and a prompt are two texts; give one of them");
  const ids = text === undefined ? null : beginningOf(model, text, positions);
  const read = readPrompt(model, ids === null ? prompt : { tokens: ids }, 0);
  const tokens = read.prompt.tokens.slice(0, positions);
  if (tokens.length < 2) {
    throw new InputError(`${text ?? "the prompt"}: ${tokens.length} token predicts nothing; give a longer text`);
  }
  return { tokenizer: read.tokenizer, tokens };
}

/** Characters of a file that are read for each token wanted: four times what a token of English takes. */
const CHARACTERS_A_TOKEN = 16;

/** The first tokens of a file, at most `count`. */
function beginningOf(model: Model, path: string, count: number): readonly number[] {
  const tokenizer = tokenizerFromMetadata(readGgufMetadata(model.file.path));
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));
    return tokenizer.encode(text.slice(0, CHARACTERS_A_TOKEN * count)).slice(0, count);
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (error instanceof TypeError) throw new InputError(`${path}: is no text in UTF-8; give a text file`);
    throw new InputError(`${path}: cannot be read: ${error instanceof Error ? error.message.split(",")[0] : error}`);
  }
}

/** Throws InputError where a file is of another model than the base. */
async function checkSameModel(base: Model, path: string): Promise<void> {
  const model = await openModel(path);
  try {
    const differing = SIZES.find((name) => model.parameters[name] !== base.parameters[name]);
    if (differing !== undefined) {
      throw new InputError(
        `${base.file.name} has ${differing} ${base.parameters[differing]}, ${model.file.name} ${model.parameters[differing]}; give the same model in another type`,
      );
    }
  } finally {
    model.file.close();
  }
}
