/** An audit in words: the verdict first, then each op at fault with its cause, then how tight the bounds were. */
import { verdictOf } from "../compare/audit.ts";
import type { AuditedOp } from "../compare/audit-node.ts";
import type { Fault, JudgedAudit } from "../compare/judged-audit.ts";
import { anatomyText } from "./anatomy.ts";
import { faultSentence, proofText, stepsText, tightness } from "./audit-facts.ts";
import { colors } from "./colors.ts";
import { diagnosisLines } from "./diagnosis.ts";
import { headroomText } from "./headroom.ts";
import { nonFiniteText } from "./non-finite.ts";
import { short, visible } from "./numbers.ts";
import { type Column, table } from "./table.ts";

/** Ops at fault that are told one by one. */
const SHOWN = 8;

const percent = (share: number) =>
  !Number.isFinite(share)
    ? short(share)
    : share > 1
      ? `${Number(share.toPrecision(2)).toExponential(1)} x`
      : `${Number((100 * share).toPrecision(2))} %`;

/** The whole report for the terminal. Its first line is the verdict. */
export function auditText(audit: JudgedAudit): string {
  const { trace, warnings, faults } = audit;
  const { producer, model } = trace.manifest;
  return [
    auditVerdictLine(audit),
    `trace ${trace.path}: ${visible(`${producer.name} ${producer.version}`)}, ${producer.dtype}, ${visible(model.file) || "model not named"}`,
    ...warnings.map((warning) => colors.yellow(`note: ${warning}`)),
    "",
    ...nonFiniteLines(audit),
    ...faultLines(audit),
    ...suspiciousLines(audit),
    kindTable(audit.ops),
    ...partsLines(audit, faults),
    ...notJudgedLines(audit.ops),
    "",
    headroomText(audit.headroom).split("\n")[0] ?? "",
    "",
  ].join("\n");
}

/** One line: match or divergent, and the first op at fault. */
export function auditVerdictLine(audit: JudgedAudit): string {
  const { counts, ops, verdict } = audit;
  const judged = ops.length - counts["not-judged"];
  if (verdict === "divergent") {
    return `${colors.red(colors.bold("divergent"))}: ${audit.faults.slice(0, 1).map(faultSentence).join("")}${more(audit.faults)}`;
  }
  const suspicious = counts.suspicious > 0 ? `; ${counts.suspicious} suspicious, none proved` : "";
  const left = counts["not-judged"] > 0 ? `; ${counts["not-judged"]} could not be judged` : "";
  return `${colors.green(colors.bold("match"))}: ${judged} ops recomputed from their own inputs, ${counts.clean} within what rounding explains${suspicious}${left}`;
}

/** Where NaN and Inf began, and why. */
export function nonFiniteLines({ nonFinite }: JudgedAudit): string[] {
  return nonFinite === null ? [] : [colors.bold("not finite"), ...nonFiniteText(nonFinite), ""];
}

const more = ({ length }: readonly Fault[]) =>
  length < 2
    ? ""
    : length === 2
      ? "; and 1 more op is wrong by itself"
      : `; and ${length - 1} more ops are wrong by themselves`;

/** Each op at fault: what proves it, its cause, the shape of its error. */
export function faultLines(audit: JudgedAudit): string[] {
  const { faults } = audit;
  if (faults.length === 0) return [];
  const shown = faults.slice(0, SHOWN);
  return [
    colors.bold(faults.length === 1 ? "at fault" : `at fault: ${faults.length} ops, each by itself`),
    ...shown.flatMap((fault) => [
      `${colors.red(">>")} ${faultSentence(fault)}`,
      `   ${proofText(fault, audit)}`,
      ...[
        ...(fault.diagnosis === null ? [] : diagnosisLines(fault.diagnosis)),
        ...(fault.anatomy === null ? [] : anatomyText(fault.anatomy).map((line) => `error: ${line}`)),
      ].map((line) => `   ${line}`),
    ]),
    ...(faults.length > SHOWN
      ? [
          `and ${faults
            .slice(SHOWN)
            .map(({ tap, steps }) => `${tap} ${stepsText(steps)}`)
            .slice(0, 12)
            .join("; ")}${faults.length > SHOWN + 12 ? "; ..." : ""}`,
        ]
      : []),
    "",
  ];
}

