/** Lines over the depth of the network: each series with a colour, dashes, a mark and its name at the end, so that no sign is the only one. */
import * as Plot from "@observablehq/plot";
import { drawn, h } from "./dom.ts";
import { power } from "./figures.ts";

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly series: string;
  readonly name: string;
  /** True for NaN and Inf, which have no place on the scale; false where nothing is known. */
  readonly isBad?: boolean;
}

interface Style {
  readonly colour: string;
  readonly dashes: string;
  readonly mark: (typeof MARKS)[number];
}

const DASHES = ["1 0", "6 4", "2 3", "9 3 2 3", "14 4", "1 5"];
const MARKS = [
  { symbol: "circle", sign: "\u25cf" },
  { symbol: "square", sign: "\u25a0" },
  { symbol: "triangle", sign: "\u25b2" },
  { symbol: "diamond", sign: "\u25c6" },
  { symbol: "cross", sign: "\u271a" },
  { symbol: "star", sign: "\u2605" },
] as const;

/** Style of a number; beyond six, colours return with other marks. */
function styleOf(number: number): Style {
  const mark = MARKS[(number + Math.floor(number / MARKS.length)) % MARKS.length] ?? MARKS[0];
  return { colour: `var(--line-${(number % 6) + 1})`, dashes: DASHES[number % DASHES.length] ?? "1 0", mark };
}

/** Room of names at the right, and characters that have room in it; the key has them whole. */
const [ROOM, CHARACTERS] = [104, 13];
const HEIGHT = 260;

/**
 * A drawing and its key. Scales go by powers of ten where sizes span more than ten; what is not finite (or then 0) leaves a gap.
 * `order`: names of series by the number of their style, for the same look in several drawings; those not in it come after.
 */
export function lines(
  width: number,
  points: readonly Point[],
  axes: { readonly x: string; readonly y: string },
  order: readonly string[] = [],
): Element {
  const finite = points.map(({ y }) => y).filter(Number.isFinite);
  const positive = finite.filter((y) => y > 0);
  const isLog = positive.length > 0 && !finite.some((y) => y < 0) && Math.max(...positive) > 10 * Math.min(...positive);
  const placed = points.map((point) => ({
    ...point,
    y: Number.isFinite(point.y) && (!isLog || point.y > 0) ? point.y : Number.NaN,
  }));
  const names = [...new Set([...order, ...points.map((point) => point.series)])];
  const series = names.flatMap((name, number) => {
    const own = placed.filter((point) => point.series === name);
    return own.length === 0 ? [] : [{ name, own, style: styleOf(number) }];
  });
  const plot = Plot.plot({
    ...{ width, height: HEIGHT, marginLeft: 75, marginRight: ROOM },
    style: { background: "transparent" },
    x: { label: axes.x, tickFormat: (x: number) => (Number.isInteger(x) ? String(x) : "") },
    y: isLog
      ? { type: "log", label: axes.y, grid: true, tickFormat: power }
      : { label: axes.y, grid: true, tickFormat: (y: number) => String(Number(y.toPrecision(4))) },
    marks: [
      ...series.flatMap(({ own, style }) => [
        Plot.line(own, { x: "x", y: "y", stroke: style.colour, strokeDasharray: style.dashes, strokeWidth: 1.8 }),
        Plot.dot(own, { x: "x", y: "y", fill: style.colour, symbol: style.mark.symbol, r: 3 }),
      ]),
      Plot.text(
        points.filter(({ isBad }) => isBad),
        {
          x: "x",
          frameAnchor: "top",
          text: () => "N",
          fill: "var(--bad)",
          title: ({ name, series: of }: Point) => `${name}: ${of} is NaN or Inf`,
        },
      ),
      Plot.tip(
        placed,
        Plot.pointerX({
          x: "x",
          y: "y",
          title: ({ name, series: of, y }: Point) => `${name}\n${of}: ${y.toPrecision(4)}`,
        }),
      ),
    ],
  });
  const [x, y] = [plot.scale("x"), plot.scale("y")];
  const ends = series.flatMap(({ name, own, style }) => {
    const last = own.findLast((point) => Number.isFinite(point.y));
    return last === undefined ? [] : [{ name, style, x: x?.apply(last.x) ?? 0, y: y?.apply(last.y) ?? 0 }];
  });
  plot.append(...labels(width, ends));
  const key = series.map(({ name, style }) => h("li", {}, sample(style), name));
  return h("div", {}, plot, h("ul", { class: "key" }, ...key));
}

interface End {
  readonly name: string;
  readonly style: Style;
  readonly x: number;
  readonly y: number;
}

/** Pixels from one name's line to the next. */
const LINE = 13;

/** Names beside the ends of their lines, pushed apart where they would lie on one another. */
function labels(width: number, ends: readonly End[]): SVGElement[] {
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  const least = Math.min(HEIGHT - 30 - LINE * sorted.length, sorted[0]?.y ?? 0);
  let next = Math.max(10, least);
  return sorted.flatMap(({ name, style, x, y }, i) => {
    const place = Math.min(Math.max(next, y), HEIGHT - 30 - LINE * (sorted.length - 1 - i));
    next = place + LINE;
    const at = width - ROOM + 8;
    const text = name.length <= CHARACTERS ? name : `${name.slice(0, CHARACTERS - 1)}\u2026`;
    const leader = { x1: x + 4, y1: y, x2: at - 1, y2: place, stroke: style.colour, "stroke-width": 0.7 };
    const label = drawn("text", {
      x: at,
      y: place,
      dy: "0.35em",
      "text-anchor": "start",
      fill: style.colour,
      class: "end",
    });
    label.textContent = `${style.mark.sign} ${text}`;
    return [drawn("line", leader), label];
  });
}

/** A piece of a series' line with its mark. */
function sample({ colour, dashes, mark }: Style): SVGElement {
  const line = drawn("line", { ...{ x1: 0, y1: 7, x2: 40, y2: 7 }, stroke: colour, "stroke-dasharray": dashes });
  line.setAttribute("stroke-width", "2");
  const sign = drawn("text", { x: 20, y: 7, dy: "0.35em", "text-anchor": "middle", fill: colour, "font-size": 10 });
  sign.textContent = mark.sign;
  const picture = drawn("svg", { width: 40, height: 14, "aria-hidden": "true" });
  picture.append(line, sign);
  return picture;
}
