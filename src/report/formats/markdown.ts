/** A report as Markdown that fits an issue or a pull request: the verdict first, what can be folded folded, never above 60 KB. */

import { badgeOf, opsByTap, outcomeOf } from "../document/outcome.ts";
import type { Figure, Report, ReportFinding, ReportSection } from "../document/schema.ts";

/** GitHub takes 65,536 characters in a comment. */
export const MOST_BYTES = 60_000;
/** Rows and texts that are shown of what may be long. */
const [TOKENS, ROWS, MOST_ROWS, COLUMNS, CHARACTERS] = [120, 12, 40, 60, 400];

/** The whole report. Parts that would take it above MOST_BYTES are left out, and named. */
export function reportMarkdown(report: Report): string {
  const parts: readonly (readonly [name: string, text: string])[] = [
    ["findings", report.findings.map((finding) => findingText(finding, report)).join("\n")],
    ["map", folded(report.sides.expected === null ? "Op by op" : "Where it differs", mapText(report))],
    ...report.sections.map((each) => [each.title, sectionText(each)] as const),
    ["next tokens", folded("What comes next", logitsText(report))],
    ["tokens", folded("Tokens", tokensText(report))],
    [
      "blind spots",
      folded(
        "What this run could not have shown",
        bullets(report.blindSpots.map(({ id, reason }) => `${id}: ${reason}`)),
      ),
    ],
    ["notes", folded("Notes", bullets(report.warnings))],
  ];
  let text = headText(report);
  const left: string[] = [];
  for (const [name, part] of parts) {
    if (part === "") continue;
    if (Buffer.byteLength(text) + Buffer.byteLength(part) > MOST_BYTES - 500) left.push(name);
    else text += `${part}\n`;
  }
  const note = left.length === 0 ? "" : `\nLeft out for length: ${left.join(", ")}.\n`;
  return `${text}${note}\n<sub>faultline ${plain(report.version)}, ${plain(report.created)}</sub>\n`;
}

function headText({ verdict, finding, sentence, proof, facts }: Report): string {
  const mark = verdict === null ? "" : verdict === "match" ? "✅ " : "❌ ";
  const rows = facts.map(([label, value]) => `| ${plain(label)} | ${plain(value)} |`);
  return [
    `### ${mark}${plain(badgeOf({ verdict, finding }))}: ${plain(sentence)}`,
    "",
    ...(proof === null ? [] : [plain(proof), ""]),
    "| | |\n|---|---|",
    ...rows,
    "",
    "",
  ].join("\n");
}

function findingText({ sentence, proof, lines, candidates, side }: ReportFinding, { findings }: Report): string {
  const isAlone = findings.length === 1;
  const rows = candidates.map(
    ({ name, what, role, residual }) => `| ${code(name)} | ${plain(what)} | ${plain(role)} | ${number(residual)} |`,
  );
  const body = [
    // The proof of a single one is said at the top.
    ...(proof === null || isAlone ? [] : [plain(proof), ""]),
    bullets(lines),
    ...(rows.length === 0 ? [] : ["| hypothesis | what it computes | found | residual |\n|---|---|---|---|", ...rows]),
    "",
  ].join("\n");
  const title = `${side === "expected" ? "in the reference: " : ""}${sentence}`;
  if (body.trim() === "") return isAlone ? "" : `- ${plain(title)}\n`;
  return isAlone ? `${body}\n` : folded(title, body);
}

/** Tables of a part, the first rows of each. */
function sectionText({ title, intro, lines, tables }: ReportSection): string {
  const parts = tables.map(({ caption, columns, rows, mark }) => {
    const line = (cells: readonly string[]) => `| ${cells.map(plain).join(" | ")} |`;
    // The row that matters most is among those that are shown.
    const first = mark === null || mark < MOST_ROWS ? 0 : Math.min(mark - MOST_ROWS / 2, rows.length - MOST_ROWS);
    const after = rows.length - first - MOST_ROWS;
    const left = [...(first > 0 ? [`${first} rows before`] : []), ...(after > 0 ? [`${after} rows more`] : [])];
    const more = left.length > 0 ? `\nand ${left.join(", ")}\n` : "";
    const ruler = `|${columns.map(({ isNumber }) => (isNumber ? "--:|" : "---|")).join("")}`;
    return [
      plain(caption),
      "",
      line(columns.map((column) => column.title)),
      ruler,
      ...rows.slice(first, first + MOST_ROWS).map(line),
      more,
    ].join("\n");
  });
  return folded(title, [plain(intro), "", bullets(lines), ...parts, ""].join("\n"));
}

