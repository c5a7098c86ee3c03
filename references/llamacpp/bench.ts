/** The program that times llama.cpp as shipped, on its CPU or its Vulkan backend; compiled, and llama.cpp fetched, where need be. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/model/package-root.ts";
import { InputError } from "../../src/trace/errors.ts";
import { runProgram } from "../program.ts";

/** Path of the program. Throws InputError where it cannot be had. */
export async function llamaCppBench(
  device: "cpu" | "vulkan",
  onNote: (line: string) => void = () => {},
): Promise<string> {
  const system = `${process.platform} ${process.arch}`;
  if (system !== "linux x64") throw new InputError(`the prebuilt llama.cpp is for linux x64 and this is ${system}`);
  const script = fileURLToPath(new URL("references/llamacpp/build.sh", packageRoot()));
  const printed = await runProgram("llama.cpp", "bash", [script, device === "vulkan" ? "--bench-vulkan" : "--bench"], {
    onNote,
  });
  return join(printed.at(-1) ?? "", "faultline-llamacpp-bench");
}