function suspiciousLines({ ops, faults }: JudgedAudit): string[] {
  const named = new Set(faults.map(({ tap }) => tap));
  const suspicious = ops.filter((op) => verdictOf(op) === "suspicious" && !named.has(op.tap));
  if (suspicious.length === 0) return [];
  const list = suspicious
    .slice(0, 6)
    .map(({ tap, step, own }) => `${tap} step ${step} (${percent(own?.likelyShare ?? 0)})`);
  return [
    colors.yellow(
      `suspicious, not proved: ${list.join(", ")}${suspicious.length > 6 ? `, and ${suspicious.length - 6} more` : ""}: beyond what independent roundings explain, within what f32 in any order may do`,
    ),
    "",
  ];
}

const COLUMNS: readonly Column[] = [
  { title: "tap", align: "left" },
  { title: "ops", spare: 2 },
  { title: "own relL2", spare: 1 },
  { title: "of likely" },
  { title: "of worst" },
  { title: "at", align: "left", spare: 3 },
];

function kindTable(ops: readonly AuditedOp[]): string {
  const rows = [...tightness(ops)].map(([tap, { ops: count, relL2, ofLikely, ofWorst, at }]) => [
    tap,
    String(count),
    short(relL2),
    percent(ofLikely),
    percent(ofWorst),
    at,
  ]);
  return table(COLUMNS, rows).trimEnd();
}

const PART_COLUMNS: readonly Column[] = [
  { title: "tap", align: "left" },
  { title: "step" },
  { title: "total", spare: 1 },
  { title: "inherited" },
  { title: "added" },
  { title: "cancelled", spare: 2 },
  { title: "amplified", spare: 3 },
];

/** Ops around the first fault, or else those that add most beside what rounding explains. */
function partsLines({ ops, against }: JudgedAudit, faults: readonly Fault[]): string[] {
  const both = ops.filter((op) => op.parts !== null);
  if (against === null) return [];
  if (both.length === 0)
    return ["", `${against}: has no values of the same ops; inherited and added error are not known`];
  const [fault] = faults;
  const from = fault === undefined ? -1 : both.indexOf(fault.op);
  const excess = ({ parts, own }: AuditedOp) => (parts?.added ?? 0) / Math.max(own?.likely ?? 0, Number.MIN_VALUE);
  const shown =
    from < 0
      ? [...both].sort((a, b) => excess(b) - excess(a)).slice(0, 8)
      : both.slice(Math.max(0, from - 3), from + 9);
  const rows = shown.map(({ tap, step, parts }) => [
    tap,
    String(step),
    ...[parts?.total, parts?.inherited, parts?.added, parts?.cancelled, parts?.amplification].map((each) =>
      each === null || each === undefined ? "" : short(each),
    ),
  ]);
  return [
    "",
    colors.bold(`error against ${against}: what came from above, what each op added`),
    table(PART_COLUMNS, rows).trimEnd(),
  ];
}

function notJudgedLines(ops: readonly AuditedOp[]): string[] {
  const reasons = new Map<string, number>();
  for (const { reason } of ops) {
    if (reason !== null)
      reasons.set(reason.replace(/ of step \d+/, ""), (reasons.get(reason.replace(/ of step \d+/, "")) ?? 0) + 1);
  }
  const list = [...reasons].slice(0, 6).map(([reason, count]) => `  ${count}: ${reason}`);
  return list.length === 0
    ? []
    : [
        "",
        "not judged:",
        ...list,
        ...(reasons.size > list.length ? [`  and ${reasons.size - list.length} more reasons`] : []),
      ];
}
