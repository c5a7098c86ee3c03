/** Runs a model under conditions that must not matter, and judges the hashes: `determinism`, and what `bisect` asks first. */
import {
  CHECKS,
  type CheckName,
  type Condition,
  changedRange,
  type Difference,
  type Fingerprint,
  type Judgement,
  judgeRuns,
  type RunPrints,
} from "../compare/determinism.ts";
import type { Executor } from "../engine/executor.ts";
import type { Fault } from "../engine/faults/fault.ts";
import type { PoisonPattern } from "../engine/poison.ts";
import { argmax } from "../engine/sampler.ts";
import { runSteps } from "../engine/steps.ts";
import type { Model } from "../model/model.ts";
import type { DeterminismFacts, Where } from "../report/determinism.ts";
import type { CaptureLevel, Recording } from "../trace/capture.ts";
import { elementsOf, rowsAndColumns, shapeOf } from "../trace/dims.ts";
import { InputError } from "../trace/errors.ts";
import { hashOf } from "../trace/sketch.ts";
import { openEngine, sizesOf } from "./engine.ts";
import type { EngineOptions } from "./options.ts";
import { progressBar } from "./progress.ts";

/** Values of one step that are held in memory at once. */
const FULL_STEP_BYTES = 1 << 30;
/** Runs of a condition where something differs: a race would have to hit the same elements every time to pass as memory. */
const CONTROLS = 3;

export interface DeterminismRun {
  readonly model: Model;
  readonly tokens: readonly number[];
  /** Decode steps after the prompt. */
  readonly steps: number;
  readonly engine: EngineOptions;
  readonly faults?: readonly Fault[];
  /** Runs that are repeated, at least 2. */
  readonly runs: number;
  /** Only a run untraced, a repeat at level full, and NaN in memory, on one device: what `bisect` does first. More where something differs. */
  readonly quick?: boolean;
  readonly quiet?: boolean;
  /** Bytes of values of one step that level full may hold; smaller ones are for tests. */
  readonly heldBytes?: number;
}

/** Throws InputError where there is no GPU engine to check. */
export async function checkDeterminism(run: DeterminismRun): Promise<DeterminismFacts> {
  const started = performance.now();
  if (run.engine.device === "oracle") {
    throw new InputError("--device oracle: plain loops on the CPU have no memory or threads to check; leave it out");
  }
  const names: CheckName[] = run.quick
    ? ["untraced", "full", "nan"]
    : ["fresh", "repeat", "untraced", "sketch", "full", "nan", "noise", "last"];
  const left = tooLarge(run);
  const checks = names.filter((name) => left === null || name !== "full");
  if (!checks.includes("repeat") && !checks.includes("full")) checks.push("repeat");
  const total = checks.length + run.runs - 1;
  const bar = progressBar("checking", "runs", run.quiet);
  let done = 0;
  const count = () => bar.update(++done, Math.max(total, done));
  try {
    const conditions: Condition[] = [];
    let follow: readonly number[] | undefined;
    if (checks.includes("fresh")) {
      const fresh = await onDevice(run, count, async (runner) => {
        const prints = await runner.run("fresh");
        follow = runner.follow;
        return prints;
      });
      conditions.push({ name: "fresh", runs: [fresh.result] });
    }
    const { result, device } = await onDevice(
      run,
      count,
      async (runner) => {
        const base = await runner.run("repeat");
        for (const name of checks.filter((each) => each !== "fresh")) {
          conditions.push({ name, runs: await runner.repeat(name, name === "repeat" ? run.runs - 1 : 1) });
        }
        return settle(runner, base, conditions, run.runs);
      },
      follow,
    );
    const { model, tokens, steps, faults = [] } = run;
    return {
      ...result,
      ...{ model: model.file.name, device, dtype: run.engine.dtype, tokens, steps },
      faults: faults.map((fault) => fault.text),
      leftOut: left === null ? [] : [{ name: "full", reason: left }],
      elapsedMs: performance.now() - started,
    };
  } finally {
    bar.stop();
  }
}

/** Judges; where something differs, runs again what tells a race from memory from the trace, and finds the elements. */
async function settle(
  runner: Runner,
  base: RunPrints,
  conditions: Condition[],
  repeats: number,
): Promise<{ judgement: Judgement; where: Where | null }> {
  const judgement = judgeRuns(base, conditions);
  if (judgement.first === null) return { judgement, where: null };
  const differing = judgement.checks.filter(({ first }) => first !== null).map(({ name }) => name);
  const controlled = differing.filter((name) => CHECKS[name].kind === "observer");
  const settled = new Map(conditions.map(({ name, runs }) => [name, runs]));
  for (const name of ["repeat", "nan", "noise", ...controlled] as const) {
    const before = settled.get(name) ?? [];
    const wanted = name === "repeat" ? repeats - 1 : CONTROLS;
    settled.set(name, [...before, ...(await runner.repeat(name, wanted - before.length))]);
  }
  const again = judgeRuns(
    base,
    [...settled].map(([name, runs]) => ({ name, runs })),
  );
  return { judgement: again, where: await whereOf(runner, again) };
}

