/** The map: layers by ops, each cell an op's error as a share of what it is allowed. A grid that arrow keys walk. */
import { choice, h, section } from "./dom.ts";
import { levelOf, MEASURES, type Measure, shown, UNKNOWN } from "./figures.ts";
import { type State, signOf } from "./state.ts";

const WORST = "worst";

interface Row {
  readonly label: string;
  /** Tap of each column; null where there is none. */
  readonly taps: readonly (number | null)[];
}

/** What the map is set to. */
interface View {
  readonly step: string;
  readonly measure: Measure;
}

export function mapSection(state: State): HTMLElement {
  const { report } = state;
  const { before, layers, after } = rowsOf(state);
  const names = measuresOf(state);
  let [step, name] = [WORST, names[0] ?? "budget"];
  const [intro, key, place] = [h("p", { class: "intro" }), h("div"), h("div", { class: "wide" })];
  const draw = () => {
    const view = { step, measure: MEASURES[name] };
    intro.textContent = `Each cell is one op: ${view.measure.intro}. Choose one to look into it; arrow keys move.`;
    key.replaceChildren(legend(view.measure, report.sides.expected !== null));
    const left = report.columns.length - MOST_COLUMNS;
    place.replaceChildren(
      left > 0 ? h("p", {}, `${left} more names of taps are not drawn.`) : "",
      strip(state, before, view, "before the layers"),
      gridElement(state, layers, view),
      strip(state, after, view, "after the layers"),
    );
    mark(place, state);
  };
  const steps = [
    [WORST, "worst of all steps"] as const,
    ...report.steps.map(({ label }, i) => [String(i), label] as const),
  ];
  const measures = names.map((each) => [each, MEASURES[each].label] as const);
  const result = section(
    "map",
    report.sides.expected === null ? "Op by op" : "Where it differs",
    "",
    intro,
    h(
      "div",
      { class: "bar" },
      choice("show", measures, name, (value) => {
        name = value as keyof typeof MEASURES;
        draw();
      }),
      choice("step", steps, step, (value) => {
        step = value;
        draw();
      }),
    ),
    key,
    place,
  );
  walk(place);
  draw();
  state.whenChosen(() => mark(place, state));
  return result;
}

/** What is known of any op: errors where there is a reference, own errors where there was an audit. */
function measuresOf({ report }: State): (keyof typeof MEASURES)[] {
  const names = Object.keys(MEASURES) as (keyof typeof MEASURES)[];
  return names.filter((name) => report.ops.some((op) => MEASURES[name].of(op) !== null));
}

/** Columns that are drawn; more are no model's, and would take a browser minutes. */
const MOST_COLUMNS = 200;

function gridElement(state: State, layers: readonly Row[], view: View): HTMLElement {
  const titles = state.report.columns
    .slice(0, MOST_COLUMNS)
    .map((name) => h("th", { scope: "col", class: "slanted" }, h("span", {}, name)));
  return h(
    "table",
    { class: "map", role: "grid", "aria-label": `Every op: ${view.measure.label}` },
    h("thead", {}, h("tr", { role: "row" }, h("th", { scope: "col" }, "layer"), ...titles)),
    h("tbody", {}, ...layers.map((row) => rowElement(state, row, view))),
  );
}

/** Taps outside the layers, in order, and rows of the layers. */
function rowsOf({ report }: State): { before: number[]; layers: Row[]; after: number[] } {
  const [before, after]: [number[], number[]] = [[], []];
  const columns = new Map(report.columns.map((name, i) => [name, i]));
  const layers = new Map<number, (number | null)[]>();
  for (const [index, tap] of report.taps.entries()) {
    if (tap.layer === null) {
      if (!tap.name.startsWith("weight:")) (layers.size === 0 ? before : after).push(index);
      continue;
    }
    const row = layers.get(tap.layer) ?? report.columns.map(() => null);
    row[columns.get(tap.column) ?? 0] = index;
    layers.set(tap.layer, row);
  }
  const rows = [...layers].sort(([a], [b]) => a - b).map(([layer, taps]) => ({ label: String(layer), taps }));
  return { before, layers: rows, after };
}

