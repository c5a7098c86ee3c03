/** What `kernels --summary FILE` adds to a page in Markdown: a pull request's job summary. The verdict first, figures folded. */

import { RISE } from "../compare/kernels/baseline.ts";
import type { KernelJudgement } from "../compare/kernels/judge.ts";
import type { KernelFacts } from "./kernel-facts.ts";
import { failuresOf, reasonText } from "./kernel-reasons.ts";
import { percent } from "./kernel-voices.ts";
import { isFailed, leftOutLines } from "./kernels.ts";
import { seconds, short } from "./numbers.ts";

/** Rows of a list that are told one by one. */
const SHOWN = 40;
/** Characters of a case's or a file's name that are told. */
const NAME = 120;

/** Names come from files and options: one line, and nothing of Markdown or HTML in it. */
const cell = (text: string) =>
  text
    .slice(0, NAME)
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ")
    .replaceAll(/[\\`*_[\]<>|&#~]/g, (mark) => `&#${mark.codePointAt(0)};`);

function table(titles: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const more = rows.length > SHOWN ? ["", `and ${rows.length - SHOWN} more`] : [];
  return [line(titles), line(titles.map(() => "---")), ...rows.slice(0, SHOWN).map(line), ...more, ""];
}

const folded = (title: string, lines: readonly string[]) =>
  lines.length === 0 ? [] : ["<details>", `<summary>${title}</summary>`, "", ...lines, "</details>", ""];

/** The page's part. `alarmsFail`: as the exit status counts alarms. At most 40 rows of each list, so it stays below 60 KB. */
export function kernelsSummary(facts: KernelFacts, alarmsFail: boolean): string {
  const { judgements, device, fault, elapsedMs, baseline } = facts;
  const failed = judgements.filter(({ verdict }) => verdict === "fail");
  const suspicious = judgements.filter(({ verdict }) => verdict === "suspicious");
  const rises = baseline?.rises ?? [];
  const isBad = isFailed(facts) || (alarmsFail && rises.length > 0);
  const what =
    failed.length > 0
      ? `${failed.length} of ${judgements.length} cases fail`
      : `${judgements.length} cases within what f32 arithmetic explains`;
  const alarms = rises.length > 0 ? `; ${rises.length} error${rises.length === 1 ? "" : "s"} rose` : "";
  return [
    `## Kernels: ${isBad ? "fail" : "pass"}`,
    "",
    `**${what}${alarms}**${suspicious.length > 0 ? `; ${suspicious.length} suspicious, none proved` : ""}. On ${cell(device)}, ${seconds(elapsedMs)}${fault === null ? "" : `; planted: ${cell(fault)}`}.`,
    "",
    ...leftOutLines(facts).flatMap((line) => [cell(line), ""]),
    ...(failed.length > 0 ? table(["failing case", "NMSE"], failed.map(failedRow)) : []),
    ...riseLines(facts),
    ...versionSummary(facts),
    ...folded("every kernel", kindTable(judgements)),
    ...folded(
      `${suspicious.length} suspicious cases`,
      suspicious.length > 0 ? table(["case", "of likely"], suspicious.map(suspiciousRow)) : [],
    ),
  ].join("\n");
}

const failedRow = (each: KernelJudgement) => [cell(reasonText(each)), short(each.nmse)];
const suspiciousRow = ({ case: of, ofLikely }: KernelJudgement) => [cell(of.id), percent(ofLikely)];

function riseLines({ baseline, device }: KernelFacts): string[] {
  if (baseline === null) return [];
  const { path, compared, unknown, adapters, rises } = baseline;
  const other = adapters.includes(device) ? "" : `, of ${adapters.map(cell).join(", ")}: another adapter's bits`;
  const head = `${compared} cases held against ${cell(path)}${unknown > 0 ? ` (${unknown} are not in it)` : ""}${other}: ${rises.length === 0 ? "no error rose" : `${rises.length} rose above ${RISE} times their largest so far`}.`;
  const rows = rises.map((rise) => [cell(rise.case), short(rise.before), short(rise.now)]);
  return [head, "", ...(rows.length > 0 ? table(["risen", "relL2 before", "now"], rows) : [])];
}

/** Against the base's kernels: bits, failures there, and what got faster or slower. */
function versionSummary({ otherVersion }: KernelFacts): string[] {
  if (otherVersion === null) return [];
  const { folder, versions } = otherVersion;
  if (versions.length === 0) return [`No kernel of these cases differs from ${cell(folder)}.`, ""];
  const same = versions.filter(({ isSame }) => isSame).length;
  const there = failuresOf(versions.map(({ other }) => other));
  const timed = versions.flatMap(({ other, ratio }) => (ratio === null ? [] : [{ id: other.case.id, ratio }]));
  const slower = timed.filter(({ ratio }) => ratio.low > 1);
  const faster = timed.filter(({ ratio }) => ratio.high < 1);
  const row = ({ id, ratio }: (typeof timed)[number]) => [
    ...[cell(id), short(ratio.median), `${short(ratio.low)} to ${short(ratio.high)}`],
    ratio.low > 1 ? "**slower**" : ratio.high < 1 ? "faster" : "",
  ];
  const titles = ["case", "time / theirs", "95 %, all together", ""];
  const told = timed.length === 0 ? "" : `; of ${timed.length} timed, ${slower.length} slower, ${faster.length} faster`;
  const changed = [...slower, ...faster];
  return [
    `Beside ${cell(folder)}: ${versions.length} cases of changed kernels, ${same} with the same bits${there.length > 0 ? `, ${there.length} fail there` : ""}${told}.`,
    "",
    ...(there.length > 0 ? table(["failing there", "NMSE"], there.map(failedRow)) : []),
    ...(changed.length > 0 ? table(titles, changed.map(row)) : []),
    ...folded(`${timed.length} cases timed in pairs`, timed.length > 0 ? table(titles, timed.map(row)) : []),
  ];
}

function kindTable(judgements: readonly KernelJudgement[]): string[] {
  const kinds = [...new Set(judgements.map((each) => each.case.kind))];
  const worst = (list: readonly number[]) => list.reduce((a, b) => (b > a || Number.isNaN(b) ? b : a), 0);
  const rows = kinds.map((kind) => {
    const list = judgements.filter((each) => each.case.kind === kind);
    const failed = list.filter(({ verdict }) => verdict === "fail").length;
    return [
      ...[kind, String(list.length), String(failed), percent(worst(list.map(({ ofLikely }) => ofLikely)))],
      percent(worst(list.map(({ ofWorst }) => ofWorst))),
    ];
  });
  return table(["kernel", "cases", "fail", "of likely", "of bound"], rows);
}
