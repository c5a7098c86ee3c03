/** Error, RMS and largest value through the network. */
import type { Figure, ReportOp } from "../report/document/schema.ts";
import { chart, lines, type Point } from "./charts.ts";
import { choice, h, section } from "./dom.ts";
import { numeric } from "./figures.ts";
import type { State } from "./state.ts";

export function curvesSection(state: State): HTMLElement | null {
  const { report } = state;
  const names = report.columns;
  if (names.length === 0) return null;
  let [name, step] = [names.includes("output") ? "output" : (names.at(-1) ?? ""), String(state.chosen.step)];
  const place = h("div", { class: "curves" });
  const draw = () => place.replaceChildren(...curvesOf(state, name, Number(step)));
  draw();
  return section(
    "curves",
    "Through the network",
    "One tap in every layer: its error beside what it is allowed, and the size of both sides' values.",
    h(
      "div",
      { class: "bar" },
      choice(
        "tap",
        names.map((each) => [each, each] as const),
        name,
        (value) => {
          name = value;
          draw();
        },
      ),
      choice(
        "step",
        report.steps.map(({ label }, i) => [String(i), label] as const),
        step,
        (value) => {
          step = value;
          draw();
        },
      ),
    ),
    place,
  );
}

type Series = readonly [name: string, of: (op: ReportOp) => Figure];

const CURVES: readonly { readonly label: string; readonly y: string; readonly series: readonly Series[] }[] = [
  {
    label: "Error of the tap, and what is allowed",
    y: "relL2",
    series: [
      ["measured", (op) => op.measured],
      ["allowed", (op) => op.allowed],
    ],
  },
  {
    label: "RMS of its values",
    y: "RMS",
    series: [
      ["reference", (op) => op.expected?.rms ?? null],
      ["judged", (op) => op.actual?.rms ?? null],
    ],
  },
  {
    label: "Largest magnitude",
    y: "max |x|",
    series: [
      ["reference", (op) => op.expected?.maxAbs ?? null],
      ["judged", (op) => op.actual?.maxAbs ?? null],
    ],
  },
];

function curvesOf(state: State, name: string, step: number): HTMLElement[] {
  const taps = state.report.taps.flatMap((tap, index) =>
    tap.column === name && tap.layer !== null ? [{ index, layer: tap.layer }] : [],
  );
  return CURVES.flatMap(({ label, y, series }) => {
    const all: Point[] = series.flatMap(([text, of]) =>
      taps.map(({ index, layer }) => {
        const op = state.op({ step, tap: index });
        const value = op === undefined ? null : of(op);
        const isBad = typeof value === "string";
        return { x: layer, y: numeric(value), series: text, name: state.tap(index).name, isBad };
      }),
    );
    // A side that there is not has no points, a curve without points no place.
    const points = all.filter((point) =>
      all.some(({ series: own, y: value, isBad }) => own === point.series && (value > 0 || isBad)),
    );
    return points.length === 0 ? [] : [chart(label, (width) => lines(width, points, { x: "layer", y }))];
  });
}
