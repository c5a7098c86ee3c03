/** The foreign engine of test/foreign: its dumps of the embedded model, clean and with each of its bugs, and their traces. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { readDumpFolder } from "../../references/import/dump-folder.ts";
import { runProgram } from "../../references/program.ts";
import { importTrace } from "../../src/cli/import-trace.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import { Trace } from "../../src/trace/reader.ts";

const root = join(import.meta.dirname, "../..");
const engine = join(root, "test/foreign/engine.py");
export const EMBEDDED = join(root, "models/faultline-tiny-f16.gguf");

/** "<s> In the beginning God created the heaven and", and what follows. */
export const PROMPT = [256, 1057, 261, 1907, 1079, 415, 280, 593, 285, 261, 860, 271];
export const FOLLOW = [261, 725];
export const STEPS = [PROMPT, ...FOLLOW.map((token) => [token])];

const rows = z.array(
  z.strictObject({
    bug: z.string(),
    what: z.string(),
    /** The tap whose op is wrong by itself, and the first step in which that can show. */
    tap: z.string(),
    step: z.number(),
    layer: z.number().nullable(),
    /** Of docs/faults.md; null for bugs that no catalogue has. */
    id: z.string().nullable(),
    /** The number that goes with the id. */
    parameter: z.number().nullable(),
    /** The closed form that takes the right output to the wrong one (bugs.py says what each is); null where there is none. */
    fit: z.enum(["factor", "offset", "row factor", "column factor", "permutation", "shift"]).nullable(),
  }),
);

/** A bug of test/foreign/bugs.py and the dump of the run that had it. */
export type ForeignRun = z.infer<typeof rows>[number] & { readonly folder: string };

/** Bugs that a comparison cannot see: what they change lies within what rounding explains. A match is right then. */
export const NOT_FELT: Readonly<Record<string, string>> = {
  "norm-eps-small": "1e-4 for 1e-5 beside a mean square of 100",
  "norm-eps-unfelt": "1e-6 for 1e-5 beside a mean square of 100",
};

export interface ForeignRuns {
  /** The dump without a bug. */
  readonly clean: string;
  readonly bugs: readonly ForeignRun[];
  /** Removes the dumps. */
  remove(): void;
}

/** The Python that has numpy and gguf: the HuggingFace reference's. Null where it was never made. */
export function foreignPython(): string | null {
  const folder = join(process.env.FAULTLINE_CACHE ?? join(homedir(), ".cache", "faultline"), "hf-python");
  const found = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name, "bin/python")) : [];
  return found.find((python) => !python.includes("partial.") && existsSync(python)) ?? null;
}

/** Why there can be no foreign runs: for context.skip. */
export const NO_PYTHON =
  "references/hf/setup.sh was never run, and its Python has the numpy and gguf that this engine needs";

/** Runs the engine with these parameters; its lines of stdout. */
export function runForeign(...parameters: string[]): Promise<string[]> {
  const python = foreignPython();
  if (python === null) throw new Error(NO_PYTHON);
  return runProgram("foreign", python, ["-B", engine, ...parameters]);
}

/** Runs the prompt and two decode steps, clean and with every bug of the table. */
export async function foreignRuns(): Promise<ForeignRuns> {
  const table = rows.parse(JSON.parse((await runForeign("--list")).join("\n")));
  const out = mkdtempSync(join(tmpdir(), "faultline-foreign-"));
  const run = ["--tokens", PROMPT.join(","), "--steps", `${FOLLOW.length}`, "--follow", FOLLOW.join(",")];
  await runForeign(EMBEDDED, ...run, "--out", out, "--bug", "all");
  return {
    clean: join(out, "clean"),
    bugs: table.map((row) => ({ ...row, folder: join(out, row.bug) })),
    remove: () => rmSync(out, { recursive: true }),
  };
}

let embedded: Promise<Model> | undefined;

/** Imports a dump of the embedded model with all its values, as trace.arrow beside its arrays, and opens that. */
export async function foreignTrace(folder: string): Promise<Trace> {
  embedded ??= openModel(EMBEDDED);
  const output = join(folder, "trace.arrow");
  const source = readDumpFolder(folder);
  const facts = await importTrace({ source, model: await embedded, output, capture: "full", quiet: true });
  const strangers = [facts.ignored, facts.unknown, facts.replaced, facts.leftOut].flat();
  if (strangers.length > 0) throw new Error(`${folder}: not imported as it stands: ${JSON.stringify(strangers)}`);
  return Trace.open(output);
}
