/** Which base a rotation was made with. */
import { ropeTable } from "../../model/rope.ts";
import type { OpCase } from "../op-case.ts";
import type { Matrix } from "../ops.ts";
import type { Prediction, Seen } from "./hypothesis.ts";
import { brief, distance, evaluated, input, rowOf, spread } from "./values.ts";

/** Of published models. */
const USUAL = [1e4, 5e4, 1e5, 1.5e5, 2e5, 2.5e5, 5e5, 1e6, 1.6e6, 5e6, 1e7, 1e8];
/** Bases tried where none of the usual explains enough, evenly on a logarithmic scale from 10 to 1e9. */
const GRID = Array.from({ length: 801 }, (_, i) => 10 ** (1 + i / 100));
/** Rows that bases are tried on. */
const ROWS = 8;
/** A base explains something where it leaves less than this part of the error. */
const EXPLAINS = 0.5;

const withBase = (op: OpCase, base: number): Matrix =>
  evaluated(op, {
    context: ropeTable({ ...op.model.parameters.rope, base }, op.context.posStart, op.context.tokens.length),
  });

const named = (op: OpCase, base: number): Prediction => ({
  output: withBase(op, base),
  parameter: `base ${brief(base)}`,
});

/** Rotations with another base. With the actual output only the base that explains it best; without it the usual ones. */
export function otherBase(op: OpCase, { expected, actual }: Seen): readonly Prediction[] {
  const own = op.model.parameters.rope.base;
  if (actual === null) return USUAL.filter((base) => base !== own).map((base) => named(op, base));
  const away = distanceOn(op, actual);
  const wrong = away(own);
  const best = (bases: readonly number[]) => bases.reduce((a, b) => (away(b) < away(a) ? b : a));
  const found = refined(best([...USUAL, ...GRID]), away);
  const short = [...USUAL, Number(found.toPrecision(2))].find((base) => away(base) <= 1.5 * away(found));
  const base = short ?? found;
  // The base that an exponent of i/d comes to is `rope.frequency-exponent`.
  if (Math.abs(base / Math.sqrt(own) - 1) < 1e-6) return [];
  return base !== own && away(base) < EXPLAINS * wrong && distance(expected.data, actual.data) > 0
    ? [named(op, base)]
    : [];
}

/** The distance that a base leaves, on some rows; what is turned little tells small bases, what is turned far large ones. */
function distanceOn(op: OpCase, actual: Matrix): (base: number) => number {
  const x = input(op, 0);
  const { rope } = op.model.parameters;
  const pairs = rope.dimensions / 2;
  const rows = spread(x.rows, ROWS);
  const known = new Map<number, number>();
  const measure = (base: number) => {
    const { posStart } = op.context;
    let sum = 0;
    for (const row of rows) {
      const { cos, sin } = ropeTable({ ...rope, base }, posStart + row, 1);
      const [from, to] = [rowOf(x, row), rowOf(actual, row)];
      for (let i = 0; i < from.length; i += 2) {
        const pair = (i / 2) % pairs;
        const [c, s] = [cos[pair] as number, sin[pair] as number];
        const [a, b] = [from[i] as number, from[i + 1] as number];
        sum += (a * c - b * s - (to[i] as number)) ** 2 + (a * s + b * c - (to[i + 1] as number)) ** 2;
      }
    }
    return Math.sqrt(sum);
  };
  return (base) => {
    const distance = known.get(base) ?? measure(base);
    known.set(base, distance);
    return distance;
  };
}

/** Golden-section search of the logarithm, within one step of the grid on both sides. */
function refined(start: number, away: (base: number) => number): number {
  const golden = (Math.sqrt(5) - 1) / 2;
  let [low, high] = [Math.log(start) - Math.LN10 / 100, Math.log(start) + Math.LN10 / 100];
  for (let i = 0; i < 60; i++) {
    const [a, b] = [high - golden * (high - low), low + golden * (high - low)];
    if (away(Math.exp(a)) < away(Math.exp(b))) high = b;
    else low = a;
  }
  const end = Math.exp((low + high) / 2);
  return away(end) < away(start) ? end : start;
}
