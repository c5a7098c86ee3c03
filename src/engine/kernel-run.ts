/** A kernel tried on its own: run twice between borders that it must not touch, over memory that says what was never written. */
import type { Gpu } from "./device.ts";
import type { Pipelines } from "./kernels.ts";
import { prepareSingleOp, type SingleOp } from "./single-op.ts";

export interface KernelRun {
  /** Of the first run, flat row-major. */
  readonly values: Float32Array;
  /** Elements whose bits differ between the two runs. */
  readonly unstable: number;
  /** Elements that neither run wrote. */
  readonly unwritten: number;
  /** Words of the border that were written: `before` and `after` the output. */
  readonly border: { readonly before: number; readonly after: number };
  /** Of one call, milliseconds; null where it was not timed. */
  readonly milliseconds: number | null;
}

/** Bytes before and after the output: what bindings are aligned to. */
const BORDER = 256;
/** What memory holds before each run: NaNs of two payloads that no arithmetic makes. */
const FILLS = [0x7fc0dead, 0x7fc0beef] as const;

/** Runs a kernel. `times`: calls that are timed, in one submission; 0: none. Throws DeviceError, and InputError for a fault that needs other ops. */
export async function runKernel(gpu: Gpu, pipelines: Pipelines, single: SingleOp, times: number): Promise<KernelRun> {
  const prepared = await prepareSingleOp(gpu, single, pipelines, BORDER);
  try {
    return await gpu.guarded(single.op.tap, async () => {
      const runs: { words: Uint32Array; fill: number }[] = [];
      for (const fill of FILLS) {
        const words = new Uint32Array(prepared.output.size / 4).fill(fill);
        gpu.device.queue.writeBuffer(prepared.output, 0, words);
        await prepared.submit();
        const all = await prepared.readAll();
        runs.push({ words: new Uint32Array(all.buffer, all.byteOffset, all.length), fill });
      }
      const milliseconds = times === 0 ? null : await timed(() => prepared.submit(times), times);
      return { ...outcome(runs, prepared.bytes / 4), milliseconds };
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
  count: number,
): Omit<KernelRun, "milliseconds"> {
  const [first, second] = runs;
  if (first === undefined || second === undefined) throw new Error("a kernel is run twice");
  const start = BORDER / 4;
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
