/** Runs a model and writes its trace. */
import { existsSync, realpathSync } from "node:fs";
import type { Fault } from "../engine/faults/fault.ts";
import { createSampler, GREEDY } from "../engine/sampler.ts";
import { runSteps } from "../engine/steps.ts";
import { weightPlans, weightRecords } from "../engine/weight-taps.ts";
import { recordPlan } from "../model/graph.ts";
import { fileDigest, type Model } from "../model/model.ts";
import { ropePlans, ropeRecords } from "../model/rope-records.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { type CaptureLevel, type Recording, tapFilter, tapMatcher } from "../trace/capture.ts";
import { elementsOf, shapeOf } from "../trace/dims.ts";
import { InputError, InterruptedError } from "../trace/errors.ts";
import type { Manifest, RecordPlan } from "../trace/record.ts";
import type { TraceFacts } from "../trace/trace-facts.ts";
import { TraceWriter, vocabularyOf } from "../trace/writer.ts";
import { type Engine, openEngine, sizesOf } from "./engine.ts";
import { modelFacts } from "./model-facts.ts";
import type { EngineOptions } from "./options.ts";
import { UNWATCHED, type Watch } from "./progress.ts";
import type { Prompt } from "./prompt.ts";

/** Values of one step that are held in memory before they are written. */
const FULL_STEP_BYTES = 1 << 30;

export interface TraceRun {
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  readonly prompt: Prompt;
  readonly steps: number;
  readonly output: string;
  readonly capture: CaptureLevel;
  readonly taps?: readonly string[];
  readonly engine: EngineOptions;
  readonly version: string;
  readonly watch?: Watch;
  /** Aborted: the step under way is finished and written, then the run ends with an InterruptedError, but for the last step's, which ends it. */
  readonly signal?: AbortSignal;
  /** Another runner than the options name: a reference that runs in this process, or an engine that makes several runs. */
  readonly open?: () => Promise<Engine>;
  /** What the steps are called in the progress. */
  readonly label?: string;
  /** Tokens of the decode steps, instead of the ones that would be chosen: to follow another run. */
  readonly follow?: readonly number[];
  readonly faults?: readonly Fault[];
}

/** Throws InputError where something cannot work; what was written until then stays as a readable partial file. */
export async function traceModel(run: TraceRun): Promise<TraceFacts> {
  const started = performance.now();
  const wants = tapFilter(run.taps);
  const recording: Recording = { level: run.capture, wants };
  checkOutput(run);
  checkFollowed(run);
  checkMemory(run, wants);
  const weightsWanted = weightPlans(run.model, wants);
  if (weightsWanted.length > 0 && run.engine.device === "oracle") {
    throw new InputError("weight:* taps are decoded by the GPU's kernels; leave them out with --device oracle");
  }
  const plans = plansOf(run, wants, weightsWanted);
  const idle = run.taps?.find((glob) => !plans.some(({ tap }) => tapMatcher([glob])(tap)));
  if (idle !== undefined) {
    throw new InputError(
      `no tap matches ${idle}; taps are named like embed, blk.0.attn_norm, logits, weight:output_norm.weight`,
    );
  }
  const [{ sha256 }, engine] = await Promise.all([
    fileDigest(run.model.file.path).then((digest) => ({ sha256: digest })),
    run.open?.() ??
      openEngine(
        run.model,
        run.engine,
        sizesOf(run.engine, run.prompt.tokens.length, run.steps),
        run.watch,
        run.faults,
      ),
  ]);
  try {
    const manifest = manifestOf(run, engine, sha256);
    const writer = new TraceWriter(run.output, manifest([run.prompt.tokens]), vocabularyOf(plans));
    try {
      return await writeSteps(run, engine, recording, writer, manifest, started);
    } finally {
      writer.close();
    }
  } finally {
    await engine.close();
  }
}

