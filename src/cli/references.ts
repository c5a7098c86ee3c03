/** The three references, behind one function: a model and tokens in, a trace out. */
import { dumpHuggingFace } from "../../references/hf/dump.ts";
import { readDumpFolder } from "../../references/import/dump-folder.ts";
import { dumpLlamaCpp } from "../../references/llamacpp/dump.ts";
import { OnnxRunner, onnxRuntimeVersion } from "../../references/onnx/runner.ts";
import type { Model } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import type { Engine } from "../run/engine.ts";
import type { Prompt } from "../run/prompt.ts";
import type { CaptureLevel } from "../trace/capture.ts";
import { InputError } from "../trace/errors.ts";
import type { TraceFacts } from "../trace/trace-facts.ts";
import { inTemporaryFolder } from "./folders.ts";
import { importTrace } from "./import-trace.ts";
import { note, progressBar } from "./progress.ts";
import { traced } from "./traced.ts";

export const REFERENCES = ["llamacpp", "hf", "onnx"] as const;
export type ReferenceName = (typeof REFERENCES)[number];

export interface ReferenceOptions {
  /** llamacpp: weights decoded to f32 first, so that no activation is quantised. */
  readonly exact: boolean;
  /** llamacpp: the decoded weights as taps too. */
  readonly weights: boolean;
  readonly threads: number;
  /** llamacpp: a llama.cpp built by the user, instead of the pinned one. */
  readonly llamaCpp?: string;
}

export interface ReferenceRun {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly prompt: Prompt;
  /** Decode steps, each fed the likeliest token. */
  readonly steps: number;
  /** Tokens of the decode steps, instead of the likeliest: to follow another run. Then as many as `steps`. */
  readonly follow?: readonly number[];
  readonly output: string;
  readonly capture: CaptureLevel;
  readonly taps?: readonly string[];
  readonly version: string;
  readonly quiet?: boolean;
  /** Where the dump is kept; else it is removed once it is imported. */
  readonly keepDump?: string;
}

/** Runs a reference and writes its trace. Throws InputError saying what to install where its tools are missing. */
export async function traceReference(
  name: ReferenceName,
  run: ReferenceRun,
  options: ReferenceOptions,
): Promise<TraceFacts> {
  if (name === "onnx") return traceOnnx(run);
  const into = (folder: string) => dumpAndImport(name, folder, run, options);
  return run.keepDump === undefined ? inTemporaryFolder("dump", into) : into(run.keepDump);
}

async function dumpAndImport(
  name: "llamacpp" | "hf",
  folder: string,
  run: ReferenceRun,
  options: ReferenceOptions,
): Promise<TraceFacts> {
  const bar = progressBar(name, name === "hf" ? "passes" : "tensors", run.quiet);
  try {
    await dump(name, folder, run, options, (done, total) => bar.update(done, total));
    bar.stop();
    const { model, prompt, output, capture, taps, quiet } = run;
    return await importTrace({
      ...{ source: readDumpFolder(folder), model, prompt: prompt.text, output, capture },
      ...(taps === undefined ? {} : { taps }),
      ...(quiet === undefined ? {} : { quiet }),
    });
  } finally {
    bar.stop();
  }
}

export interface FolderRun {
  /** A HuggingFace checkpoint: config.json and safetensors. */
  readonly folder: string;
  /** Token ids of the prompt, or a text for the folder's own tokenizer. */
  readonly prompt: { readonly tokens: readonly number[] } | { readonly text: string };
  readonly steps: number;
  readonly output: string;
  readonly capture: CaptureLevel;
  readonly taps?: readonly string[];
  readonly quiet?: boolean;
}

/** Transformers on a checkpoint folder, without a GGUF: what a converted file can be held against. */
export function traceHuggingFaceFolder(run: FolderRun): Promise<TraceFacts> {
  return inTemporaryFolder("dump", (dumped) => dumpAndImportFolder(run, dumped));
}

async function dumpAndImportFolder(run: FolderRun, dumped: string): Promise<TraceFacts> {
  const { folder, prompt, steps, output, capture, taps, quiet } = run;
  const bar = progressBar("hf", "passes", quiet);
  try {
    await dumpHuggingFace({
      ...{ model: folder, greedy: steps, folder: dumped, onProgress: (done, total) => bar.update(done, total) },
      ...("tokens" in prompt ? { steps: [prompt.tokens] } : { steps: [], prompt: prompt.text }),
      ...(quiet ? {} : { onNote: note }),
    });
    bar.stop();
    return await importTrace({
      ...{ source: readDumpFolder(dumped), model: null, output, capture },
      ...(taps === undefined ? {} : { taps }),
      ...(quiet === undefined ? {} : { quiet }),
    });
  } finally {
    bar.stop();
  }
}

async function dump(
  name: "llamacpp" | "hf",
  folder: string,
  run: ReferenceRun,
  options: ReferenceOptions,
  onProgress: (done: number, total: number) => void,
): Promise<void> {
  const { model, prompt, follow, taps } = run;
  const common = {
    model: model.file.path,
    steps: [prompt.tokens, ...(follow ?? []).map((id) => [id])],
    greedy: follow === undefined ? run.steps : 0,
    logitsOnly: taps?.every((glob) => glob === "logits") ?? false,
    ...{ folder, onProgress },
  };
  if (name === "hf") return dumpHuggingFace(common);
  const { exact, weights, threads, llamaCpp } = options;
  return dumpLlamaCpp({ ...common, exact, weights, threads, ...(llamaCpp === undefined ? {} : { llamaCpp }) });
}

function traceOnnx(run: ReferenceRun): Promise<TraceFacts> {
  if (run.keepDump !== undefined)
    throw new InputError("--keep-dump: ONNX Runtime runs in this process and makes no dump");
  const { model } = run;
  const open = async (): Promise<Engine> => {
    const [runner, version] = [await OnnxRunner.create(model), await onnxRuntimeVersion()];
    return {
      ...{ runner, device: "ONNX Runtime (CPU)", dtype: "f32", producer: { name: "onnxruntime", version } },
      settings: { graph_optimization: "disabled" },
      close: () => runner.close(),
    };
  };
  // Rotary tables are ours and are not traced as if they were the reference's.
  const taps = run.taps ?? ["!rope.*"];
  return traced({
    ...run,
    taps,
    engine: { device: "oracle", dtype: "f32", kvCache: true },
    open,
    label: "reference",
  });
}
