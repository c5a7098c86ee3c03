/** Runs HuggingFace Transformers on a model and leaves a dump folder. The environment is made first where it is missing. */
import { fileURLToPath } from "node:url";
import { packageRoot } from "../../src/model/package-root.ts";
import { InputError } from "../../src/trace/errors.ts";
import { runProgram } from "../program.ts";

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
  readonly onProgress?: (done: number, total: number) => void;
  /** What is being installed, where something is. */
  readonly onNote?: (line: string) => void;
}

/** Throws InputError with the dumper's own line where the model, the tokens or the environment will not do. */
export async function dumpHuggingFace(dump: HuggingFaceDump): Promise<void> {
  const { onNote } = dump;
  const environment = await runProgram("hf", "bash", [file("setup.sh")], onNote === undefined ? {} : { onNote });
  const python = environment.at(-1);
  if (python === undefined) throw new InputError("hf: setup.sh named no python; run references/hf/setup.sh by hand");
  const parts = [file("dump.py"), "--model", dump.model, "--out", dump.folder, "--greedy", `${dump.greedy}`];
  for (const tokens of dump.steps) parts.push("--step", tokens.join(","));
  if (dump.prompt !== undefined) parts.push(`--prompt=${dump.prompt}`);
  if (dump.logitsOnly) parts.push("--logits-only");
  await runProgram("hf", python, parts, {
    onLine: (line) => {
      const [, done, total] = /^pass (\d+) of (\d+)$/.exec(line) ?? [];
      if (done !== undefined) dump.onProgress?.(Number(done), Number(total));
    },
  });
}

const file = (name: string) => fileURLToPath(new URL(`references/hf/${name}`, packageRoot()));
