/** Runs HuggingFace Transformers on a model and leaves a dump folder. The environment is made first where it is missing. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/model/package-root.ts";
import { InputError } from "../../src/trace/errors.ts";

export interface HuggingFaceDump {
  /** A llama GGUF, or a folder with config.json and safetensors. */
  readonly model: string;
  /** Tokens of each forward pass, the first at position 0. */
  readonly steps: readonly (readonly number[])[];
  /** Further passes, each fed the likeliest token of the last one. */
  readonly greedy: number;
  /** Where dump.json and the arrays go. */
  readonly folder: string;
  /** Text of a pass before `steps`; for folders with a tokenizer. */
  readonly prompt?: string;
  readonly logitsOnly?: boolean;
  readonly onProgress?: (line: string) => void;
}

/** Throws InputError with the dumper's own line where the model, the tokens or the environment will not do. */
export async function dumpHuggingFace(dump: HuggingFaceDump): Promise<void> {
  const { onProgress = () => {} } = dump;
  const environment = await run(file("setup.sh"), [], () => {}, onProgress);
  const python = environment.at(-1);
  if (python === undefined) throw new InputError("hf: setup.sh named no python; run references/hf/setup.sh by hand");
  const parts = [file("dump.py"), "--model", dump.model, "--out", dump.folder, "--greedy", `${dump.greedy}`];
  for (const tokens of dump.steps) parts.push("--step", tokens.join(","));
  if (dump.prompt !== undefined) parts.push(`--prompt=${dump.prompt}`);
  if (dump.logitsOnly) parts.push("--logits-only");
  await run(python, parts, onProgress, () => {});
}

const file = (name: string) => fileURLToPath(new URL(`references/hf/${name}`, packageRoot()));

/** Runs a program and gives its lines of stdout. A failure is an InputError with its last line of stderr; an interrupt ends it. */
function run(
  program: string,
  parameters: readonly string[],
  onOutput: (line: string) => void,
  onError: (line: string) => void,
): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, parameters, { stdio: ["ignore", "pipe", "pipe"] });
    const interrupt = () => child.kill("SIGINT");
    process.once("SIGINT", interrupt);
    const output = lines(child.stdout, onOutput);
    const errors = lines(child.stderr, onError);
    child.on("error", (error) => {
      process.off("SIGINT", interrupt);
      reject(new InputError(`${program} cannot be run: ${error.message}`));
    });
    child.on("close", (status, signal) => {
      process.off("SIGINT", interrupt);
      if (status === 0) resolve(output);
      else reject(new InputError(errors.at(-1) ?? `hf: ${program} ended with ${signal ?? status} and said nothing`));
    });
  });
}

/** The lines of a stream that say something, as they come. */
function lines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): string[] {
  const found: string[] = [];
  let rest = "";
  stream.setEncoding("utf8");
  const take = (text: string) => {
    const line = text.trim();
    if (line === "") return;
    found.push(line);
    onLine(line);
  };
  stream.on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    parts.forEach(take);
  });
  stream.on("end", () => take(rest));
  return found;
}
