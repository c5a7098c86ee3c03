/** Runs a model in llama.cpp, through the small programs of this folder, which build.sh compiles where they are not there yet. */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/model/package-root.ts";
import { InputError } from "../../src/trace/errors.ts";
import { runProgram } from "../program.ts";

export interface LlamaCppOptions {
  /** Folder of a llama.cpp checkout with shared libraries built, instead of the prebuilt one that is fetched. */
  readonly llamaCpp?: string | undefined;
  /** What is being fetched or compiled, where something is. */
  readonly onNote?: (line: string) => void;
}

export interface LlamaCppDump extends LlamaCppOptions {
  /** GGUF file. */
  readonly model: string;
  /** Token ids of each forward pass, in order; positions go on from one to the next. */
  readonly steps: readonly (readonly number[])[];
  /** Further passes, each fed the likeliest token of the one before. */
  readonly greedy: number;
  /** All weights decoded to f32 first, so that no activation is quantised. */
  readonly exact: boolean;
  /** The decoded weights as tensors of their own, `weight:NAME`. */
  readonly weights: boolean;
  /** Only the logits of each pass, not every tensor. */
  readonly logitsOnly: boolean;
  readonly threads: number;
  /** Where the dump goes: a new or an empty folder. It holds a dump.json only when it is whole. */
  readonly folder: string;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Paths of the programs; compiled, and llama.cpp fetched, where need be. Throws InputError where that cannot be done. */
export async function llamaCppPrograms({ llamaCpp, onNote }: LlamaCppOptions = {}): Promise<{
  readonly dump: string;
  readonly quantize: string;
  readonly decode: string;
  readonly tokenize: string;
}> {
  const system = `${process.platform} ${process.arch}`;
  if (llamaCpp === undefined && system !== "linux x64") {
    throw new InputError(
      `the prebuilt llama.cpp is for linux x64 and this is ${system}; give a llama.cpp built here with --llama-cpp`,
    );
  }
  const script = fileURLToPath(new URL("references/llamacpp/build.sh", packageRoot()));
  const parts = [script, ...(llamaCpp === undefined ? [] : ["--llama-cpp", llamaCpp])];
  const printed = await runProgram("llama.cpp", "bash", parts, onNote === undefined ? {} : { onNote });
  const folder = printed.at(-1) ?? "";
  const program = (name: string) => join(folder, `faultline-llamacpp-${name}`);
  return {
    dump: program("dump"),
    quantize: program("quantize"),
    decode: program("decode"),
    tokenize: program("tokenize"),
  };
}

/** Runs a model and writes the dump folder (`names`: "llama.cpp"). Throws InputError where llama.cpp cannot do it. */
export async function dumpLlamaCpp(request: LlamaCppDump): Promise<void> {
  const { dump } = await llamaCppPrograms(request);
  const options = [
    ["--model", request.model, "--out", request.folder, "--threads", `${request.threads}`],
    ...request.steps.map((tokens) => ["--step", tokens.join(",")]),
    ["--greedy", `${request.greedy}`, "--weights", request.weights ? "all" : "none"],
    request.exact ? ["--exact"] : [],
    request.logitsOnly ? ["--logits-only"] : [],
  ];
  try {
    await runProgram("llama.cpp", dump, options.flat(), {
      onLine: (line) => {
        const [done, total] = line.split(" ").map(Number);
        if (done !== undefined && total !== undefined) request.onProgress?.(done, total);
      },
    });
  } finally {
    await rm(join(request.folder, "exact.gguf"), { force: true }); // stays where the program was killed
  }
}

/**
 * Writes a copy of a model by llama.cpp's own quantiser: every matrix in one block type (F32, Q4_0, Q6_K, ...), or by one of its
 * recipes as shipped (Q4_K_M, Q5_K_S, ...). Rows that do not divide into the blocks get another type: see `fallenBack`.
 */
export async function quantizeModel(
  input: string,
  output: string,
  type: string,
  options: LlamaCppOptions = {},
): Promise<void> {
  const { quantize } = await llamaCppPrograms(options);
  const partial = `${output}.partial`;
  try {
    await runProgram("llama.cpp", quantize, [input, partial, type]);
    await rename(partial, output);
  } finally {
    await rm(partial, { force: true });
  }
}
