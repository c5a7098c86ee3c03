/** Why a case fails, in words: of this version and of another. */
import { type KernelJudgement, REASONS } from "../compare/kernels/judge.ts";
import { percent } from "./kernel-voices.ts";
import { short } from "./numbers.ts";

export const reasonText = ({ case: of, reasons, nmse, ofWorst }: KernelJudgement) =>
  `${of.id} ${reasons.map((reason) => REASONS[reason]).join("; ")} (NMSE ${short(nmse)}, ${percent(ofWorst)} ${ofWorst > 1 ? "its" : "of its"} bound)`;

/** Failures, the furthest from its bound first; NaN is further than all. */
export const failuresOf = (judgements: readonly KernelJudgement[]): KernelJudgement[] => {
  const share = ({ ofWorst }: KernelJudgement) => (Number.isNaN(ofWorst) ? Number.POSITIVE_INFINITY : ofWorst);
  const failed = judgements.filter(({ verdict }) => verdict === "fail");
  return failed.sort((a, b) => (share(a) === share(b) ? 0 : share(b) - share(a)));
};
