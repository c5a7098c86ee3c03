/** `faultline kernels MODEL --against-kernels DIR`: two versions of the kernels on a whole model. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compareVersions } from "../compare/kernels/model-versions.ts";
import { pairedRatio } from "../compare/kernels/paired.ts";
import { Gpu } from "../engine/device.ts";
import { GpuTimeoutError } from "../engine/errors.ts";
import { Executor } from "../engine/executor.ts";
import type { PairedTimes } from "../engine/kernel-pair.ts";
import type { KernelName, SourceOf } from "../engine/kernels.ts";
import { usesSubgroups } from "../engine/kernels.ts";
import { timeRuns } from "../engine/model-pair.ts";
import { argmax } from "../engine/sampler.ts";
import { GpuWeights } from "../engine/weights.ts";
import { type Model, openModel } from "../model/model.ts";
import type { OpKind } from "../model/ops.ts";
import { packageRoot } from "../model/package-root.ts";
import type { ChosenToken, KernelsModelFacts, TimedPart } from "../report/kernels-model.ts";
import { type Engine, OWN_SETTINGS } from "../run/engine.ts";
import type { DeviceOption, PromptOptions } from "../run/options.ts";
import { type Prompt, readPrompt } from "../run/prompt.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { EMBEDDED_MODEL } from "./embedded.ts";
import { inTemporaryFolder } from "./folders.ts";
import { changedKernels, kernelsIn, misfit } from "./kernel-folders.ts";
import { endlessStep, modelLimit } from "./kernel-limits.ts";
import type { OutputOptions } from "./options.ts";
import { progressBar } from "./progress.ts";
import { traced } from "./traced.ts";

export interface KernelsModelOptions extends OutputOptions, PromptOptions {
  readonly device: Exclude<DeviceOption, "oracle">;
  readonly time: boolean;
  readonly steps?: number;
  readonly kernels?: string;
  readonly againstKernels?: string;
  /** Seconds that a submission may take. */
  readonly limit?: number;
}

const DEFAULT = { prompt: "In the beginning", steps: 4 };
/** The model that comes with the package. */
const EMBEDDED = "embedded";
/** Chance that one of both ratios lies outside its interval. */
const LEVEL = 0.05;
/** What a folder's kernels may do that ours do not: sums in any order, blocks multiplied as they are. Angles are given. */
const ANY_SETTINGS = { inputs: "stored", between: "f32", rope_table: OWN_SETTINGS.rope_table };

/** Kinds of op that a kernel computes, or feeds. Rounding to half takes no part in f32; statistics are always this program's own. */
const TOUCHES: Readonly<Record<KernelName, readonly OpKind[]>> = {
  ...{ linear: ["linear"], linear_subgroup: ["linear"], get_rows: ["embed"], rms_norm: ["rms_norm"], rope: ["rope"] },
  ...{ attn_scores: ["attn_scores"], causal_softmax: ["causal_softmax"], attn_ctx: ["attn_ctx"] },
  ...{ swiglu: ["swiglu"], add: ["add"], kv_store: ["attn_scores", "attn_ctx"] },
  ...{ round_half: [], poison: [], row_statistics: [] },
};

/** A version: where its kernels come from; null for this program's own. */
interface Version {
  readonly folder: string | null;
  readonly sourceOf: SourceOf;
}

/** Runs both versions and judges. Throws InputError in one line where a folder, a kernel or the model cannot be used, DeviceError where the device fails. */
export async function kernelsOfModel(
  path: string,
  options: KernelsModelOptions,
  version: string,
): Promise<KernelsModelFacts> {
  const { againstKernels } = options;
  if (againstKernels === undefined) {
    throw new InputError(
      `${path}: a model is run by two versions of the kernels; give the other with --against-kernels`,
    );
  }
  const own: Version = versionIn(options.kernels);
  const other: Version = versionIn(againstKernels);
  const model = await openModel(
    path === EMBEDDED && !existsSync(path) ? fileURLToPath(new URL(EMBEDDED_MODEL, packageRoot())) : path,
  );
  try {
    return await inTemporaryFolder("kernels", (folder) =>
      versionsRun({ model, own, other, options, version, folder, against: againstKernels }),
    );
  } finally {
    model.file.close();
  }
}

const versionIn = (folder: string | undefined): Version =>
  folder === undefined ? { folder: null, sourceOf: () => null } : { folder, sourceOf: kernelsIn(folder) };

interface Run {
  readonly model: Model;
  readonly own: Version;
  readonly other: Version;
  readonly against: string;
  readonly options: KernelsModelOptions;
  readonly version: string;
  /** For traces. */
  readonly folder: string;
}

