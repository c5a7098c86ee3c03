/** `faultline inspect`: growth through the layers, and statistics of any tap. */
import type { Command } from "commander";
import { type CompareOptions, compareTraces } from "../compare/compare.ts";
import { growthTable, rmsPairs, tapRows } from "../compare/growth.ts";
import { parseLayers } from "../model/model.ts";
import { growthReport } from "../report/document/growth.ts";
import { type InspectFacts, inspectJson, inspectText } from "../report/inspect.ts";
import type { Versus } from "../report/inspect-vs.ts";
import { strangers } from "../report/inspect-weights.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { DIVERGENT } from "./compare.ts";
import { weightsOf } from "./inspect-weights.ts";
import { addOutputOptions, globList, integer, type OutputOptions } from "./options.ts";
import { print } from "./output.ts";
import { progressBar } from "./progress.ts";
import { addPageOptions, checkReportFiles, leaveReports, type ReportOptions } from "./report-files.ts";

type Options = OutputOptions &
  ReportOptions & {
    step: number;
    tap?: string[];
    layers?: string;
    model?: string;
    vs?: string;
    envelope?: string;
  };

export function addInspect(program: Command, version: string): void {
  const command = program
    .command("inspect")
    .description("show growth of the hidden states layer by layer, and statistics of any tap")
    .argument("<trace>", "trace file, whole or partial")
    .option("--step <number>", "forward pass: 0 is the prompt, 1 the first decode step", integer(0), 0)
    .option("--tap <globs>", "statistics of these taps, comma-separated, e.g. 'blk.0.*'", globList);
  command
    .option("--layers <spec>", "what goes into these layers and every op inside them: 3, 0-2 or 0-4,7")
    .option("--model <model>", "the GGUF file that was run: its weights beside the ops, or summed up by kind")
    .option("--vs <reference>", "trace that is trusted: both curves, their ratio, and the first op that departs")
    .option(
      "--envelope <trace>",
      "with --vs, a second trusted trace: how far it is from the first is taken as natural",
    );
  addPageOptions(addOutputOptions(command))
    .addHelpText(
      "after",
      "\nExit status: 1 where --vs departs, or a weight that the trace recorded is not --model's; else 0. Weights are recorded by: faultline trace ... --taps '*,weight:*'\n\nExamples:\n  faultline inspect trace.arrow --tap 'blk.0.*,logits'\n  faultline inspect trace.arrow --model model.gguf --layers 0,21\n  faultline inspect trace.arrow --vs reference.arrow --layers 0,21",
    )
    .action(async (path: string, options: Options) => {
      checkReportFiles(options, [path, options.vs, options.envelope, options.model]);
      const { vs, envelope } = options;
      if (envelope !== undefined && vs === undefined) {
        throw new InputError(`--envelope ${envelope}: widens what --vs allows; name the reference too`);
      }
      const open: Trace[] = [];
      const openTrace = async (each: string) => {
        const trace = await Trace.open(each);
        open.push(trace);
        return trace;
      };
      try {
        const trace = await openTrace(path);
        const reference = vs === undefined ? null : await openTrace(vs);
        const others = envelope === undefined ? {} : { envelope: await openTrace(envelope) };
        const facts = await inspected(path, trace, options, reference, others);
        await leaveReports(options, (created) => growthReport(facts, { version, created }));
        print(
          options,
          () => inspectJson(facts),
          () => inspectText(facts),
        );
        const isStrange = facts.weights !== null && strangers(facts.weights).length > 0;
        if (isStrange || facts.versus?.comparison.verdict === "divergent") process.exitCode = DIVERGENT;
      } finally {
        for (const trace of open) await trace.close();
      }
    });
}

async function inspected(
  path: string,
  trace: Trace,
  options: Options,
  reference: Trace | null,
  others: { readonly envelope?: Trace },
): Promise<InspectFacts> {
  const { records, manifest, partial } = trace;
  const { step } = options;
  const steps = new Set(records.map((record) => record.step));
  if (!steps.has(step)) {
    throw new InputError(`${path}: no step ${step}; it has steps 0 to ${Math.max(...steps)}`);
  }
  const globs = wantedTaps(trace, options);
  const taps = globs === null ? [] : tapRows(records, step, globs);
  const weights =
    options.model === undefined ? null : await weightsOf(trace, options.model, taps, globs, options.quiet);
  if (globs !== null && taps.length === 0 && (weights === null || weights.weights.length === 0)) {
    throw new InputError(`${path}: no tap of step ${step} matches ${globs.join(",")}; try --tap '*'`);
  }
  const growth = growthTable(records, step);
  const beside = (expected: Trace) => {
    const bar = progressBar("comparing", "records", options.quiet);
    const compared = { ...others, progress: (done: number, total: number) => bar.update(done, total) };
    return versusOf(trace, expected, step, growth, taps, compared).finally(() => bar.stop());
  };
  const versus = reference === null ? null : await beside(reference);
  return { path, manifest, partial, records: records.length, steps: steps.size, step, growth, taps, weights, versus };
}

/** Globs of the taps asked for; null where none are. A layer comes with what goes into it. */
function wantedTaps({ records }: Trace, { tap, layers }: Options): string[] | null {
  if (layers === undefined) return tap ?? null;
  if (layers === "none") throw new InputError("--layers none: names no layer to look into; write 3, 0-2 or 0-4,7");
  const ran = [...new Set(records.flatMap(({ layer }) => layer ?? []))].sort((a, b) => a - b);
  const before = (layer: number) => ran[ran.indexOf(layer) - 1];
  const inside = parseLayers(layers, (ran.at(-1) ?? -1) + 1).flatMap((layer) => {
    const last = before(layer);
    return [last === undefined ? "embed" : `blk.${last}.output`, `blk.${layer}.*`, `weight:blk.${layer}.*`];
  });
  return [...(tap ?? []), ...inside];
}

async function versusOf(
  trace: Trace,
  reference: Trace,
  step: number,
  growth: InspectFacts["growth"],
  taps: InspectFacts["taps"],
  options: CompareOptions,
): Promise<Versus> {
  const comparison = await compareTraces(reference, trace, options);
  const inStream = new Set(growth.map(({ tap }) => tap));
  const stream = trace.records.filter((record) => record.step === step && inStream.has(record.tap));
  return {
    ...{ path: reference.path, comparison },
    stream: rmsPairs(stream, reference.records, step),
    taps: rmsPairs(taps, reference.records, step),
  };
}
