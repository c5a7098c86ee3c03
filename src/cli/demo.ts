/** `faultline demo`: the embedded model, traced and looked at. */
import { fileURLToPath } from "node:url";
import { type Command, Option } from "commander";
import { growthTable } from "../compare/growth.ts";
import { openModel } from "../model/model.ts";
import { packageRoot } from "../model/package-root.ts";
import { inspectJson, inspectText } from "../report/inspect.ts";
import { traceSummaryJson, traceSummaryText } from "../report/trace-summary.ts";
import { Trace } from "../trace/reader.ts";
import { addOutputOptions, DEVICES, type DeviceOption, type OutputOptions } from "./options.ts";
import { readPrompt } from "./prompt.ts";
import { traceModel } from "./trace-model.ts";

/** The model that comes with the package. */
export const EMBEDDED_MODEL = "models/faultline-tiny-f16.gguf";
const PROMPT = "In the beginning God created the heaven and";
const STEPS = 8;

export function addDemo(program: Command, version: string): void {
  const command = program
    .command("demo")
    .description("trace the embedded model and look at the trace")
    .addOption(new Option("--device <kind>", "where to run").choices(DEVICES).default("auto"))
    .option("-o, --output <file>", "trace to write", "demo.arrow");
  addOutputOptions(command)
    .addHelpText("after", "\nExample:\n  faultline demo -o demo.arrow")
    .action(async (options: OutputOptions & { device: DeviceOption; output: string }) => {
      const model = await openModel(fileURLToPath(new URL(EMBEDDED_MODEL, packageRoot())));
      try {
        const { tokenizer, prompt } = readPrompt(model, { prompt: PROMPT }, STEPS);
        const { output } = options;
        const engine = { device: options.device, dtype: "f32" as const, kvCache: true };
        const quiet = options.quiet ?? false;
        const summary = await traceModel({
          model,
          tokenizer,
          prompt,
          steps: STEPS,
          output,
          capture: "full",
          engine,
          version,
          quiet,
        });
        const trace = await Trace.open(output);
        const facts = {
          path: output,
          manifest: trace.manifest,
          partial: trace.partial,
          records: trace.records.length,
          steps: summary.steps,
          step: 0,
          growth: growthTable(trace.records, 0),
          taps: [],
        };
        await trace.close();
        if (options.json) {
          process.stdout.write(
            `${JSON.stringify({ trace: traceSummaryJson(summary), inspect: inspectJson(facts) })}\n`,
          );
        } else {
          process.stdout.write(
            `"${PROMPT}"\n${traceSummaryText(summary, tokenizer.decode(summary.generated))}\n${inspectText(facts)}`,
          );
        }
      } finally {
        model.file.close();
      }
    });
}
