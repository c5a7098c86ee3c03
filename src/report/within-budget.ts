/** What is said of one output held against its budget. */
import { REASONS } from "../compare/kernels/judge.ts";
import type { BudgetFacts } from "../compare/within-budget.ts";
import { short, timesOver } from "./numbers.ts";

const percent = (share: number) => `${Number((100 * share).toPrecision(2))} %`;

/** One sentence: the verdict with the element that decides it. */
export function budgetSentence({ kind, verdict, reasons, count, relL2, ofBound, worst }: BudgetFacts): string {
  if (verdict === "not-judged")
    return `${kind}: none of ${count} elements can be judged: every right value is NaN or Inf`;
  const of = ofBound > 1 ? `${timesOver(ofBound)} times its bound` : `${percent(ofBound)} of its bound`;
  const measured = `relL2 ${short(relL2)}, worst ${of}`;
  if (verdict !== "fail") {
    return `${kind}: ${count} elements within what any right computation may give${verdict === "suspicious" ? ", though beyond what independent roundings explain" : ""} (${measured})`;
  }
  const at =
    worst === null
      ? ""
      : `; element ${worst.index} (row ${worst.row}, column ${worst.column}) is ${short(worst.actual)}, right is ${short(worst.expected)}, allowed to be off by ${short(worst.allowed)}`;
  return `${kind} ${reasons.map((reason) => REASONS[reason]).join("; ")} (${measured})${at}`;
}