function rowElement(state: State, { label, taps }: Row, view: View): HTMLElement {
  return h(
    "tr",
    { role: "row" },
    h("th", { scope: "row" }, label),
    ...taps
      .slice(0, MOST_COLUMNS)
      .map((tap) => h("td", { role: "gridcell" }, tap === null ? "" : cell(state, tap, view))),
  );
}

function strip(state: State, taps: readonly number[], view: View, label: string): HTMLElement {
  return h(
    "div",
    { class: "strip", role: "group", "aria-label": label },
    ...taps.map((tap) => h("span", {}, state.tap(tap).name, " ", cell(state, tap, view))),
  );
}

function cell(state: State, tap: number, { step, measure }: View): HTMLElement {
  const op = step === WORST ? state.worst(tap, measure.of) : state.op({ step: Number(step), tap });
  const { sign, text } = signOf(op);
  const value = op === undefined ? null : measure.of(op);
  const label = `${state.tap(tap).name}: ${text}${value === null ? "" : `, ${measure.label} ${shown(value)}`}`;
  return h(
    "button",
    {
      type: "button",
      class: `cell ${levelOf(value, measure).name}`,
      tabindex: -1,
      "data-tap": tap,
      title: label,
      "aria-label": label,
      click: () => state.choose({ step: op?.step ?? Number(step === WORST ? 0 : step), tap }),
    },
    sign,
  );
}

/** One stop for the Tab key; arrows, Home and End go on from there, by where cells stand. */
function walk(place: HTMLElement): void {
  const rows = () =>
    [...place.querySelectorAll(".strip, tbody tr")]
      .map((row) => [...row.querySelectorAll<HTMLElement>("button.cell")])
      .filter((row) => row.length > 0);
  place.onkeydown = (event) => {
    const all = rows();
    const r = all.findIndex((row) => row.includes(event.target as HTMLElement));
    const row = all[r];
    if (row === undefined) return;
    const c = row.indexOf(event.target as HTMLElement);
    const targets: Readonly<Record<string, HTMLElement | undefined>> = {
      ArrowLeft: row[c - 1],
      ArrowRight: row[c + 1],
      ArrowUp: all[r - 1]?.[Math.min(c, (all[r - 1]?.length ?? 1) - 1)],
      ArrowDown: all[r + 1]?.[Math.min(c, (all[r + 1]?.length ?? 1) - 1)],
      Home: row[0],
      End: row.at(-1),
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    targets[event.key]?.focus();
    targets[event.key]?.click();
  };
}

function mark(place: HTMLElement, { chosen }: State): void {
  const cells = [...place.querySelectorAll<HTMLElement>("button.cell")];
  const current = cells.find((each) => each.dataset.tap === String(chosen.tap)) ?? cells[0];
  for (const each of cells) {
    each.tabIndex = each === current ? 0 : -1;
    each.classList.toggle("chosen", each.dataset.tap === String(chosen.tap));
    if (each.dataset.tap === String(chosen.tap)) each.setAttribute("aria-current", "true");
    else each.removeAttribute("aria-current");
  }
}

function legend({ levels }: Measure, isCompared: boolean): HTMLElement {
  const own = [["\u2715", "wrong by itself"]] as const;
  const compared = [
    ["\u25cf", "first to differ"],
    ["!", "differs"],
    ["N", "NaN or Inf begin"],
    ["n", "NaN or Inf, as what feeds it"],
    ["~", "after other tokens, not judged"],
  ] as const;
  return h(
    "ul",
    { class: "legend", "aria-label": "Legend" },
    ...[...levels.map(([, level]) => level), UNKNOWN].map(({ name, text }) =>
      h("li", {}, h("span", { class: `cell ${name}`, "aria-hidden": "true" }), text),
    ),
    ...[...own, ...(isCompared ? compared : [])].map(([sign, text]) =>
      h("li", {}, h("span", { class: "cell l0 plain", "aria-hidden": "true" }, sign), text),
    ),
  );
}
