/** How long kernels may take, and what is said of one that does not end. */
import { GpuTimeoutError } from "../engine/errors.ts";
import type { SourceOf } from "../engine/kernels.ts";
import type { Model } from "../model/model.ts";
import { changedKernels } from "./kernel-folders.ts";

/** Seconds that a submission of a case may take unless told. Ours take 0.3 s at most on two busy cores. Compiling does not count. */
export const LIMIT_S = 60;
/** Products a second that a whole model is given time for: a fiftieth of what two cores of a software adapter make. */
const SLOW_RATE = 1e8;

/** Seconds that a submission of a model may take unless told, with a prompt of so many tokens. */
export function modelLimit({ file, weights }: Model, tokens: number): number {
  const products = [...weights.keys()]
    .map((name) => file.tensor(name))
    .reduce((sum, { rows, columns }) => sum + rows * columns * tokens, 0);
  return Math.ceil(LIMIT_S + products / SLOW_RATE);
}

/** A kernel that does not end, by its file and what it was given; any other error as it is. */
export const endless = (error: unknown, path: string, at: string): unknown =>
  error instanceof GpuTimeoutError ? new GpuTimeoutError(error.seconds, `${path}: at ${at}`) : error;

/** Kernels of a folder that are named one by one. */
const NAMED = 3;

/** A step of a model that does not end: one of the folder's kernels that are not this program's. */
export function endlessStep(
  { seconds }: GpuTimeoutError,
  folder: string,
  sourceOf: SourceOf,
  model: string,
): GpuTimeoutError {
  const paths = changedKernels(() => null, sourceOf).flatMap((kernel) => sourceOf(kernel) ?? []);
  const files = [...new Set(paths)];
  const named = files.length > 0 && files.length <= NAMED ? files.join(" or ") : folder;
  const remedy = `look for a loop that never ends ('faultline kernels --kernels ${folder}' tries each kernel alone)`;
  return new GpuTimeoutError(seconds, `${named}: at a step of ${model}`, remedy);
}
