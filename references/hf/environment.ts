/** The Python environment of the HuggingFace programs; setup.sh makes it where it is missing. */
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/model/package-root.ts";
import { InputError } from "../../src/trace/errors.ts";
import { runProgram } from "../program.ts";

/** Path of a file of this folder. */
export const hfFile = (name: string) => fileURLToPath(new URL(`references/hf/${name}`, packageRoot()));

/** Path of its python. Throws InputError, with what to do, where the environment cannot be made. */
export async function hfPython(onNote?: (line: string) => void): Promise<string> {
  const environment = await runProgram("hf", "bash", [hfFile("setup.sh")], onNote === undefined ? {} : { onNote });
  const python = environment.at(-1);
  if (python === undefined) throw new InputError("hf: setup.sh named no python; run references/hf/setup.sh by hand");
  return python;
}
