/** Charts by Observable Plot, drawn to the width they have, with a label that says what is in them. */
import * as Plot from "@observablehq/plot";
import { h } from "./dom.ts";
import { power } from "./figures.ts";

/** A chart with its caption, drawn again when its place changes its width. */
export function chart(label: string, draw: (width: number) => Element): HTMLElement {
  const place = h("figure");
  let drawn = 0;
  const fit = () => {
    const width = Math.floor(place.clientWidth);
    if (width === 0 || width === drawn) return;
    drawn = width;
    const drawing = draw(width);
    // A picture with one name: the parts' names of the library belong to no role.
    for (const part of drawing.querySelectorAll("g[aria-label]")) part.removeAttribute("aria-label");
    const svgs = drawing instanceof SVGSVGElement ? [drawing] : drawing.querySelectorAll<SVGSVGElement>("svg");
    for (const svg of svgs) {
      if (svg.getAttribute("aria-hidden") === "true") continue;
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", label);
    }
    place.replaceChildren(drawing, h("figcaption", {}, label));
  };
  new ResizeObserver(fit).observe(place);
  return place;
}

/** Cells of a matrix, light to dark by powers of ten. */
export function cells(
  width: number,
  grid: {
    readonly rows: readonly string[];
    readonly columns: readonly string[];
    readonly values: readonly (readonly number[])[];
  },
  axes: { readonly rows: string; readonly columns: string },
): Element {
  const data = grid.values.flatMap((row, r) => row.map((value, c) => ({ row: r, column: c, value })));
  const at = (labels: readonly string[]) => (i: number) => labels[i] ?? "";
  const every = (count: number, most: number) => {
    const stride = Math.ceil(count / most);
    return Array.from({ length: Math.ceil(count / stride) }, (_, i) => i * stride);
  };
  const positive = data.map(({ value }) => value).filter((value) => value > 0 && Number.isFinite(value));
  const most = Math.max(...positive, Number.MIN_VALUE);
  return Plot.plot({
    ...{
      width,
      height: Math.max(120, Math.min(420, 60 + 12 * grid.rows.length)),
      marginLeft: 90,
      marginBottom: 40,
      padding: 0,
    },
    style: { background: "transparent" },
    x: {
      label: axes.columns,
      ticks: every(grid.columns.length, Math.max(2, Math.floor(width / 90))),
      tickFormat: at(grid.columns),
    },
    y: { label: axes.rows, ticks: every(grid.rows.length, 12), tickFormat: at(grid.rows) },
    color: {
      type: "log",
      domain: [Math.max(most / 1e6, Math.min(...positive, most)), most],
      scheme: "YlOrRd",
      legend: true,
      label: "difference / RMS of the expected",
      tickFormat: power,
    },
    marks: [
      Plot.cell(
        data.filter(({ value }) => !Number.isFinite(value)),
        {
          x: "column",
          y: "row",
          fill: "var(--ink)",
          title: ({ row, column }: { row: number; column: number }) =>
            `${axes.rows} ${grid.rows[row]}, ${axes.columns} ${grid.columns[column]}: NaN or Inf`,
        },
      ),
      Plot.cell(
        data.filter(({ value }) => Number.isFinite(value)),
        {
          x: "column",
          y: "row",
          fill: ({ value }: { value: number }) => (value > 0 ? value : Number.NaN),
          title: ({ row, column, value }: { row: number; column: number; value: number }) =>
            `${axes.rows} ${grid.rows[row]}, ${axes.columns} ${grid.columns[column]}: ${value.toPrecision(3)}`,
        },
      ),
    ],
  });
}

/** How many elements are off by how much. */
export function histogram(
  width: number,
  bins: readonly { readonly edge: number; readonly count: number; readonly side: string }[],
): Element {
  return Plot.plot({
    ...{ width, height: 200, marginLeft: 60 },
    style: { background: "transparent" },
    x: { label: "difference / RMS of the expected, as a power of ten" },
    // From 0 to at least 1: bars of no elements would fill a scale without extent.
    y: { label: "elements", grid: true, domain: [0, Math.max(1, ...bins.map(({ count }) => count))] },
    color: {
      legend: true,
      domain: ["below the expected", "above the expected"],
      range: ["var(--line-1)", "var(--line-2)"],
    },
    marks: [
      Plot.rectY(bins, {
        x1: "edge",
        x2: ({ edge }: { edge: number }) => edge + 0.5,
        y: "count",
        fill: "side",
        inset: 0.5,
      }),
      Plot.ruleY([0]),
    ],
  });
}

/** Actual over expected; what is right lies on the line. */
export function scatter(width: number, sample: readonly (readonly [number, number])[]): Element {
  const side = Math.min(width, 320);
  return Plot.plot({
    ...{ width: side, height: side, marginLeft: 55, grid: true },
    style: { background: "transparent" },
    x: { label: "expected" },
    y: { label: "actual" },
    marks: [
      Plot.line(ends(sample), { stroke: "var(--muted)" }),
      Plot.dot(sample, { x: "0", y: "1", r: 1.8, fill: "var(--line-2)", fillOpacity: 0.6, stroke: "none" }),
    ],
  });
}

function ends(sample: readonly (readonly [number, number])[]): [number, number][] {
  const all = sample.map(([expected]) => expected);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  return [
    [least, least],
    [most, most],
  ];
}
