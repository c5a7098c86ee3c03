/** One op, looked into: what it is, how it fared, both sides' statistics, and the shape of its difference. */
import type { Detail, Report, ReportOp, SideStatistics } from "../report/document/schema.ts";
import { cells, chart, histogram, scatter } from "./charts.ts";
import { choice, dataTable, h, section } from "./dom.ts";
import { numeric, shown } from "./figures.ts";
import { type Chosen, type State, signOf } from "./state.ts";

export function opSection(state: State): HTMLElement {
  const place = h("div", {});
  const result = section("op", "One op", "What is known of the op that is chosen in the map.", place);
  state.whenChosen((chosen) => place.replaceChildren(...opElements(state, chosen)));
  return result;
}

function opElements(state: State, chosen: Chosen): HTMLElement[] {
  const { report } = state;
  const tap = state.tap(chosen.tap);
  const op = state.op(chosen);
  const detail = state.detail(chosen);
  const steps = report.steps.map(({ label }, step) => [String(step), label] as const);
  const findings = state.findingsAt(chosen);
  return [
    h("h3", { "aria-live": "polite" }, tap.name, h("span", { class: "muted" }, ` ${tap.kind} \u00b7 ${tap.dims}`)),
    h(
      "div",
      { class: "bar" },
      choice("step", steps, String(chosen.step), (value) => state.choose({ ...chosen, step: Number(value) })),
      ...linksOf(state, chosen, tap.inputs),
    ),
    ...findings.map(({ sentence, proof, side }) =>
      h(
        "div",
        { class: "finding" },
        h("strong", {}, side === "expected" ? `in the reference: ${sentence}` : sentence),
        proof === null ? null : h("p", {}, proof),
      ),
    ),
    op === undefined ? h("p", {}, "Not recorded in this step.") : verdictOf(op),
    ...(op === undefined ? [] : statisticsOf(op, report.sides)),
    ...(detail === undefined
      ? [
          h(
            "p",
            { class: "muted" },
            report.details.length === 0
              ? "The traces hold no values of both sides, so there is no closer look."
              : "Its values are not in this report: they are kept for what is accused, what feeds it, and each layer's output.",
          ),
        ]
      : detailOf(detail)),
  ];
}

function linksOf(state: State, { step }: Chosen, inputs: readonly string[]): HTMLElement[] {
  if (inputs.length === 0) return [];
  const links = inputs.map((name) => {
    const index = state.tapNamed(name);
    if (index === null) return h("code", {}, name);
    return h("button", { type: "button", class: "link", click: () => state.choose({ step, tap: index }) }, name);
  });
  return [h("span", {}, "fed by ", ...links.flatMap((link, i) => (i === 0 ? [link] : [", ", link])))];
}

/** What a distance is worth that does not come from values. */
const BOUNDS: Readonly<Record<string, string>> = { statistics: "at least ", sketch: "about " };

function verdictOf(op: ReportOp): HTMLElement {
  const { own, parts, verdict, evidence } = op;
  const by = evidence === "" ? "" : ` (by ${evidence})`;
  const lines: (readonly [label: string, value: string])[] = [];
  if (verdict !== "not-compared") {
    const { text } = signOf(op);
    const bound = BOUNDS[evidence] ?? "";
    lines.push([
      "beside the reference",
      `${text}: relL2 ${bound}${shown(op.measured)}, allowed ${shown(op.allowed)}${by}`,
    ]);
  }
  if (own !== null) {
    const figures =
      own.notFinite > 0
        ? `${own.verdict}: ${own.notFinite} elements are not finite without a reason`
        : `${own.verdict}: relL2 ${shown(own.relL2)}, ${shown(own.ofWorst)} of the rigorous bound`;
    lines.push(["by itself", own.reason ?? figures]);
  }
  if (parts !== null) {
    const { total, inherited, added, cancelled } = parts;
    const rest = `${shown(inherited)} through its inputs, ${shown(added)} added, ${shown(cancelled)} cancelled`;
    lines.push(["its error", `${shown(total)} in all: ${rest}`]);
  }
  return h("dl", { class: "facts" }, ...lines.flatMap(([label, value]) => [h("dt", {}, label), h("dd", {}, value)]));
}

const STATISTICS: readonly (readonly [label: string, key: keyof SideStatistics])[] = [
  ["RMS", "rms"],
  ["mean", "mean"],
  ["min", "min"],
  ["max", "max"],
  ["max |x|", "maxAbs"],
  ["zeros", "zeros"],
  ["NaN", "nan"],
  ["Inf", "inf"],
  ["elements", "count"],
];

function statisticsOf({ expected, actual }: ReportOp, sides: Report["sides"]): HTMLElement[] {
  const row = (side: SideStatistics | null) => STATISTICS.map(([, key]) => (side === null ? "" : shown(side[key])));
  const rows = [
    ...(expected === null ? [] : [[h("span", { title: sides.expected }, "reference"), ...row(expected)]]),
    [h("span", { title: sides.actual }, "judged"), ...row(actual)],
  ];
  return [
    dataTable(
      expected === null ? "Statistics" : "Statistics of both sides",
      ["side", ...STATISTICS.map(([label]) => label)],
      rows,
      STATISTICS.map((_, i) => i + 1),
    ),
  ];
}

function detailOf({ grid, heads, histogram: bins, worst, sample }: Detail): HTMLElement[] {
  const values = grid.values.map((row) => row.map(numeric));
  const off = bins.edges.flatMap((edge, i) => [
    { edge, count: bins.below[i] ?? 0, side: "below the expected" },
    { edge, count: bins.above[i] ?? 0, side: "above the expected" },
  ]);
  const headRows = heads.map((error, head) => [String(head), shown(error)]);
  return [
    chart("Where the difference lies: tokens by columns", (width) =>
      cells(width, { ...grid, values }, { rows: "position", columns: "column" }),
    ),
    h(
      "div",
      { class: "pair" },
      chart(`How much elements are off; ${bins.equal} are equal`, (width) => histogram(width, off)),
      chart("Actual over expected", (width) => scatter(width, sample)),
    ),
    ...(headRows.length === 0
      ? []
      : [
          h(
            "details",
            {},
            h("summary", {}, `relL2 of each of ${headRows.length} heads`),
            dataTable("relL2 by head", ["head", "relL2"], headRows, [1]),
          ),
        ]),
    ...(worst.length === 0
      ? []
      : [
          dataTable(
            "Largest differences",
            ["place", "expected", "actual"],
            worst.map((each) => [each.place, shown(each.expected), shown(each.actual)]),
            [1, 2],
          ),
        ]),
  ];
}
