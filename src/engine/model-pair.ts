/** A model on two executors timed in one run, alternately: what else the machine does meets both. */
import type { Executor } from "./executor.ts";
import type { PairedTimes } from "./kernel-pair.ts";

/** What is run: a prefill of `prompt`, then a step for each token of `decode`. */
export interface TimedRun {
  readonly prompt: readonly number[];
  readonly decode: readonly number[];
}

export interface RunTimes {
  /** Milliseconds of the prefill. */
  readonly prefill: PairedTimes;
  /** Milliseconds of a decode step, mean of a run's; empty without decode steps. */
  readonly decode: PairedTimes;
}

/** Least and most pairs: of fewer than 7 no two intervals hold with 95 % together. */
const PAIRS = { least: 7, most: 21 } as const;
/** No pair is begun after this where there are enough. */
const BUDGET_MS = 20_000;

/** Times pairs of runs, each version first in turn; nothing is recorded. Throws DeviceError. */
export async function timeRuns(
  versions: { readonly own: Executor; readonly other: Executor },
  { prompt, decode }: TimedRun,
  progress: (done: number, total: number) => void,
): Promise<RunTimes> {
  const prefills = { own: [] as number[], other: [] as number[] };
  const decodes = { own: [] as number[], other: [] as number[] };
  const once = async (executor: Executor) => {
    const started = performance.now();
    await executor.step(0, prompt);
    const between = performance.now();
    for (const [i, token] of decode.entries()) await executor.step(prompt.length + i, [token]);
    return { prefill: between - started, decode: (performance.now() - between) / decode.length };
  };
  for (const executor of [versions.own, versions.other]) await once(executor);
  const started = performance.now();
  for (let pair = 0; pair < PAIRS.most; pair++) {
    if (pair >= PAIRS.least && performance.now() - started > BUDGET_MS) break;
    for (const name of pair % 2 === 0 ? (["own", "other"] as const) : (["other", "own"] as const)) {
      const times = await once(versions[name]);
      prefills[name].push(times.prefill);
      if (decode.length > 0) decodes[name].push(times.decode);
    }
    progress(pair + 1, PAIRS.most);
  }
  return { prefill: prefills, decode: decodes };
}
