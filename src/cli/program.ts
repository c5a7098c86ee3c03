/** The program: every command, one file each. */
import { Command } from "commander";
import { packageVersion } from "../model/package-root.ts";
import { printable } from "../report/printable.ts";
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

const version = packageVersion();

/** Names from a damaged file may hold line feeds and terminal escapes; an error stays one harmless line. */
export const oneLine = (text: string) => `${printable(text.trim().replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " "))}\n`;
const outputError = (text: string, write: (text: string) => void) =>
  write(oneLine(text.replace(/^error: /, "faultline: ")));

export const program = new Command("faultline")
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