/** The elements of the first unstable op that two runs make differently: over other memory, or (a race) over the same. */
async function whereOf(runner: Runner, { cause, first }: Judgement): Promise<Where | null> {
  if (first === null || (cause !== "race" && cause !== "memory")) return null;
  const one = await runner.values("nan", first);
  const other = await runner.values(cause === "race" ? "nan" : "noise", first);
  const { rows, columns } = rowsAndColumns(one.shape);
  const range = changedRange(one.values, other.values, columns);
  return range === null ? null : { ...range, shape: [rows, columns], dims: one.dims };
}

async function onDevice<T>(
  run: DeterminismRun,
  count: () => void,
  body: (runner: Runner) => Promise<T>,
  follow?: readonly number[],
): Promise<{ result: T; device: string }> {
  const sizes = sizesOf(run.engine, run.tokens.length, run.steps);
  const engine = await openEngine(run.model, run.engine, sizes, run.quiet, run.faults);
  try {
    if (engine.gpu === undefined) throw new Error("an engine without a GPU");
    return { result: await body(new Runner(run, engine.gpu.executor, count, follow)), device: engine.device };
  } finally {
    await engine.close();
  }
}

const all = () => true;
/** What is recorded under each condition, and what memory is filled with. */
const SETTINGS: Readonly<Record<CheckName, { level?: CaptureLevel; fill?: PoisonPattern }>> = {
  repeat: { level: "stats" },
  fresh: { level: "stats" },
  nan: { level: "stats", fill: "nan" },
  noise: { level: "stats", fill: "noise" },
  last: { level: "stats" },
  untraced: {},
  sketch: { level: "sketch" },
  full: { level: "full" },
};

/** Runs of the same tokens on one executor; the first run chooses those of the decode steps. */
class Runner {
  follow: readonly number[] | undefined;
  readonly #run: DeterminismRun;
  readonly #executor: Executor;
  readonly #count: () => void;

  constructor(run: DeterminismRun, executor: Executor, count: () => void, follow: readonly number[] | undefined) {
    this.#run = run;
    this.#executor = executor;
    this.#count = count;
    this.follow = follow;
  }

  async run(name: CheckName): Promise<RunPrints> {
    const { level, fill } = SETTINGS[name];
    if (name === "last") await this.#otherTokens();
    const ops: Fingerprint[] = [];
    const logits: Fingerprint[] = [];
    const { op: head } = this.#run.model.graph.at(-1) ?? {};
    const recording = level === undefined ? undefined : { level, wants: all };
    for await (const { number, outcome } of this.#steps(fill ?? null, recording)) {
      for (const { tap, op, hash } of outcome.records(number)) ops.push({ step: number, tap, op, hash });
      const { logits: row } = outcome;
      // A copy of numbers might change the bits of a NaN.
      const hash = hashOf(row instanceof Float32Array ? row : Float32Array.from(row));
      logits.push({ step: number, tap: head?.tap ?? "", op: head?.kind ?? "", hash });
    }
    this.#count();
    return { ops, logits };
  }

  async repeat(name: CheckName, times: number): Promise<RunPrints[]> {
    const runs: RunPrints[] = [];
    for (let i = 0; i < times; i++) runs.push(await this.run(name));
    return runs;
  }

  /** The values of one tap in one step, over filled memory. */
  async values(fill: PoisonPattern, { step, tap }: Difference) {
    const recording: Recording = { level: "full", wants: (each) => each === tap };
    let found: { values: Float32Array; shape: readonly number[]; dims: string } | undefined;
    // To the end: the next step is under way before this one is seen.
    for await (const { number, outcome } of this.#steps(fill, recording)) {
      if (number !== step) continue;
      for (const { values, shape, dims } of outcome.records(number))
        if (values !== null) found = { values, shape, dims };
    }
    if (found === undefined) throw new Error(`${tap} of step ${step} was not recorded`);
    return found;
  }

  async *#steps(fill: PoisonPattern | null, recording: Recording | undefined, tokens = this.#run.tokens) {
    const { steps, engine } = this.#run;
    const chosen: number[] = [];
    const sample = (logits: ArrayLike<number>) => {
      const next = this.follow?.[chosen.length] ?? argmax(logits);
      chosen.push(next);
      return next;
    };
    const plan = { prompt: tokens, steps, kvCache: engine.kvCache, sample, stop: new Set<number>() };
    await this.#executor.poison(fill);
    try {
      yield* runSteps(this.#executor, recording === undefined ? plan : { ...plan, recording });
    } finally {
      await this.#executor.poison(null);
    }
    this.follow ??= chosen;
  }

  /** Leaves other values in all memory. */
  async #otherTokens(): Promise<void> {
    const { vocab } = this.#run.model.parameters;
    const tokens = this.#run.tokens.map((token) => (token + 1) % vocab);
    for await (const _ of this.#steps(null, undefined, tokens));
  }
}

/** Why level full is left out, or null. */
function tooLarge({ model, tokens, steps, engine, heldBytes = FULL_STEP_BYTES }: DeterminismRun): string | null {
  const rows = sizesOf(engine, tokens.length, steps).longestStep;
  const sizes = model.axes(rows, rows);
  const bytes = model.graph.reduce((sum, node) => sum + 4 * elementsOf(shapeOf(node.op.dims, sizes)), 0);
  const mebibytes = (count: number) => Number((count / 2 ** 20).toFixed(1));
  return bytes <= heldBytes
    ? null
    : `values of a step of ${rows} tokens take ${mebibytes(bytes)} MiB, at most ${mebibytes(heldBytes)} are held`;
}
