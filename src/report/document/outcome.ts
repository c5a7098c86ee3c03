/** What became of a tap in all its steps, in one word: the worst first. */
import type { Report, ReportOp } from "./schema.ts";

/** `non-finite`: where NaN or Inf begin. `not-finite-too`: what feeds it has them as well. */
export type Outcome =
  | "own-fault"
  | "non-finite"
  | "origin"
  | "not-finite-too"
  | "differs"
  | "other-context"
  | "alike"
  | "not-compared";

/** What runs are called that are no pair: `deterministic`, `collapse`; else the verdict. */
export const badgeOf = ({ verdict, finding }: Pick<Report, "verdict" | "finding">): string =>
  verdict === null || OWN_WORDS.has(finding) ? finding : verdict;

const OWN_WORDS: ReadonlySet<string> = new Set([
  ...["deterministic", "unstable", "collapse", "no collapse", "alike", "tie", "pass", "fail"],
  ...["same bits", "both right", "wrong", "not judged"],
]);

/** What a verdict means, for a reader who has not seen the tool; nothing where the sentence says it. */
export const meaningOf = (report: Pick<Report, "verdict" | "finding">): string =>
  MEANINGS[report.finding] ?? MEANINGS[badgeOf(report)] ?? "";

/** By finding, else by verdict. */
const MEANINGS: Readonly<Record<string, string>> = {
  "own-fault": "an op of the judged run is wrong by itself, by more than rounding explains",
  "reference-fault": "an op of the reference is wrong by itself, by more than rounding explains",
  token: "the runs were given other tokens",
  shape: "the runs have tensors of other shapes",
  rounding: "the runs part, yet every op of both is right by itself",
  divergent: "differs from what it is held against",
  match: "no difference beyond what rounding explains",
  tie: "two right computations may choose either token",
  unstable: "the same run does not give the same bits again",
  deterministic: "every run gave the same bits",
  pass: "no kernel is further off than rounding explains",
  fail: "a kernel is further off than rounding explains, or writes where it must not",
};

/** Of one op. Where an audit found it right by itself, that it is the first beyond its budget accuses nobody. */
function outcomeOfOne({ own, verdict, isOrigin }: ReportOp): Outcome {
  if (own?.verdict === "proved" || own?.verdict === "likely") return "own-fault";
  const isFirst = isOrigin && own?.verdict !== "clean";
  if (verdict === "non-finite") return isFirst ? "non-finite" : "not-finite-too";
  if (isFirst) return "origin";
  if (verdict === "numeric") return "differs";
  return verdict;
}

const WORST_FIRST: readonly Outcome[] = [
  "own-fault",
  "non-finite",
  "origin",
  "not-finite-too",
  "differs",
  "other-context",
  "alike",
  "not-compared",
];

export function outcomeOf(ops: readonly ReportOp[]): Outcome {
  const found = new Set(ops.map(outcomeOfOne));
  return WORST_FIRST.find((outcome) => found.has(outcome)) ?? "not-compared";
}

/** Ops of each tap, by its index. */
export function opsByTap(ops: readonly ReportOp[]): Map<number, ReportOp[]> {
  const found = new Map<number, ReportOp[]>();
  for (const op of ops) {
    const own = found.get(op.tap);
    if (own === undefined) found.set(op.tap, [op]);
    else own.push(op);
  }
  return found;
}
