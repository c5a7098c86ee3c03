/** The sections that are mostly words: findings, tokens, likeliest tokens, and those that a command brings. */
import type { Report, ReportFinding, Token } from "../report/document/schema.ts";
import { chart } from "./charts.ts";
import { dataTable, h, section } from "./dom.ts";
import { numeric, shown } from "./figures.ts";
import { lines } from "./lines.ts";
import type { State } from "./state.ts";

export function findingsSection(state: State): HTMLElement | null {
  const { findings } = state.report;
  if (findings.length === 0) return null;
  return section(
    "findings",
    findings.length === 1 ? "What is wrong" : `What is wrong: ${findings.length} ops`,
    "Each with what proves it, and what was held against its output.",
    ...findings.map((finding, index) => findingElement(state, finding, index === 0)),
  );
}

function findingElement(state: State, finding: ReportFinding, isOpen: boolean): HTMLElement {
  const { sentence, proof, lines, candidates, side, step, tap } = finding;
  const look = () => {
    state.choose({ step, tap });
    document.getElementById("op")?.scrollIntoView({ behavior: "smooth" });
  };
  return h(
    "details",
    { class: "finding", open: isOpen },
    h("summary", {}, h("strong", {}, `${side === "expected" ? "in the reference: " : ""}${sentence}`)),
    proof === null ? null : h("p", {}, proof),
    h("ul", {}, ...lines.map((line) => h("li", {}, line))),
    candidates.length === 0 ? null : candidatesTable(finding),
    h("button", { type: "button", class: "link", click: look }, `look at ${state.tap(tap).name}`),
  );
}

/** Residuals with bars, by powers of ten: none at 1e-9, a whole one at 1 and above. */
function candidatesTable({ candidates, tolerance }: ReportFinding): HTMLElement {
  const bar = (residual: number) => {
    const share = Number.isNaN(residual) ? 1 : 1 + Math.log10(Math.max(1e-9, residual)) / 9;
    return h("span", {
      class: "meter",
      style: `--share: ${Math.max(0.02, Math.min(1, share)).toFixed(3)}`,
      "aria-hidden": "true",
    });
  };
  const rows = candidates.map(({ name, what, residual, role }) => [
    h("code", {}, name),
    what,
    role,
    h("span", {}, shown(residual), " ", bar(numeric(residual))),
  ]);
  return dataTable(
    `How far each is from what the op gave (relL2; reproduced within ${shown(tolerance)})`,
    ["hypothesis", "what it computes", "found", "residual"],
    rows,
  );
}

export function tokensSection({ report: { tokens, sides } }: State): HTMLElement | null {
  if (tokens.actual.length === 0) return null;
  const { expected, actual, prompt, firstDifference } = tokens;
  const list = (label: string, side: readonly Token[], steps = prompt) =>
    h(
      "div",
      {},
      h("h3", {}, label),
      h(
        "ol",
        { class: "tokens", start: 0 },
        ...side.map(({ id, piece }, position) => tokenElement(id, piece, position, steps, firstDifference)),
      ),
    );
  const isSame =
    expected === null || (expected.length === actual.length && expected.every(({ id }, i) => id === actual[i]?.id));
  return section(
    "tokens",
    "Tokens",
    expected === null
      ? "What the judged run was given."
      : firstDifference === null
        ? "Both sides were given the same tokens as far as both go."
        : `The tokens differ from position ${firstDifference} on.`,
    ...(isSame
      ? [list(expected === null ? "judged" : "both sides", actual)]
      : [
          list(`reference (${sides.expected ?? ""})`, expected, expected.length),
          list(`judged (${sides.actual})`, actual),
        ]),
  );
}

function tokenElement(
  id: number,
  piece: string,
  position: number,
  prompt: number,
  difference: number | null,
): HTMLElement {
  const kind = position === difference ? "token different" : position >= prompt ? "token step" : "token";
  const label = `position ${position}, token ${id}${position === difference ? ", the first that differs" : ""}`;
  return h(
    "li",
    { class: kind, title: label },
    h("bdi", {}, piece === "" ? "\u2423" : piece.replaceAll(" ", "\u2423")),
    h("span", { class: "id" }, String(id)),
  );
}

export function logitsSection({ report: { logits } }: State): HTMLElement | null {
  if (logits.length === 0) return null;
  type Choice = Report["logits"][number]["expected"][number];
  const words = (choices: readonly Choice[]) =>
    h(
      "ol",
      { class: "choices" },
      ...choices
        .slice(0, SHOWN)
        .map(({ piece, probability }) => h("li", {}, h("bdi", {}, piece), ` ${percent(numeric(probability))}`)),
    );
  const rows = logits.map(({ position, after, kl, expected, actual }) => {
    const isSame = expected[0]?.id === actual[0]?.id;
    return [
      h("span", {}, `${position} `, h("bdi", {}, after)),
      isSame ? "same" : h("strong", {}, "differs"),
      words(expected),
      words(actual),
      shown(kl),
    ];
  });
  return section(
    "logits",
    "What comes next",
    "The likeliest next tokens after each position, on both sides, and how far their distributions are apart.",
    dataTable("Likeliest next tokens", ["after", "first choice", "reference", "judged", "KL, nats"], rows, [4]),
  );
}

/** Tokens of a side that are shown. */
const SHOWN = 3;

const percent = (share: number) =>
  Number.isNaN(share) ? "not finite" : share < 1e-3 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;

/** Parts that are tables, curves and lines. */
export function moreSections({ report: { sections } }: State): HTMLElement[] {
  return sections.map(({ id, title, intro, lines: said, tables, curves }) =>
    section(
      id,
      title,
      intro,
      ...(said.length === 0 ? [] : [h("ul", {}, ...said.map((line) => h("li", {}, line)))]),
      h(
        "div",
        { class: "curves" },
        ...curves.map(({ label, points, ...axes }) =>
          chart(label, (width) =>
            lines(
              width,
              points.map((point) => ({ ...point, y: numeric(point.y), isBad: typeof point.y === "string" })),
              axes,
            ),
          ),
        ),
      ),
      ...tables.map(({ caption, columns, rows, mark }) =>
        dataTable(
          caption,
          columns.map((column) => column.title || "note"),
          rows,
          columns.flatMap(({ isNumber }, i) => (isNumber ? [i] : [])),
          mark,
        ),
      ),
    ),
  );
}
