/** Two versions of a kernel timed in one run, alternately: what else the machine does meets both. */
import type { Gpu } from "./device.ts";
import { labelOf, prepareKernel, type SingleKernel } from "./kernel-run.ts";
import type { Pipelines } from "./kernels.ts";

/** Milliseconds of one call, in the order in which they were taken. */
export interface PairedTimes {
  readonly own: readonly number[];
  readonly other: readonly number[];
}

/** A submission lasts about this long: long beside what submitting costs. */
const SUBMISSION_MS = 4;
const MOST_CALLS = 200;

/** Times `pairs` pairs of submissions, each version first in turn. Throws DeviceError. */
export async function timePairs(
  gpu: Gpu,
  single: SingleKernel,
  versions: { readonly own: Pipelines; readonly other: Pipelines },
  pairs: number,
): Promise<PairedTimes> {
  const own = await prepareKernel(gpu, single, versions.own, 0);
  const other = await prepareKernel(gpu, single, versions.other, 0);
  const timed = async (prepared: typeof own, calls: number) => {
    const started = performance.now();
    await prepared.submit(calls);
    return (performance.now() - started) / calls;
  };
  try {
    return await gpu.guarded(labelOf(single), async () => {
      await timed(other, 1);
      const once = await timed(own, 2);
      const calls = Math.max(1, Math.min(MOST_CALLS, Math.round(SUBMISSION_MS / once)));
      const times: { own: number[]; other: number[] } = { own: [], other: [] };
      for (let i = 0; i < pairs; i++) {
        const order = i % 2 === 0 ? (["own", "other"] as const) : (["other", "own"] as const);
        for (const name of order) times[name].push(await timed(name === "own" ? own : other, calls));
      }
      return times;
    });
  } finally {
    own.close();
    other.close();
  }
}
