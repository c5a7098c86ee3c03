/** A kernel tried on its own: run twice between borders that it must not touch, over memory that says what was never written. */

import { prepareChore, type SingleChore } from "./chore.ts";
import type { Gpu } from "./device.ts";
import type { Pipelines } from "./kernels.ts";
import type { PreparedKernel } from "./prepared.ts";
import { prepareSingleOp, type SingleOp } from "./single-op.ts";

/** An op, or a kernel that is no op's. */
export type SingleKernel = SingleOp | SingleChore;

/** Uploads and compiles; `border` as in prepareSingleOp. */
export const prepareKernel = (
  gpu: Gpu,
  single: SingleKernel,
  pipelines: Pipelines,
  border: number,
): Promise<PreparedKernel> =>
  "chore" in single ? prepareChore(gpu, single, pipelines, border) : prepareSingleOp(gpu, single, pipelines, border);

/** What it is called where it fails. */
export const labelOf = (single: SingleKernel) => ("chore" in single ? single.chore.kernel : single.op.tap);

export interface KernelRun {
  /** What is to be written, of the first run, flat row-major. */
  readonly values: Float32Array;
  /** Elements whose bits differ between the two runs. */
  readonly unstable: number;
  /** Elements that neither run wrote. */
  readonly unwritten: number;
  /** Words of the border that were written: `before` and `after` what is to be written. */
  readonly border: { readonly before: number; readonly after: number };
  /** Of one call, milliseconds; null where it was not timed. */
  readonly milliseconds: number | null;
}

/** Bytes before and after the output: what bindings are aligned to. */
export const BORDER = 256;
/** What memory holds before each run: NaNs of two payloads that no arithmetic makes. */
const FILLS = [0x7fc0dead, 0x7fc0beef] as const;
/** Around what is changed in place: numbers, which no rounding leaves as they are, for it leaves NaN. */
const FILLS_IN_PLACE = [0x3f80dead, 0x4000beef] as const;

/** A call that takes longer is timed once: what a submission costs is small beside it. */
const LONG_MS = 100;

/** Runs a kernel. `times`: calls that are timed, in one submission; 0: none. Throws DeviceError, and InputError for a fault that needs other ops. */
export async function runKernel(
  gpu: Gpu,
  pipelines: Pipelines,
  single: SingleKernel,
  times: number,
): Promise<KernelRun> {
  return runPrepared(gpu, labelOf(single), await prepareKernel(gpu, single, pipelines, BORDER), times);
}

/** Runs a kernel that was prepared with BORDER around its output, and closes it. `what`: for errors. */
export async function runPrepared(gpu: Gpu, what: string, prepared: PreparedKernel, times: number): Promise<KernelRun> {
  const { buffer, initial, written } = prepared.output;
  try {
    return await gpu.guarded(what, async () => {
      let once = 0;
      const runs: { words: Uint32Array; fill: number }[] = [];
      for (const fill of initial === null ? FILLS : FILLS_IN_PLACE) {
        const words = new Uint32Array(buffer.size / 4).fill(fill);
        if (initial !== null) words.set(initial, BORDER / 4);
        gpu.device.queue.writeBuffer(buffer, 0, words);
        once = await timed(() => prepared.submit(), 1);
        const all = await prepared.readAll();
        runs.push({ words: new Uint32Array(all.buffer, all.byteOffset, all.length), fill });
      }
      const calls = once > LONG_MS ? 1 : times;
      const milliseconds = times === 0 ? null : await timed(() => prepared.submit(calls), calls);
      return { ...outcome(runs, written), milliseconds };
    });
  } finally {
    prepared.close();
  }
}

async function timed(submit: () => Promise<void>, times: number): Promise<number> {
  const started = performance.now();
  await submit();
  return (performance.now() - started) / times;
}

function outcome(
  runs: readonly { readonly words: Uint32Array; readonly fill: number }[],
  written: { readonly first: number; readonly count: number },
): Omit<KernelRun, "milliseconds"> {
  const [first, second] = runs;
  if (first === undefined || second === undefined) throw new Error("a kernel is run twice");
  const { count } = written;
  const start = BORDER / 4 + written.first;
  let [unstable, unwritten, before, after] = [0, 0, 0, 0];
  for (let i = 0; i < first.words.length; i++) {
    const touched = runs.some(({ words, fill }) => words[i] !== fill);
    if (i < start) before += Number(touched);
    else if (i >= start + count) after += Number(touched);
    else if (!touched) unwritten++;
    else if (first.words[i] !== second.words[i]) unstable++;
  }
  const values = new Float32Array(first.words.slice(start, start + count).buffer);
  return { values, unstable, unwritten, border: { before, after } };
}
