/** Projections got wrong: another weight, or the right one read wrongly. */
import { layerOfTap, nameInLayer } from "../../trace/taps.ts";
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis, type Prediction, type Seen } from "./hypothesis.ts";
import { tailDropped, tileDropped } from "./linear-tiles.ts";
import { evaluated, input, patched, predicted, withRows, wrongElements } from "./values.ts";

/** The op with another matrix; its bias stays. None where the model has no such matrix of that shape. */
function withMatrix(of: OpCase, name: string, parameter = name): readonly Prediction[] {
  const { op } = of.node;
  const { tensors } = of.model.file;
  const [own, other] = [tensors.get(op.weights[0] ?? ""), tensors.get(name)];
  if (own === undefined || other === undefined || own === other) return [];
  if (own.rows !== other.rows || own.columns !== other.columns) return [];
  return [{ output: evaluated(of, { op: { ...op, weights: [name, ...op.weights.slice(1)] } }), parameter }];
}

/** Reads the matrix of `b` at tap `a`, and the reverse. */
const exchanged = (what: string, a: [tap: string, weight: string], b: [tap: string, weight: string]) => ({
  what,
  names: [a[0], b[0]],
  predict: (of: OpCase) => {
    const [own, other] = nameInLayer(of.node.op.tap) === a[0] ? [a[1], b[1]] : [b[1], a[1]];
    return withMatrix(of, (of.node.op.weights[0] ?? "").replace(`.${own}.`, `.${other}.`));
  },
});

/** y_n = sum over k of W[k][n] x_k, plus the bias. */
function transposed(op: OpCase): readonly Prediction[] {
  const [weight = "", bias] = op.node.op.weights;
  const tensor = op.model.file.tensor(weight);
  if (op.kept !== null || tensor.rows !== tensor.columns) return [];
  const w = op.context.weight(weight);
  const turned = matrix(w.rows, w.columns);
  for (let i = 0; i < w.data.length; i++) {
    turned.data[(i % w.columns) * w.columns + Math.floor(i / w.columns)] = w.data[i] as number;
  }
  const context = { weight: (name: string) => (name === bias ? op.context.weight(name) : turned) };
  return predicted(evaluated(op, { context }));
}

/** Output rows of the weight that a grid rounded down may leave out. */
const TILES = [16, 32, 64];

/** `12 of 64 output rows`: what the column from which all are affected means in the whole weight. */
function tailNamed(op: OpCase, first: number): string {
  const { rows } = op.model.file.tensor(op.node.op.weights[0] ?? "");
  return op.kept === null ? `the last ${rows - first} of ${rows} output rows` : `output rows from ${op.kept[first]} on`;
}

/** Columns of the output whose every row fulfils `is`, from the last one back without a gap: the number of the first. */
function firstOfTail(expected: Matrix, is: (i: number) => boolean): number {
  let first = expected.columns;
  const all = (column: number) => {
    for (let row = 0; row < expected.rows; row++) if (!is(row * expected.columns + column)) return false;
    return true;
  };
  while (first > 0 && all(first - 1)) first--;
  return first;
}

const isTail = ({ columns }: Matrix, first: number) => first < columns && columns - first <= columns / 2;
const fromColumn = ({ rows, columns }: Matrix, first: number) =>
  Array.from({ length: rows * columns }, (_, i) => i % columns >= first);

/** The last columns of every row 0. */
function zeroTail(op: OpCase, { expected, actual }: Seen): readonly Prediction[] {
  const firsts =
    actual === null
      ? TILES.map((tile) => expected.columns - tile)
      : [firstOfTail(expected, (i) => actual.data[i] === 0)];
  return firsts
    .filter((first) => isTail(expected, first))
    .map((first) => ({
      output: patched(expected, fromColumn(expected, first), () => 0),
      parameter: tailNamed(op, first),
    }));
}

export const LINEAR: readonly Hypothesis[] = family("linear", { kinds: ["linear"] } as const, {
  transposed: { what: "made with the transposed weight", whole: true, predict: transposed },
  "neighbour-layer": {
    what: "made with the weight of another layer",
    predict: (of) => {
      const layer = layerOfTap(of.node.op.tap);
      if (layer === null) return [];
      const name = of.node.op.weights[0] ?? "";
      return [layer - 1, layer + 1].flatMap((other) =>
        withMatrix(of, name.replace(`blk.${layer}.`, `blk.${other}.`), `layer ${other}`),
      );
    },
  },
  "swap-kv": exchanged(
    "made with the other one of the keys' and the values' weights",
    ["k_proj", "attn_k"],
    ["v_proj", "attn_v"],
  ),
  "swap-gate-up": exchanged(
    "made with the other one of the gate's and up's weights",
    ["ffn_gate", "ffn_gate"],
    ["ffn_up", "ffn_up"],
  ),
  "bias-missing": {
    what: "its bias not added",
    predict: (of) => {
      const { op } = of.node;
      return op.weights.length < 2 ? [] : predicted(evaluated(of, { op: { ...op, weights: op.weights.slice(0, 1) } }));
    },
  },
  "k-tail-dropped": { what: "the last products of each sum left out", predict: tailDropped },
  "k-tile-dropped": { what: "one tile of the products of each sum left out", predict: tileDropped },
  "rows-tail-zero": {
    what: "its last output rows never computed, 0 instead",
    predict: zeroTail,
  },
  "rows-tail-stale": {
    what: "its last output rows never computed, what the memory held instead",
    predict: (op, { expected, actual }) => {
      // From a sketch only memory that was never written can be told: zeros.
      if (actual === null) return zeroTail(op, { expected, actual });
      const wrong = wrongElements(expected, actual);
      const first = wrong.reduce(
        (least, is, i) => (is ? Math.min(least, i % expected.columns) : least),
        expected.columns,
      );
      const tail = fromColumn(expected, first);
      const inTail = tail.flatMap((is, i) => (is ? [i] : []));
      if (!isTail(expected, first)) return [];
      // Memory that was never written may hold zeros: then nothing is open, and no one can tell it from rows set to 0.
      const isZero = inTail.every((i) => actual.data[i] === 0);
      // Old values are wrong ones nearly everywhere.
      if (inTail.filter((i) => wrong[i]).length < 0.9 * inTail.length) return [];
      const output = patched(expected, tail, (i) => actual.data[i] as number);
      return [{ output, parameter: tailNamed(op, first), free: isZero ? 0 : inTail.length }];
    },
  },
  "row-zero-repeated": {
    what: "every token given the first token's result",
    predict: (op) => predicted(evaluated(op, { inputs: [withRows(input(op, 0), () => 0)] })),
  },
});