async function writeSteps(
  run: TraceRun,
  engine: Engine,
  recording: Recording,
  writer: TraceWriter,
  manifest: (tokens: readonly (readonly number[])[]) => Manifest,
  started: number,
): Promise<TraceFacts> {
  const { model, prompt, engine: options } = run;
  const keep = { sketch: run.capture !== "stats", values: run.capture === "full" };
  const progress = (run.watch ?? UNWATCHED)(run.label ?? "tracing", "steps");
  const tokens: (readonly number[])[] = [];
  const generated: number[] = [];
  try {
    if (engine.gpu !== undefined) {
      for await (const record of weightRecords(engine.gpu.gpu, model, engine.gpu.weights, recording, run.faults))
        writer.write(record);
    }
    progress.update(0, run.steps + 1);
    const greedy = createSampler(GREEDY);
    const sample = (logits: ArrayLike<number>) => run.follow?.[tokens.length] ?? greedy(logits);
    const plan = {
      prompt: prompt.tokens,
      steps: run.steps,
      kvCache: options.kvCache,
      sample,
      stop: new Set<number>(),
      recording,
    };
    for await (const step of runSteps(engine.runner, plan)) {
      for (const record of ropeRecords(model, step.number, step.posStart, step.tokens.length, keep)) {
        if (recording.wants(record.tap)) writer.write(record);
      }
      for (const record of step.outcome.records(step.number)) writer.write(record);
      writer.flush();
      tokens.push(step.tokens);
      generated.push(step.next);
      progress.update(tokens.length, run.steps + 1);
      if (run.signal?.aborted && tokens.length <= run.steps) {
        throw new InterruptedError(
          `interrupted after ${tokens.length} of ${run.steps + 1} steps; ${writer.partialPath} holds ${writer.count} records and can be read`,
        );
      }
    }
  } finally {
    progress.stop();
  }
  writer.finish(manifest(tokens));
  return {
    file: run.output,
    records: writer.count,
    steps: tokens.length,
    prompt: prompt.tokens,
    generated,
    device: engine.device,
    elapsedMs: performance.now() - started,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  };
}

/** Every record's names, before any data: the prefill and one decode step stand for all steps. */
function plansOf(run: TraceRun, wants: (tap: string) => boolean, weights: readonly RecordPlan[]): RecordPlan[] {
  const { model, prompt, engine } = run;
  const sizes = model.axes(prompt.tokens.length, prompt.tokens.length);
  const dtype = engine.device === "oracle" && run.open === undefined ? "f64" : engine.dtype;
  const steps = [
    ...ropePlans(model, 0, 0, prompt.tokens.length),
    ...model.graph.map((node) => recordPlan(node, 0, 0, sizes, dtype)),
  ];
  return [...weights, ...steps.filter((plan) => wants(plan.tap))];
}

/** A trace that took the model's name would be the end of the model. */
function checkOutput({ output, model }: TraceRun): void {
  const files = [output, `${output}.partial`].filter((file) => existsSync(file));
  if (files.some((file) => realpathSync(file) === realpathSync(model.file.path))) {
    throw new InputError(`${output}: is the model itself; choose another place with -o`);
  }
}

function checkFollowed({ model, follow = [] }: TraceRun): void {
  const { vocab } = model.parameters;
  const outside = follow.find((id) => id >= vocab);
  if (outside !== undefined) {
    throw new InputError(
      `token id ${outside} of a decode step is outside the vocabulary of ${vocab}; ids run from 0 to ${vocab - 1}`,
    );
  }
}

function checkMemory(run: TraceRun, wants: (tap: string) => boolean): void {
  if (run.capture !== "full") return;
  const { model, prompt } = run;
  const sizes = model.axes(prompt.tokens.length, prompt.tokens.length);
  const bytes = model.graph
    .filter((node) => wants(node.op.tap))
    .reduce((sum, node) => sum + 4 * elementsOf(shapeOf(node.op.dims, sizes)), 0);
  if (bytes > FULL_STEP_BYTES) {
    throw new InputError(
      `--capture full of ${prompt.tokens.length} tokens holds ${(bytes / 2 ** 30).toFixed(1)} GiB at once, at most 1 can be held; choose taps with --taps, or --capture sketch`,
    );
  }
}

function manifestOf(
  run: TraceRun,
  engine: Engine,
  sha256: string,
): (tokens: readonly (readonly number[])[]) => Manifest {
  const { model, tokenizer, prompt } = run;
  const created = new Date().toISOString();
  return (tokens) => ({
    producer: {
      name: engine.producer?.name ?? "faultline",
      version: engine.producer?.version ?? run.version,
      device: engine.device,
      dtype: engine.dtype,
      settings: {
        capture: run.capture,
        taps: run.taps?.join(",") ?? null,
        kv_cache: run.engine.kvCache,
        layers: model.layers.length === model.parameters.layers ? null : model.layers.join(","),
        ...engine.settings,
      },
    },
    model: modelFacts(model, sha256),
    prompt: prompt.text,
    tokens: tokens.map((step) => [...step]),
    pieces: tokens.map((step) => step.map((id) => tokenizer.piece(id))),
    faults: (run.faults ?? []).map((fault) => fault.text),
    created,
  });
}
