/** The loop of a run: the prompt in one step, then a token at a time. Knows no device: any runner of steps will do. */
import type { Recording } from "../trace/capture.ts";
import type { TraceRecord } from "../trace/record.ts";

/** What a step left behind. */
export interface StepOutcome {
  /** Logits of the last row. */
  readonly logits: ArrayLike<number>;
  /** What was recorded, in execution order; `dtype` is what the engine computed and stored in. */
  records(stepNumber: number): Iterable<Omit<TraceRecord, "seq">>;
}

/** Runs steps: the rows of `tokens` from position `posStart` on, after whatever its cache holds before them. */
export interface StepRunner {
  step(posStart: number, tokens: readonly number[], recording?: Recording): Promise<StepOutcome>;
}

export interface RunPlan {
  readonly prompt: readonly number[];
  /** Decode steps after the prefill, at most. */
  readonly steps: number;
  /** False: every step runs the whole sequence again from position 0. */
  readonly kvCache: boolean;
  readonly sample: (logits: ArrayLike<number>) => number;
  /** Tokens that end the run. */
  readonly stop: ReadonlySet<number>;
  readonly recording?: Recording;
}

export interface StepDone {
  readonly number: number;
  readonly posStart: number;
  readonly tokens: readonly number[];
  readonly outcome: StepOutcome;
  /** The token chosen from this step's logits. */
  readonly next: number;
}

/**
 * Runs the plan and yields each step when it is done. The following step is already under way while the caller works on what was
 * yielded, so that writing runs beside computing.
 */
export async function* runSteps(runner: StepRunner, plan: RunPlan): AsyncGenerator<StepDone> {
  const sequence = [...plan.prompt];
  const start = (posStart: number) => {
    const tokens = sequence.slice(posStart);
    const outcome = runner.step(posStart, tokens, plan.recording);
    outcome.catch(() => {}); // a caller that stops early leaves it; whoever awaits it still sees the error
    return { posStart, tokens, outcome };
  };
  let current = start(0);
  for (let number = 0; ; number++) {
    const { posStart, tokens } = current;
    const outcome = await current.outcome;
    const next = plan.sample(outcome.logits);
    const more = number < plan.steps && !plan.stop.has(next);
    sequence.push(next);
    if (more) current = start(plan.kvCache ? sequence.length - 1 : 0);
    yield { number, posStart, tokens, outcome, next };
    if (!more) return;
  }
}
