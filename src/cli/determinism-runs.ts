/** Runs of the same tokens on one executor, under the condition that a check asks for. */
import type { CheckName, Difference, Fingerprint, RunPrints } from "../compare/determinism.ts";
import type { Executor } from "../engine/executor.ts";
import type { PoisonPattern } from "../engine/poison.ts";
import { argmax } from "../engine/sampler.ts";
import { runSteps } from "../engine/steps.ts";
import type { Model } from "../model/model.ts";
import type { CaptureLevel, Recording } from "../trace/capture.ts";
import { hashOf } from "../trace/sketch.ts";

/** What is run. */
export interface RepeatedRun {
  readonly model: Model;
  readonly tokens: readonly number[];
  /** Decode steps after the prompt. */
  readonly steps: number;
  readonly engine: { readonly kvCache: boolean };
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

/** The first run chooses the tokens of the decode steps, unless `follow` names them. */
export class RepeatedRuns {
  follow: readonly number[] | undefined;
  readonly #run: RepeatedRun;
  readonly #executor: Executor;
  readonly #count: () => void;

  constructor(run: RepeatedRun, executor: Executor, count: () => void, follow: readonly number[] | undefined) {
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
