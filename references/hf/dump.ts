/** Runs HuggingFace Transformers on a model and leaves a dump folder. The environment is made first where it is missing. */
import { runProgram } from "../program.ts";
import { hfFile, hfPython } from "./environment.ts";

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
  const python = await hfPython(dump.onNote);
  const parts = [hfFile("dump.py"), "--model", dump.model, "--out", dump.folder, "--greedy", `${dump.greedy}`];
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