/** Layers by ops, one sign each. */
function mapText({ taps, columns, ops }: Report): string {
  if (ops.length === 0) return "";
  if (columns.length > COLUMNS) return `${columns.length} names of taps are too many for a table.\n`;
  const found = opsByTap(ops);
  const places = new Map(taps.map(({ layer, column }, index) => [`${layer} ${column}`, index]));
  const layers = [...new Set(taps.map(({ layer }) => layer).filter((layer) => layer !== null))].sort((a, b) => a - b);
  const sign = (layer: number, column: string) => {
    const tap = places.get(`${layer} ${column}`);
    return SIGNS[outcomeOf(tap === undefined ? [] : (found.get(tap) ?? []))];
  };
  const rows = layers.map((layer) => `| ${layer} | ${columns.map((column) => sign(layer, column)).join(" | ")} |`);
  return [
    "✕ wrong by itself, ● first to differ, ! differs, N and n NaN or Inf (n: what feeds it has them too), · alike; worst of all steps",
    "",
    `| | ${columns.map((column) => code(column)).join(" | ")} |`,
    `|---|${columns.map(() => ":-:|").join("")}`,
    ...rows,
    "",
  ].join("\n");
}

const SIGNS: Readonly<Record<ReturnType<typeof outcomeOf>, string>> = {
  "own-fault": "✕",
  "non-finite": "N",
  origin: "●",
  "not-finite-too": "n",
  differs: "!",
  "other-context": "~",
  alike: "·",
  "not-compared": "",
};

function logitsText({ logits }: Report): string {
  if (logits.length === 0) return "";
  type Choice = Report["logits"][number]["expected"][number];
  const words = (of: readonly Choice[]) =>
    of
      .slice(0, 3)
      .map(
        ({ piece, probability }) =>
          `${code(piece)} ${typeof probability === "number" ? `${(100 * probability).toFixed(1)} %` : "?"}`,
      )
      .join(", ");
  const rows = logits.slice(-ROWS).map(({ position, after, expected, actual, kl }) => {
    const isSame = expected[0]?.id === actual[0]?.id;
    return `| ${position} ${code(after)} | ${isSame ? "same" : "**differs**"} | ${words(expected)} | ${words(actual)} | ${number(kl)} |`;
  });
  return ["| after | first choice | reference | judged | KL, nats |\n|---|---|---|---|---|", ...rows, ""].join("\n");
}

function tokensText({ tokens }: Report): string {
  const line = (side: NonNullable<Report["tokens"]["expected"]>) =>
    `${side
      .slice(0, TOKENS)
      .map(({ id, piece }) => `${id} ${code(piece)}`)
      .join(", ")}${side.length > TOKENS ? `, and ${side.length - TOKENS} more` : ""}`;
  const { expected, actual, firstDifference } = tokens;
  if (actual.length === 0) return "";
  if (expected === null || firstDifference === null) return `${line(actual)}\n`;
  return `They differ from position ${firstDifference} on.\n\nreference: ${line(expected)}\n\njudged: ${line(actual)}\n`;
}

const folded = (title: string, body: string) =>
  body === "" ? "" : `<details><summary>${reference(unlinked(cut(title)))}</summary>\n\n${body}\n</details>\n`;
const bullets = (lines: readonly string[]) => lines.map((line) => `- ${plain(line)}\n`).join("");
const number = (value: Figure) => (value === null ? "" : String(value));
const cut = (text: string) => (text.length <= CHARACTERS ? text : `${text.slice(0, CHARACTERS)}…`);

/** Names, issues and addresses broken by a space of no width: they are linked in any text. */
const unlinked = (text: string) =>
  text
    .replace(/([@#])(?=\w)/g, "$1\u200b")
    .replace(/:\/\//g, ":\u200b//")
    .replace(/(www)\./gi, "$1\u200b.");

/** Marks as character references: where backslashes would stand for themselves. */
const reference = (text: string) => text.replace(/[&<>|`*_~[\]\\$]/g, (mark) => `&#${mark.codePointAt(0)};`);

/** Text that Markdown and GitHub leave as it is. An underscore within a word is no mark. */
export function plain(text: string): string {
  return unlinked(cut(text))
    .replace(/[\\`*~[\]|$&<>]/g, "\\$&")
    .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, "\\_");
}

/** Text in the type of code, in a table too. Spaces at the ends would be lost. */
const code = (text: string) =>
  `<code>${reference(unlinked(cut(text))).replace(/^ +| +$/g, (spaces) => "&#160;".repeat(spaces.length))}</code>`;
