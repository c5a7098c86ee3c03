#!/usr/bin/env node
/** The command line: one file per command; errors become one line and exit status 2. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { packageRoot } from "../model/package-root.ts";
import { InputError } from "../trace/errors.ts";
import { addAudit } from "./audit.ts";
import { addBisect } from "./bisect.ts";
import { addCompare } from "./compare.ts";
import { addDemo } from "./demo.ts";
import { addDeterminism } from "./determinism.ts";
import { addDiagnose } from "./diagnose.ts";
import { addDoctor } from "./doctor.ts";
import { addFaults } from "./faults.ts";
import { addGenerate } from "./generate.ts";
import { addImport } from "./import.ts";
import { addInspect } from "./inspect.ts";
import { addKernels } from "./kernels.ts";
import { addKv } from "./kv.ts";
import { addLens } from "./lens.ts";
import { addQuant } from "./quant.ts";
import { addReference } from "./reference.ts";
import { addReplay } from "./replay.ts";
import { addTokens } from "./tokens.ts";
import { addTrace } from "./trace.ts";

/** Could not do it: what, numbers, remedy on one line. `git bisect run` skips a commit that ends with 125. */
const COULD_NOT = process.argv.includes("--git-bisect") ? 125 : 2;

const { version } = JSON.parse(readFileSync(new URL("package.json", packageRoot()), "utf8")) as { version: string };

/** Names from a damaged file may hold line feeds and terminal escapes; an error stays one harmless line. */
const oneLine = (text: string) => `${text.trim().replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ")}\n`;
const outputError = (text: string, write: (text: string) => void) =>
  write(oneLine(text.replace(/^error: /, "faultline: ")));

const program = new Command("faultline")
  .description("Finds the first divergent op between two implementations of the same language model")
  .version(version)
  .exitOverride()
  .configureOutput({ outputError })
  .addHelpText(
    "after",
    '\nExit status: 0 alike or done, 1 divergent, 2 could not do it.\n\nExample:\n  faultline bisect model.gguf --against llamacpp --exact -p "Once upon a time"',
  );
for (const add of [
  addBisect,
  addTrace,
  addReference,
  addImport,
  addCompare,
  addAudit,
  addDiagnose,
  addReplay,
  addInspect,
  addLens,
  addKv,
  addQuant,
  addDeterminism,
  addGenerate,
  addTokens,
  addKernels,
  addFaults,
  addDoctor,
  addDemo,
])
  add(program, version);
for (const command of program.commands) {
  command.exitOverride().configureOutput({ outputError });
}

// A reader that closes the pipe early (head, less) has what it wanted.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

program.parseAsync().catch((error: unknown) => {
  process.exitCode = COULD_NOT;
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) process.exitCode = 0;
  } else if (error instanceof InputError) {
    process.stderr.write(oneLine(`faultline: ${error.message}`));
  } else {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(
      oneLine(
        `faultline: internal error: ${message.split("\n")[0]}; please report this (FAULTLINE_DEBUG=1 shows where)`,
      ),
    );
    if (process.env.FAULTLINE_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  }
});
