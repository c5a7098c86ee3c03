/** `faultline demo`: the embedded model against HuggingFace Transformers, as it is and with planted faults. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { auditTrace } from "../compare/audit.ts";
import { compareTraces } from "../compare/compare.ts";
import { diagnoseAudit } from "../compare/judged-audit.ts";
import { parseFaults } from "../engine/faults/parse.ts";
import { type Model, openModel } from "../model/model.ts";
import { packageRoot } from "../model/package-root.ts";
import { plain } from "../report/colors.ts";
import { type DemoRun, demoHead, demoJson, demoRunText, demoTail, isAsPlanted } from "../report/demo.ts";
import { reportOf } from "../report/document/report.ts";
import { reportHtml } from "../report/formats/html.ts";
import { printable } from "../report/printable.ts";
import type { DeviceOption } from "../run/options.ts";
import { readPrompt } from "../run/prompt.ts";
import { Trace } from "../trace/reader.ts";
import { EMBEDDED_MODEL } from "./embedded.ts";
import { madeFolder } from "./folders.ts";
import { addDeviceOption, addOutputOptions, type OutputOptions } from "./options.ts";
import { traced } from "./traced.ts";

/** What HuggingFace Transformers made of the embedded model (scripts/reference-trace.sh). */
const REFERENCE = "models/faultline-tiny-f16.hf.arrow";
/** All but the rotary tables, which are ours and not an op of anybody's. */
const OPS = ["!rope.*"];
/** One that anybody sees in the text, and one that nobody would. */
const FAULTS = ["linear.swap-gate-up@blk.2.ffn_gate", "rope.pairing@blk.2.q_rope"];

const packaged = (path: string) => fileURLToPath(new URL(path, packageRoot()));

export function addDemo(program: Command, version: string): void {
  const command = program
    .command("demo")
    .description("the embedded model against HuggingFace Transformers, as it is and with planted faults")
    .option("-o, --output <dir>", "folder for traces and report", "faultline-demo");
  addOutputOptions(addDeviceOption(command))
    .addHelpText("after", "\nExample:\n  faultline demo")
    .action(async (options: OutputOptions & { device: DeviceOption; output: string }) => {
      const model = await openModel(packaged(EMBEDDED_MODEL));
      const expected = await Trace.open(packaged(REFERENCE));
      try {
        madeFolder(options.output);
        const print = (text: string) => void (options.json || process.stdout.write(printable(text)));
        const head = demoHead(expected.manifest);
        print(head);
        const [runs, texts]: [DemoRun[], string[]] = [[], [head]];
        for (const [index, fault] of [null, ...FAULTS].entries()) {
          const run = await demoRun(model, expected, fault, index, options, version);
          const text = demoRunText(run, index + 1);
          print(text);
          runs.push(run);
          texts.push(text);
        }
        writeFileSync(join(options.output, "report.txt"), plain(texts.join("")));
        if (options.json) process.stdout.write(`${JSON.stringify(demoJson(runs))}\n`);
        else print(demoTail(runs, options.output));
        if (!runs.every(isAsPlanted)) process.exitCode = 1;
      } finally {
        await expected.close();
        model.file.close();
      }
    });
}

/** One run of the engine, held against the reference. */
async function demoRun(
  model: Model,
  expected: Trace,
  fault: string | null,
  index: number,
  options: OutputOptions & { device: DeviceOption; output: string },
  version: string,
): Promise<DemoRun> {
  const started = performance.now();
  const steps = expected.manifest.tokens.length - 1;
  const { tokenizer, prompt } = readPrompt(model, { prompt: expected.manifest.prompt ?? "" }, steps);
  const engine = { device: options.device, dtype: "f32" as const, kvCache: true };
  const faults = fault === null ? [] : parseFaults([fault], model, engine);
  const name = join(options.output, `${index}-${fault ?? "clean"}`);
  const output = `${name}.arrow`;
  const quiet = options.quiet ?? false;
  const run = {
    model,
    tokenizer,
    prompt,
    steps,
    output,
    engine,
    version,
    quiet,
    faults,
    capture: "full" as const,
    taps: OPS,
  };
  const { generated } = await traced(run);
  const actual = await Trace.open(output);
  try {
    const comparison = await compareTraces(expected, actual);
    const audit = await diagnoseAudit(model, actual, await auditTrace(model, actual));
    const alone = { auditLeftOut: null, referenceAudit: null, diagnoses: [], blindSpots: [], determinism: null };
    const created = new Date().toISOString();
    const sources = { ...alone, comparison, audit, expected, actual, piece: tokenizer.piece, version, created };
    writeFileSync(`${name}.html`, reportHtml(await reportOf(sources)));
    const what = faults[0]?.kind.what ?? null;
    return {
      fault,
      what,
      text: tokenizer.decode(generated),
      comparison,
      audit,
      elapsedMs: performance.now() - started,
    };
  } finally {
    await actual.close();
  }
}
