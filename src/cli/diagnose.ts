/** `faultline diagnose`: what the bug is, from a trace with values or from sketches alone. */
import { join } from "node:path";
import type { Command } from "commander";
import { auditTrace } from "../compare/audit.ts";
import { compareTraces } from "../compare/compare.ts";
import type { Diagnosis } from "../compare/diagnose.ts";
import { diagnoseOrigins } from "../compare/diagnose-origins.ts";
import { diagnoseAudit } from "../compare/judged-audit.ts";
import { TraceValues } from "../compare/run-values.ts";
import type { Model } from "../model/model.ts";
import { type DiagnosedOp, diagnosesJson, diagnosesText } from "../report/diagnoses.ts";
import { readPrompt } from "../run/prompt.ts";
import { tapMatcher } from "../trace/capture.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { modelOf } from "./audited.ts";
import { DIVERGENT } from "./compare.ts";
import { inTemporaryFolder } from "./folders.ts";
import { addGitBisectOption, addOutputOptions, type OutputOptions } from "./options.ts";
import { progressBar } from "./progress.ts";
import { traced } from "./traced.ts";

interface Options extends OutputOptions {
  readonly model: string;
  readonly tap?: string;
  readonly against?: string;
}

export function addDiagnose(program: Command, version: string): void {
  const command = program
    .command("diagnose")
    .description("name the bug of the ops at fault: the one that, computed on purpose, reproduces their output")
    .argument("<trace>", "trace with values or sketches")
    .requiredOption("--model <model>", "the GGUF file that was run")
    .option("--tap <tap>", "only this op, e.g. blk.3.q_rope")
    .option(
      "--against <trace>",
      "for a trace without values: a reference with values (else the f64 oracle runs the tokens)",
    );
  addOutputOptions(addGitBisectOption(command))
    .addHelpText(
      "after",
      "\nExit status: 0 no op is at fault, 1 one is (whether or not its cause is known), 2 could not tell.\n\nExample:\n  faultline diagnose mine.arrow --model model.gguf --tap blk.3.q_rope",
    )
    .action(async (path: string, options: Options) => {
      const trace = await Trace.open(path);
      try {
        const model = await modelOf(trace, options.model);
        try {
          checkTap(model, trace, options.tap);
          const hasValues = trace.records.some((record) => record.hasValues);
          const found = hasValues
            ? await fromValues(model, trace, options)
            : await fromSketches(model, trace, options, version);
          process.stdout.write(
            options.json ? `${JSON.stringify(diagnosesJson(path, found))}\n` : diagnosesText(path, found),
          );
          if (found.length > 0) process.exitCode = DIVERGENT;
        } finally {
          model.file.close();
        }
      } finally {
        await trace.close();
      }
    });
}

function checkTap(model: Model, trace: Trace, tap: string | undefined): void {
  if (tap === undefined) return;
  if (!model.graph.some(({ op }) => op.tap === tap)) {
    throw new InputError(`--tap ${tap}: no op of ${model.file.name} makes it; ops are named like blk.0.q_rope, logits`);
  }
  if (!trace.records.some((record) => record.tap === tap)) {
    throw new InputError(`--tap ${tap}: not among the ${trace.records.length} records of ${trace.path}; trace it too`);
  }
}

async function fromValues(model: Model, trace: Trace, { tap, quiet }: Options): Promise<DiagnosedOp[]> {
  const bar = progressBar("auditing", "ops", quiet);
  try {
    const wants = tap === undefined ? {} : { wants: tapMatcher([tap]) };
    const audit = await auditTrace(model, trace, { ...wants, progress: (done, total) => bar.update(done, total) });
    const { faults } = await diagnoseAudit(model, trace, audit);
    const unjudged = audit.counts["not-judged"];
    bar.stop();
    if (unjudged > 0)
      process.stderr.write(
        `note: ${unjudged} of ${audit.ops.length} ops could not be judged; faultline audit says why\n`,
      );
    return faults.map(({ tap: at, step, diagnosis }) => ({ tap: at, step, evidence: "values", diagnosis }));
  } finally {
    bar.stop();
  }
}

/** Without values inputs are a reference's, or the oracle's own: right ones, since nothing before an origin differs. */
async function fromSketches(model: Model, trace: Trace, options: Options, version: string): Promise<DiagnosedOp[]> {
  if (options.against !== undefined) return besideReference(model, trace, options.against, options);
  return inTemporaryFolder("diagnose", async (folder) => {
    const path = join(folder, "oracle.arrow");
    await oracleRun(model, trace, path, version, options.quiet);
    return besideReference(model, trace, path, options);
  });
}

async function besideReference(model: Model, trace: Trace, path: string, options: Options): Promise<DiagnosedOp[]> {
  const expected = await Trace.open(path);
  try {
    if (!expected.records.some((record) => record.hasValues)) {
      throw new InputError(
        `${path}: holds no values; give a reference made with --capture full, or leave out --against`,
      );
    }
    const comparison = await compareTraces(expected, trace);
    if (comparison.tokens.difference !== null && comparison.tokenStep === 0) {
      throw new InputError(
        `${path} and ${trace.path} ran other tokens from position ${comparison.tokens.difference.position} on; 'faultline compare' says which`,
      );
    }
    const diagnoses = new Map<string, Diagnosis>(
      (await diagnoseOrigins(model, expected, trace, comparison)).map((each) => [each.tap, each]),
    );
    const origins = comparison.ops.filter(({ isOrigin, tap }) => isOrigin && (options.tap ?? tap) === tap);
    const first = origins.filter(({ tap }, index) => origins.findIndex((op) => op.tap === tap) === index);
    return first.map(({ tap, step, evidence }) => ({
      ...{ tap, step, evidence },
      diagnosis: diagnoses.get(tap) ?? null,
    }));
  } finally {
    await expected.close();
  }
}

async function oracleRun(model: Model, trace: Trace, output: string, version: string, quiet: boolean | undefined) {
  const { steps } = new TraceValues(trace, model);
  const [first, ...others] = steps;
  const follow = others.flatMap(({ tokens }) => tokens);
  const isPlain = first?.posStart === 0 && others.every(({ tokens, posStart }) => tokens.length === 1 && posStart > 0);
  if (first === undefined || !isPlain) {
    throw new InputError(
      `${trace.path}: its steps are not one prompt and single tokens after it, which is what the oracle would run; give a reference with --against`,
    );
  }
  const { tokenizer, prompt } = readPrompt(model, { tokens: first.tokens }, follow.length);
  await traced({
    ...{ model, tokenizer, prompt, steps: follow.length, follow, output, version },
    capture: "full",
    engine: { device: "oracle", dtype: "f32", kvCache: true },
    ...(quiet === undefined ? {} : { quiet }),
  });
}