async function versionsRun(run: Run): Promise<KernelsModelFacts> {
  const { model, own, other, options, against } = run;
  const started = performance.now();
  const steps = options.steps ?? DEFAULT.steps;
  const isAsked = [options.prompt, options.chat, options.tokens].some((each) => each !== undefined);
  const { tokenizer, prompt } = readPrompt(model, isAsked ? options : { ...options, prompt: DEFAULT.prompt }, steps);
  const changed = changedKernels(own.sourceOf, other.sourceOf);
  const gpu = await Gpu.open(options.device, options.limit ?? modelLimit(model, prompt.tokens.length));
  try {
    const products = [productOf(gpu, own), productOf(gpu, other)] as const;
    const weights = await GpuWeights.load(gpu, model.file, model.weights.keys());
    const sizes = { capacity: prompt.tokens.length + steps, maxTokens: prompt.tokens.length };
    const executorOf = ({ sourceOf }: Version) => new Executor(gpu, model, weights, { ...sizes, sourceOf });
    const executors = { own: executorOf(own), other: executorOf(other) };
    const device = gpu.adapter.description;
    const tracedBy = (version: Version, name: "own" | "other", follow?: readonly number[]) =>
      versionTraced({ ...run, prompt, tokenizer, steps, gpu, name, executor: executors[name] }, version, follow);
    const first = await tracedBy(own, "own");
    const second = await tracedBy(other, "other", first.generated);
    const traces = { own: await Trace.open(first.file), other: await Trace.open(second.file) };
    try {
      const touched = new Set(changed.flatMap((kernel) => TOUCHES[kernel]));
      const judged = await judgedTraces(model, traces, touched, options.quiet);
      const chosen = {
        own: first.generated.map((id) => ({ id, text: tokenizer.piece(id) })),
        other: (await choices(traces.other, model)).map((id): ChosenToken => ({ id, text: tokenizer.piece(id) })),
      };
      const decode = first.generated.slice(0, steps);
      const times = options.time ? await timed(executors, { prompt: prompt.tokens, decode }, options.quiet) : null;
      return {
        ...judged,
        ...{ model: model.file.name, device, folders: { own: own.folder, other: against } },
        ...{ changed, notRun: changed.filter((kernel) => !isRun(kernel, products)) },
        products: { own: products[0], other: products[1] },
        ...{ prompt: prompt.tokens, steps, chosen, times, elapsedMs: performance.now() - started },
      };
    } finally {
      await traces.own.close();
      await traces.other.close();
    }
  } finally {
    gpu.close();
  }
}

/** The kernel that matrices go through. */
const productOf = (gpu: Gpu, { sourceOf }: Version): KernelName =>
  usesSubgroups(gpu, sourceOf) ? "linear_subgroup" : "linear";

/** True for a kernel that ops of a run in f32 go through on this adapter, in either version. */
const isRun = (kernel: KernelName, products: readonly KernelName[]): boolean =>
  TOUCHES[kernel].includes("linear") ? products.includes(kernel) : TOUCHES[kernel].length > 0;

interface TracedRun extends Run {
  readonly prompt: Prompt;
  readonly tokenizer: ReturnType<typeof readPrompt>["tokenizer"];
  readonly steps: number;
  readonly gpu: Gpu;
  readonly name: "own" | "other";
  readonly executor: Executor;
}

/** A trace of one version at level full, over the tokens of another run where these are given. */
async function versionTraced(run: TracedRun, { folder, sourceOf }: Version, follow: readonly number[] | undefined) {
  const { model, prompt, tokenizer, steps, gpu, name, executor, options, version } = run;
  const engine: Engine = {
    ...{ runner: executor, device: gpu.adapter.description, dtype: "f32", close: () => {} },
    settings: folder === null ? OWN_SETTINGS : ANY_SETTINGS,
    ...(folder === null ? {} : { producer: { name: "kernels", version: folder } }),
  };
  try {
    return await traced({
      ...{ model, prompt, tokenizer, steps, version, capture: "full", label: name === "own" ? "one" : "the other" },
      ...{ output: join(run.folder, `${name}.arrow`), open: async () => engine },
      engine: { device: options.device, dtype: "f32", kvCache: true },
      ...(options.quiet === undefined ? {} : { quiet: options.quiet }),
      ...(follow === undefined ? {} : { follow }),
    });
  } catch (error) {
    if (folder !== null && error instanceof GpuTimeoutError)
      throw endlessStep(error, folder, sourceOf, model.file.name);
    // A device that is gone refuses everything; no kernel is to blame.
    gpu.check();
    throw folder === null ? error : misfit(error, folder, model.file.name, "kernels/");
  }
}

async function judgedTraces(
  model: Model,
  traces: { readonly own: Trace; readonly other: Trace },
  touched: ReadonlySet<OpKind>,
  quiet: boolean | undefined,
) {
  const bar = progressBar("judging", "ops", quiet);
  try {
    return await compareVersions(model, { ...traces, touched, progress: (done, total) => bar.update(done, total) });
  } finally {
    bar.stop();
  }
}

/** The likeliest token after each step. */
async function choices(trace: Trace, { graph, parameters }: Model): Promise<number[]> {
  const head = graph.at(-1)?.op.tap;
  const found: number[] = [];
  for (const [index, { tap }] of trace.records.entries()) {
    if (tap === head) found.push(argmax((await trace.values(index)).subarray(-parameters.vocab)));
  }
  return found;
}

async function timed(
  executors: { readonly own: Executor; readonly other: Executor },
  run: { readonly prompt: readonly number[]; readonly decode: readonly number[] },
  quiet: boolean | undefined,
): Promise<KernelsModelFacts["times"]> {
  const bar = progressBar("timing", "pairs", quiet);
  try {
    const { prefill, decode } = await timeRuns(executors, run, (done, total) => bar.update(done, total));
    return { prefill: part(prefill), decode: decode.own.length === 0 ? null : part(decode) };
  } finally {
    bar.stop();
  }
}

const median = (values: readonly number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};
const part = ({ own, other }: PairedTimes): TimedPart => ({
  ...{ own: median(own), other: median(other), ratio: pairedRatio(own, other, LEVEL / 2) },
});
