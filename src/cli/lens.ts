/** `faultline lens`: what the model would say after each layer; runs and traces side by side. */
import type { Command } from "commander";
import { checkModel } from "../compare/audit.ts";
import { divergences, type HiddenRow, hiddenRows, lensOf } from "../compare/lens.ts";
import { traceSequence } from "../compare/tokens.ts";
import type { Fault } from "../engine/faults/fault.ts";
import { type Model, openModel } from "../model/model.ts";
import { lensReport } from "../report/document/lens.ts";
import { type LensFacts, type LensRun, lensJson, lensText } from "../report/lens.ts";
import { openEngine, sizesOf } from "../run/engine.ts";
import type { EngineOptions, PromptOptions } from "../run/options.ts";
import { plantedIn } from "../run/planted.ts";
import { readPrompt } from "../run/prompt.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { isResidualStream } from "../trace/taps.ts";
import { addEngineOptions, addOutputOptions, addPromptOptions, integer, type OutputOptions } from "./options.ts";
import { print } from "./output.ts";
import { onTerminal } from "./progress.ts";
import { addPageOptions, checkReportFiles, leaveReports, type ReportOptions } from "./report-files.ts";

type Options = PromptOptions & EngineOptions & OutputOptions & ReportOptions & { top: number; vs?: readonly string[] };

/** Runs of this program that can stand beside another. */
const OWN_RUNS: Readonly<Record<string, Partial<EngineOptions>>> = {
  f32: { dtype: "f32" },
  f16: { dtype: "f16" },
  oracle: { device: "oracle", dtype: "f32" },
};

export function addLens(program: Command, version: string): void {
  const command = program
    .command("lens")
    .description("logit lens: what the model would say after each layer, and where its logits collapse")
    .argument("<model>", "GGUF file")
    .option("--top <count>", "tokens shown after each layer", integer(1), 3)
    .option("--vs <runs>", `side by side: ${Object.keys(OWN_RUNS).join(", ")} or traces of the same tokens`, (text) =>
      text.split(","),
    );
  addPromptOptions(command);
  addPageOptions(addOutputOptions(addEngineOptions(command)))
    .addHelpText(
      "after",
      '\nExamples:\n  faultline lens model.gguf -p "Once upon a time" --vs f16,oracle\n  faultline lens model.gguf -p "Once upon a time" --layers 0-2\n  faultline lens model.gguf --tokens 1,9038 --vs mine.arrow',
    )
    .action(async (path: string, options: Options) => {
      checkReportFiles(options, [path, ...(options.vs ?? [])]);
      const model = await openModel(path, options.layers === undefined ? {} : { layers: options.layers });
      try {
        const facts = await lensFacts(model, options);
        await leaveReports(options, (created) => lensReport(facts, { version, created }));
        print(
          options,
          () => lensJson(facts),
          () => lensText(facts),
        );
      } finally {
        model.file.close();
      }
    });
}

async function lensFacts(model: Model, options: Options): Promise<LensFacts> {
  const given = readPrompt(model, options, 0);
  const { prompt, faults } = plantedIn(model, options, given, 0);
  const hidden = faults.find(({ tap }) => tap === "final_norm" || tap === "logits");
  if (hidden !== undefined) {
    throw new InputError(
      `${hidden.text}: would change nothing here: rows of the stream are put through a right final norm and head; look with 'faultline audit' or 'faultline kv'`,
    );
  }
  const name = options.device === "oracle" ? "oracle" : options.dtype;
  const names = options.vs ?? [];
  const unknown = names.find((each) => OWN_RUNS[each] === undefined && !each.endsWith(".arrow"));
  if (unknown !== undefined) {
    throw new InputError(`--vs ${unknown}: there are ${Object.keys(OWN_RUNS).join(", ")}, and traces (.arrow)`);
  }
  // Traces are refused before anything runs.
  const traced = new Map<string, HiddenRow[]>();
  for (const each of names) {
    if (OWN_RUNS[each] === undefined) traced.set(each, await traceRows(model, each, given.prompt.tokens));
  }
  const lens = lensOf(model, await runRows(model, prompt.tokens, options, faults), options.top);
  const others: LensRun[] = [];
  for (const each of names) {
    const rows = traced.get(each) ?? (await runRows(model, given.prompt.tokens, { ...options, ...OWN_RUNS[each] }, []));
    const other = lensOf(model, rows, options.top);
    others.push({ name: each, lens: other, away: divergences(lens, other) });
  }
  const { tokenizer } = given;
  const { layers } = model;
  const { tokens } = prompt;
  return {
    model: model.file.name,
    tokens,
    layers,
    runs: [{ name, lens, away: [] }, ...others],
    piece: (id) => tokenizer.piece(id),
  };
}

/** The stream after the prompt, run here. */
async function runRows(
  model: Model,
  tokens: readonly number[],
  options: Options,
  faults: readonly Fault[],
): Promise<HiddenRow[]> {
  const engine = await openEngine(
    model,
    options,
    sizesOf(options, tokens.length, 0),
    onTerminal(options.quiet),
    faults,
  );
  try {
    const outcome = await engine.runner.step(0, tokens, { level: "full", wants: isResidualStream });
    return hiddenRows(outcome.records(0));
  } finally {
    await engine.close();
  }
}

/** The stream after the first step of a trace of the same tokens. */
async function traceRows(model: Model, path: string, tokens: readonly number[]): Promise<HiddenRow[]> {
  const trace = await Trace.open(path);
  try {
    await checkModel(model, trace);
    const { ids } = traceSequence(trace);
    const ran = trace.manifest.tokens[0] ?? [];
    const at = tokens.findIndex((id, i) => ids[i] !== id);
    if (at >= 0 || ran.length !== tokens.length) {
      const where =
        at < 0
          ? `${ran.length} tokens in its first step, ${tokens.length} here`
          : `other tokens from position ${at} on`;
      throw new InputError(
        `${path}: ${where}; run the same prompt, or give --tokens ${ran.slice(0, 8).join(",")}${ran.length > 8 ? ",..." : ""}`,
      );
    }
    const rows: HiddenRow[] = [];
    for (const [index, record] of trace.records.entries()) {
      if (record.step !== 0 || !isResidualStream(record.tap)) continue;
      const values = record.hasValues ? await trace.values(index) : null;
      rows.push(...hiddenRows([{ ...record, values }]));
    }
    if (rows.length === 0)
      throw new InputError(`${path}: has no embed and no layer's output; record them (--taps 'embed,*.output')`);
    return rows;
  } finally {
    await trace.close();
  }
}
