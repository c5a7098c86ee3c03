/** `faultline inspect`: growth through the layers, and statistics of any tap. */
import type { Command } from "commander";
import { compareTraces } from "../compare/compare.ts";
import { growthTable, rmsPairs, tapRows } from "../compare/growth.ts";
import { parseLayers } from "../model/model.ts";
import { type InspectFacts, inspectJson, inspectText } from "../report/inspect.ts";
import type { Versus } from "../report/inspect-vs.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { DIVERGENT } from "./compare.ts";
import { addOutputOptions, globList, integer, type OutputOptions } from "./options.ts";
import { progressBar } from "./progress.ts";

type Options = OutputOptions & { step: number; tap?: string[]; layers?: string; vs?: string };

export function addInspect(program: Command): void {
  const command = program
    .command("inspect")
    .description("show growth of the hidden states layer by layer, and statistics of any tap")
    .argument("<trace>", "trace file, whole or partial")
    .option("--step <number>", "forward pass: 0 is the prompt, 1 the first decode step", integer(0), 0)
    .option("--tap <globs>", "statistics of these taps, comma-separated, e.g. 'blk.0.*'", globList);
  command
    .option("--layers <spec>", "every op inside these layers, and their weights where recorded: 3, 0-2 or 0-4,7")
    .option("--vs <reference>", "trace that is trusted: both curves, their ratio, and the first op that departs");
  addOutputOptions(command)
    .addHelpText(
      "after",
      "\nExit status with --vs: 0 grows alike, 1 departs. Weights are recorded by: faultline trace ... --taps '*,weight:*'\n\nExamples:\n  faultline inspect trace.arrow --tap 'blk.0.*,logits'\n  faultline inspect trace.arrow --vs reference.arrow --layers 0,21",
    )
    .action(async (path: string, options: Options) => {
      const trace = await Trace.open(path);
      const reference = options.vs === undefined ? null : await Trace.open(options.vs);
      try {
        const facts = await inspected(path, trace, options, reference);
        process.stdout.write(options.json ? `${JSON.stringify(inspectJson(facts))}\n` : inspectText(facts));
        if (facts.versus?.comparison.verdict === "divergent") process.exitCode = DIVERGENT;
      } finally {
        await trace.close();
        await reference?.close();
      }
    });
}

async function inspected(path: string, trace: Trace, options: Options, reference: Trace | null): Promise<InspectFacts> {
  const { records, manifest, partial } = trace;
  const { step } = options;
  const steps = new Set(records.map((record) => record.step));
  if (!steps.has(step)) {
    throw new InputError(`${path}: no step ${step}; it has steps 0 to ${Math.max(...steps)}`);
  }
  const globs = wantedTaps(trace, options);
  const taps = globs === null ? [] : tapRows(records, step, globs);
  if (globs !== null && taps.length === 0) {
    throw new InputError(`${path}: no tap of step ${step} matches ${globs.join(",")}; try --tap '*'`);
  }
  const growth = growthTable(records, step);
  const versus = reference === null ? null : await versusOf(trace, reference, step, growth, taps, options.quiet);
  return { path, manifest, partial, records: records.length, steps: steps.size, step, growth, taps, versus };
}

/** Globs of the taps asked for; null where none are. */
function wantedTaps({ records }: Trace, { tap, layers }: Options): string[] | null {
  if (layers === undefined) return tap ?? null;
  if (layers === "none") throw new InputError("--layers none: names no layer to look into; write 3, 0-2 or 0-4,7");
  const count = records.reduce((most, { layer }) => Math.max(most, (layer ?? -1) + 1), 0);
  const inside = parseLayers(layers, count).flatMap((layer) => [`blk.${layer}.*`, `weight:blk.${layer}.*`]);
  return [...(tap ?? []), ...inside];
}

async function versusOf(
  trace: Trace,
  reference: Trace,
  step: number,
  growth: InspectFacts["growth"],
  taps: InspectFacts["taps"],
  quiet: boolean | undefined,
): Promise<Versus> {
  const bar = progressBar("comparing", "records", quiet);
  try {
    const comparison = await compareTraces(reference, trace, { progress: (done, total) => bar.update(done, total) });
    const inStream = new Set(growth.map(({ tap }) => tap));
    const stream = trace.records.filter((record) => record.step === step && inStream.has(record.tap));
    return {
      ...{ path: reference.path, comparison },
      stream: rmsPairs(stream, reference.records, step),
      taps: rmsPairs(taps, reference.records, step),
    };
  } finally {
    bar.stop();
  }
}
