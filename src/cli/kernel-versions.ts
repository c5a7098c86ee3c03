/** Another version of the kernels beside this one, case by case: what differs, its verdict, bits and paired times. */
import type { Answer } from "../compare/kernels/answer.ts";
import { type KernelCase, type KernelKind, KINDS_OF_KERNEL } from "../compare/kernels/cases.ts";
import { judgeKernel } from "../compare/kernels/judge.ts";
import { pairedRatio } from "../compare/kernels/paired.ts";
import type { Gpu } from "../engine/device.ts";
import { timePairs } from "../engine/kernel-pair.ts";
import { runKernel } from "../engine/kernel-run.ts";
import type { Pipelines, SourceOf } from "../engine/kernels.ts";
import type { VersionPair } from "../report/kernel-facts.ts";
import { hashOf } from "../trace/sketch.ts";
import { changedKernels, kernelsOf } from "./kernel-folders.ts";

/** Pairs of submissions that are timed; 2^-20 is a level that a thousand cases can share. */
const PAIRS = 21;
/** Chance that any of the cases is called faster or slower and is not. */
const LEVEL = 0.05;

/** Kinds of case that another text computes. */
export function changedKinds(own: SourceOf, other: SourceOf): Set<KernelKind> {
  const changed = changedKernels(own, other);
  return new Set(KINDS_OF_KERNEL.filter((kind) => kernelsOf(kind).some((kernel) => changed.includes(kernel))));
}

/** True for a case whose times are compared. */
export const isTimed = ({ data, dtype }: KernelCase) => data === "normal" && dtype === "f32";

/** The other version of a case's kernel: judged, its bits beside these, and times of both in turn; `timed` cases are. */
export async function besideOther(
  gpu: Gpu,
  of: KernelCase,
  values: Float32Array,
  versions: { own: Pipelines; other: Pipelines },
  { timed, answer }: { timed: number; answer: Answer | null },
): Promise<VersionPair> {
  const run = await runKernel(gpu, versions.other, of, 0);
  const times = timed > 0 && isTimed(of) ? await timePairs(gpu, of, versions, PAIRS) : null;
  return {
    other: judgeKernel(of, run, answer),
    isSame: hashOf(values) === hashOf(run.values),
    ratio: times === null ? null : pairedRatio(times.own, times.other, LEVEL / timed),
  };
}
