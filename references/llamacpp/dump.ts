/** Runs a model in llama.cpp, through the small programs of this folder, which build.sh compiles where they are not there yet. */
import { spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/model/package-root.ts";
import { InputError } from "../../src/trace/errors.ts";

export interface LlamaCppOptions {
  /** Folder of a llama.cpp checkout with shared libraries built, instead of the prebuilt one that is fetched. */
  readonly llamaCpp?: string | undefined;
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

/** Paths of the two programs; compiled, and llama.cpp fetched, where need be. Throws InputError where that cannot be done. */
export async function llamaCppPrograms({ llamaCpp }: LlamaCppOptions = {}): Promise<{
  readonly dump: string;
  readonly quantize: string;
}> {
  const system = `${process.platform} ${process.arch}`;
  if (llamaCpp === undefined && system !== "linux x64") {
    throw new InputError(
      `the prebuilt llama.cpp is for linux x64 and this is ${system}; give a llama.cpp built here with --llama-cpp`,
    );
  }
  const script = fileURLToPath(new URL("references/llamacpp/build.sh", packageRoot()));
  let folder = "";
  await run("bash", [script, ...(llamaCpp === undefined ? [] : ["--llama-cpp", llamaCpp])], (line) => {
    folder = line;
  });
  return { dump: join(folder, "faultline-llamacpp-dump"), quantize: join(folder, "faultline-llamacpp-quantize") };
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
    await run(dump, options.flat(), (line) => {
      const [done, total] = line.split(" ").map(Number);
      if (done !== undefined && total !== undefined) request.onProgress?.(done, total);
    });
  } finally {
    await rm(join(request.folder, "exact.gguf"), { force: true }); // stays where the program was killed
  }
}

/** Writes a copy of a model with every matrix in one block type (F32, Q4_0, Q6_K, ...), by llama.cpp's own quantiser. */
export async function quantizeModel(
  input: string,
  output: string,
  type: string,
  options: LlamaCppOptions = {},
): Promise<void> {
  const { quantize } = await llamaCppPrograms(options);
  await run(quantize, [input, output, type]);
}

/** Runs a program to its end; Ctrl-C ends it first. Throws InputError with the last line of what it said where it fails. */
function run(program: string, args: readonly string[], onLine: (line: string) => void = () => {}): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    let rest = "";
    let interrupted = false;
    const interrupt = () => {
      interrupted = true;
      child.kill("SIGTERM");
    };
    const end = (error?: InputError) => {
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", interrupt);
      if (error === undefined) resolve();
      else reject(error);
    };
    process.on("SIGINT", interrupt);
    process.on("SIGTERM", interrupt);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-10_000);
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) onLine(line);
    });
    child.on("error", (error) => end(new InputError(`${program} cannot be run: ${error.message}`)));
    child.on("close", (status, signal) => {
      if (status === 0) return end();
      if (interrupted) return end(new InputError("llama.cpp was interrupted; its dump is not whole"));
      const last = said.trim().split("\n").at(-1)?.trim() || "it said nothing";
      if (signal === null) return end(new InputError(last));
      const place = last.replace(/^\/\S*\//, ""); // of an assertion: the file's name will do
      end(new InputError(`llama.cpp broke down (${signal}) in ${args.join(" ").slice(0, 200)}: ${place}`));
    });
  });
}
