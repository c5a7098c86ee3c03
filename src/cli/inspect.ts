/** `faultline inspect`: growth through the layers, and statistics of any tap. */
import type { Command } from "commander";
import { growthTable, tapRows } from "../compare/growth.ts";
import { inspectJson, inspectText } from "../report/inspect.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { addOutputOptions, globList, integer, type OutputOptions } from "./options.ts";

type Options = OutputOptions & { step: number; tap?: string[] };

export function addInspect(program: Command): void {
  const command = program
    .command("inspect")
    .description("show growth of the hidden states layer by layer, and statistics of any tap")
    .argument("<trace>", "trace file, whole or partial")
    .option("--step <number>", "forward pass: 0 is the prompt, 1 the first decode step", integer(0), 0)
    .option("--tap <globs>", "statistics of these taps, comma-separated, e.g. 'blk.0.*'", globList);
  addOutputOptions(command)
    .addHelpText("after", "\nExample:\n  faultline inspect trace.arrow --tap 'blk.0.*,logits'")
    .action(async (path: string, options: Options) => {
      const trace = await Trace.open(path);
      try {
        const steps = new Set(trace.records.map((record) => record.step));
        if (!steps.has(options.step)) {
          throw new InputError(`${path}: no step ${options.step}; it has steps 0 to ${Math.max(...steps)}`);
        }
        const facts = {
          path,
          manifest: trace.manifest,
          partial: trace.partial,
          records: trace.records.length,
          steps: steps.size,
          step: options.step,
          growth: growthTable(trace.records, options.step),
          taps: options.tap === undefined ? [] : tapRows(trace.records, options.step, options.tap),
        };
        if (options.tap !== undefined && facts.taps.length === 0) {
          throw new InputError(
            `${path}: no tap of step ${options.step} matches ${options.tap.join(",")}; try --tap '*'`,
          );
        }
        process.stdout.write(options.json ? `${JSON.stringify(inspectJson(facts))}\n` : inspectText(facts));
      } finally {
        await trace.close();
      }
    });
}
