/** What a run of `kernels` found. */
import type { BaselineFacts } from "../compare/kernels/baseline.ts";
import type { KernelJudgement } from "../compare/kernels/judge.ts";
import type { PairedRatio } from "../compare/kernels/paired.ts";
import type { Voice } from "../compare/kernels/witness.ts";

/** A case with another version of its kernel. */
export interface VersionPair {
  readonly other: KernelJudgement;
  /** True where both gave the same bits. */
  readonly isSame: boolean;
  /** This version's time over the other's; null where it was not timed. */
  readonly ratio: PairedRatio | null;
}

export interface KernelFacts {
  readonly judgements: readonly KernelJudgement[];
  readonly device: string;
  readonly fault: string | null;
  readonly elapsedMs: number;
  /** What ONNX Runtime says of each case, by its id; `version` is null where it was not asked. */
  readonly onnx: { readonly version: string | null; readonly voices: ReadonlyMap<string, Voice> };
  /** Cases at which a kernel of another author is not tried, by what its description says; empty for this program's own. */
  readonly leftOut: readonly { readonly reason: string; readonly cases: number }[];
  /** Null where no history was given. */
  readonly baseline: BaselineFacts | null;
  /** Of the kernels that differ in a folder of another version; null where none was given. */
  readonly otherVersion: { readonly folder: string; readonly versions: readonly VersionPair[] } | null;
}
