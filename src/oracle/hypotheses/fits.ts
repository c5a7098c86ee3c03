/**
 * Closed-form fits, for bugs that the catalogue does not know: what the actual output is, said in terms of the expected one. A
 * number that was fitted counts as one element taken from the actual output.
 */
import type { OpCase } from "../op-case.ts";
import type { Matrix } from "../ops.ts";
import { channelOrder, headOrder, reordered } from "./fits-order.ts";
import { family, type Hypothesis, type Prediction, type Seen } from "./hypothesis.ts";
import { equalTaps, lastStep } from "./memory.ts";
import { ALL_KINDS } from "./precision.ts";
import { distance, mapped, nearestFirst, withRows } from "./values.ts";

/**
 * Rounding alone may move all of a row by one factor (a norm's root and division, a scale: docs/numerics.md, within 2 ULP
 * together): factors within 8 u of 1, u = 2^-24, say nothing.
 */
const LEAST_FACTOR = 2 ** -21;
/** Standard errors that a fitted number must be away from what it should be. */
const SIGNIFICANT = 6;
/** A rearrangement explains something where it leaves less than this part of the error. */
const EXPLAINS = 0.5;

type Fit = (op: OpCase, expected: Matrix, actual: Matrix) => readonly Prediction[] | Promise<readonly Prediction[]>;

const known =
  (of: Fit) =>
  (op: OpCase, { expected, actual }: Seen): ReturnType<Fit> =>
    actual === null ? [] : of(op, expected, actual);

/** Least squares of the actual output on the expected one; the standard error is that of independent residuals. */
const scale: Fit = (_op, expected, actual) => {
  let [ee, ea, aa] = [0, 0, 0];
  for (const [i, e] of expected.data.entries()) {
    const a = actual.data[i] as number;
    ee += e * e;
    ea += e * a;
    aa += a * a;
  }
  const factor = ea / ee;
  const error = Math.sqrt(Math.max(0, aa - factor * ea) / ee / Math.max(1, expected.data.length - 1));
  if (factor === 0 || !(Math.abs(factor - 1) > Math.max(SIGNIFICANT * error, LEAST_FACTOR))) return [];
  const parameter = `factor ${Math.abs(factor - 1) < 0.01 ? factor.toPrecision(7) : factor.toPrecision(3)}`;
  return [{ output: mapped(expected, (x) => x * factor), parameter, free: 1 }];
};

const offset: Fit = (_op, expected, actual) => {
  const off = actual.data.map((a, i) => a - (expected.data[i] as number));
  const mean = off.reduce((sum, x) => sum + x, 0) / off.length;
  const error = Math.sqrt(off.reduce((sum, x) => sum + (x - mean) ** 2, 0)) / off.length;
  if (!(Math.abs(mean) > SIGNIFICANT * error)) return [];
  return [{ output: mapped(expected, (x) => x + mean), parameter: `offset ${mean.toPrecision(3)}`, free: 1 }];
};

/** Rearrangements that leave less than half of the error and of the output, the best first. */
function explaining(predictions: readonly Prediction[], expected: Matrix, actual: Matrix): readonly Prediction[] {
  const wrong = distance(actual.data, expected.data);
  const enough = predictions.filter(({ output }) => distance(actual.data, output.data) < EXPLAINS * Math.min(wrong, 1));
  return nearestFirst(enough, { expected, actual });
}

/** Written by columns, or with the axes within a row exchanged. */
const transposed: Fit = (op, expected, actual) => {
  const { rows, columns } = expected;
  const { heads, kvHeads, headDim } = op.model.parameters;
  const inner = op.node.op.dims.includes("kv_head") ? kvHeads : heads;
  const grouped = op.node.op.dims.includes("(") && columns === inner * headDim;
  const flat = (from: (i: number) => number) => mapped(expected, (_, i) => expected.data[from(i)] as number);
  const byColumns = {
    output: flat((i) => (i % rows) * columns + Math.floor(i / rows)),
    parameter: "written by columns",
  };
  const within = (a: number, b: number) => (i: number) => {
    const column = i % columns;
    return i - column + (column % a) * b + Math.floor(column / a);
  };
  // (head token) head_dim for token (head head_dim)
  const headFirst = (i: number) => {
    const [d, row] = [i % headDim, Math.floor(i / headDim)];
    return (row % rows) * columns + Math.floor(row / rows) * headDim + d;
  };
  const tried = [
    byColumns,
    ...(grouped
      ? [
          { output: flat(within(inner, headDim)), parameter: "(head_dim head) for (head head_dim)" },
          { output: flat(within(headDim, inner)), parameter: "read as (head_dim head)" },
          { output: flat(headFirst), parameter: "head token head_dim" },
        ]
      : []),
  ];
  return explaining(tried, expected, actual);
};

const LARGEST_SHIFT = 8;

/** The rows of other tokens; where there is none, the row is taken as it is: of at most half of them. */
const rowsShifted: Fit = (op, expected, actual) => {
  if (!op.node.op.dims.startsWith("token")) return [];
  const { rows, columns } = expected;
  const shifts = Array.from({ length: Math.min(LARGEST_SHIFT, Math.floor(rows / 2)) }, (_, i) => [
    i + 1,
    -i - 1,
  ]).flat();
  const tried = shifts.map((by): Prediction => {
    const moved = withRows(expected, (row) => row - by);
    const output = mapped(moved, (x, i) => {
      const from = Math.floor(i / columns) - by;
      return from < 0 || from >= rows ? (actual.data[i] as number) : x;
    });
    return { output, parameter: `${Math.abs(by)} ${by > 0 ? "down" : "up"}`, free: Math.abs(by) * columns };
  });
  return explaining(tried, expected, actual);
};

const equalsInput: Fit = (op, expected, actual) =>
  op.inputs.flatMap((input, i) =>
    input.data.length === actual.data.length && input.data.every((x, j) => x === actual.data[j])
      ? [{ output: { ...expected, data: input.data }, parameter: op.node.inputs[i]?.tap ?? "" }]
      : [],
  );

export const FITS: readonly Hypothesis[] = family("fit", { kinds: ALL_KINDS } as const, {
  scale: { what: "what it should be, times one number", predict: known(scale) },
  offset: { what: "what it should be, plus one number", predict: known(offset) },
  "channels-permuted": {
    what: "what it should be, columns in another order",
    predict: known((_op, expected, actual) => {
      const from = channelOrder(expected, actual);
      return from === null ? [] : [{ output: reordered(expected, 1, from) }];
    }),
  },
  "heads-permuted": {
    what: "what it should be, heads in another order",
    predict: known((op, expected, actual) => {
      const order = headOrder(op, expected, actual);
      if (order === null) return [];
      const parameter = `heads ${order.from.join(" ")}`;
      return explaining([{ output: order.output, parameter }], expected, actual);
    }),
  },
  transposed: { what: "what it should be, in another order of axes", predict: known(transposed) },
  "rows-shifted": { what: "what it should be, rows moved", predict: known(rowsShifted) },
  "equals-input": { what: "equal to one of its inputs", predict: known(equalsInput) },
  "equals-tap": {
    what: "equal to another tap",
    predict: (op, seen) => (seen.actual === null ? [] : equalTaps(op, seen)),
  },
  "equals-last-step": {
    what: "equal to the last step's rows",
    predict: known(async (op, expected, actual) =>
      explaining(await lastStep(op, { expected, actual }), expected, actual),
    ),
  },
});
