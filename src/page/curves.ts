/** Error, RMS and largest value through the network, of every trace that took part, in the step of the op that is chosen. */
import type { Figure, ReportOp } from "../report/document/schema.ts";
import { chart } from "./charts.ts";
import { choice, h, section } from "./dom.ts";
import { numeric } from "./figures.ts";
import { lines, type Point } from "./lines.ts";
import type { State } from "./state.ts";

export function curvesSection(state: State): HTMLElement | null {
  const { report } = state;
  const names = report.columns;
  if (names.length === 0) return null;
  let [name, step] = [names.includes("output") ? "output" : (names.at(-1) ?? ""), state.chosen.step];
  const place = h("div", { class: "curves" });
  const draw = () => place.replaceChildren(...curvesOf(state, name, step));
  draw();
  const taps = choice(
    "tap",
    names.map((each) => [each, each] as const),
    name,
    (value) => {
      name = value;
      draw();
    },
  );
  const steps = choice(
    "step",
    report.steps.map(({ label }, i) => [String(i), label] as const),
    String(step),
    (value) => {
      step = Number(value);
      draw();
    },
  );
  state.whenChosen((chosen) => {
    if (chosen.step === step) return;
    step = chosen.step;
    const select = steps.querySelector("select");
    if (select !== null) select.value = String(step);
    draw();
  });
  return section(
    "curves",
    "Through the network",
    "One tap in every layer: its error beside what it is allowed, and the size of its values in every trace. The step is that of the op chosen in the map.",
    h("div", { class: "bar" }, taps, steps),
    place,
  );
}

type Series = readonly [name: string, of: (op: ReportOp) => Figure];

/** The same series looks the same in every drawing. */
const ORDER = ["reference", "judged", "envelope", "allowed"];

const CURVES: readonly { readonly label: string; readonly y: string; readonly series: readonly Series[] }[] = [
  {
    label: "Error of the tap beside the reference, and what is allowed",
    y: "relL2",
    series: [
      ["judged", (op) => op.measured],
      ["envelope", (op) => op.envelope?.measured ?? null],
      ["allowed", (op) => op.allowed],
    ],
  },
  {
    label: "RMS of its values",
    y: "RMS",
    series: [
      ["reference", (op) => op.expected?.rms ?? null],
      ["judged", (op) => op.actual?.rms ?? null],
      ["envelope", (op) => op.envelope?.rms ?? null],
    ],
  },
  {
    label: "Largest magnitude",
    y: "max |x|",
    series: [
      ["reference", (op) => op.expected?.maxAbs ?? null],
      ["judged", (op) => op.actual?.maxAbs ?? null],
      ["envelope", (op) => op.envelope?.maxAbs ?? null],
    ],
  },
];

function curvesOf(state: State, name: string, step: number): HTMLElement[] {
  const taps = state.report.taps.flatMap((tap, index) =>
    tap.column === name && tap.layer !== null ? [{ index, layer: tap.layer }] : [],
  );
  const { label: at = "" } = state.report.steps[step] ?? {};
  const found = CURVES.flatMap(({ label, y, series }) => {
    const all: Point[] = series.flatMap(([text, of]) =>
      taps.map(({ index, layer }) => {
        const op = state.op({ step, tap: index });
        const value = op === undefined ? null : of(op);
        const isBad = typeof value === "string";
        return { x: layer, y: numeric(value), series: text, name: state.tap(index).name, isBad };
      }),
    );
    // A trace that there is not has no points, a curve without points no place.
    const points = all.filter((point) =>
      all.some(({ series: own, y: value, isBad }) => own === point.series && (value > 0 || isBad)),
    );
    const title = `${label}; ${name}, ${at}`;
    return points.length === 0 ? [] : [chart(title, (width) => lines(width, points, { x: "layer", y }, ORDER))];
  });
  return found.length > 0 ? found : [h("p", {}, `Nothing is known of ${name} in ${at}.`)];
}
