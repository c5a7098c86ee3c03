/** An op's detail in the words of its axes. */
import type { DetailedOp } from "../../compare/details.ts";
import type { Trace } from "../../trace/reader.ts";
import { elementPlace, placeWords } from "../element-place.ts";
import type { Detail } from "./schema.ts";
import { figure, worded } from "./wording.ts";

export function detailOf(
  { step, posStart, dims, shape, detail }: DetailedOp,
  { manifest }: Trace,
): Omit<Detail, "step" | "tap"> {
  const { grid, heads, histogram, worst, sample } = detail;
  const hasHeads = grid.rows.some(({ outer }) => outer > 0);
  const range = (first: number, last: number) => (first === last ? `${first}` : `${first}-${last}`);
  const [tokens, columns] = [shape.at(-2) ?? 1, shape.at(-1) ?? 1];
  return {
    grid: {
      rows: grid.rows.map(
        ({ outer, first, last }) => `${hasHeads ? `head ${outer}, ` : ""}${range(posStart + first, posStart + last)}`,
      ),
      columns: grid.columns.map(({ first, last }) => range(first, last)),
      values: grid.values.map((row) => row.map(figure)),
    },
    heads: heads.map(figure),
    histogram: {
      edges: [...histogram.edges],
      below: [...histogram.below],
      above: [...histogram.above],
      equal: histogram.equal,
    },
    worst: worst.map(({ outer, token, column, expected, actual }) => ({
      place: worded(
        placeWords(
          elementPlace({ step, posStart, dims, shape }, (outer * tokens + token) * columns + column, manifest),
        ),
      ),
      expected: figure(expected),
      actual: figure(actual),
    })),
    sample: sample.map(([e, a]) => [rounded(e), rounded(a)]),
  };
}

const rounded = (value: number) => Number(value.toPrecision(4));
