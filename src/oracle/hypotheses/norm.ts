/** RMSNorm got wrong: y = x / sqrt(mean(x^2) + eps) * gain, by rows. */
import { layerOfTap, layerTap, nameInLayer } from "../../trace/taps.ts";
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis, type Prediction, type Seen } from "./hypothesis.ts";
import { brief, evaluated, input, predicted, rowOf } from "./values.ts";

interface Row {
  readonly x: Float64Array;
  readonly meanSquare: number;
}

const meanSquare = (x: Float64Array) => x.reduce((sum, each) => sum + each * each, 0) / x.length;
const mean = (x: Float64Array) => x.reduce((sum, each) => sum + each, 0) / x.length;

function rowsOf(op: OpCase): Row[] {
  const x = input(op, 0);
  return Array.from({ length: x.rows }, (_, t) => ({ x: rowOf(x, t), meanSquare: meanSquare(rowOf(x, t)) }));
}

const gainOf = (op: OpCase) => op.context.weight(op.node.op.weights[0] ?? "").data;
const epsOf = ({ node: { op } }: OpCase) => (op.kind === "rms_norm" ? op.eps : 0);

/** Every row times its own factor, times the gain. */
function scaled(op: OpCase, factor: (row: Row) => number, gain = gainOf(op)): Matrix {
  const rows = rowsOf(op);
  const columns = gain.length;
  const y = matrix(rows.length, columns);
  for (const [t, row] of rows.entries()) {
    const by = factor(row);
    for (let e = 0; e < columns; e++) y.data[t * columns + e] = (row.x[e] as number) * by * (gain[e] as number);
  }
  return y;
}

const withEps = (op: OpCase, eps: number) => scaled(op, (row) => 1 / Math.sqrt(row.meanSquare + eps));

const epsNamed = (op: OpCase, eps: number) => `eps ${brief(eps)}, the file's is ${brief(epsOf(op))}`;

/** Of model files, and of programs that do not read them. */
const USUAL_EPS = [1e-6, 1e-5, 0, 1e-12, 1e-8, 1e-4, 1e-3];
const differs = (a: number, b: number) => Math.abs(a - b) > 1e-3 * Math.max(a, b);

/** Standard deviations that an estimate must be away to count. */
const SIGNIFICANT = 4;
/** One row cannot tell an epsilon from a factor: there only an epsilon that could be one is believed. */
const LARGEST_OF_ONE_ROW = 1e-2;

/**
 * Epsilon from the rows' factors: a least-squares factor s of a row gives eps = 1 / s^2 - mean(x^2). The roundings of the row's
 * sum, root and division are common to its elements, some 2 u of s (u = 2^-24), so a row's epsilon is off by about
 * 4 u mean(x^2) and rows count by 1 / mean(x^2)^2. Null where it cannot be told from the right one.
 */
function estimatedEps(op: OpCase, actual: Matrix, confirming: boolean): number | null {
  const gain = gainOf(op);
  const rows = rowsOf(op);
  let weights = 0;
  let sum = 0;
  for (const [t, row] of rows.entries()) {
    if (row.meanSquare === 0) continue;
    const y = rowOf(actual, t);
    let xy = 0;
    let xx = 0;
    for (const [e, x] of row.x.entries()) {
      const g = x * (gain[e] as number);
      xy += g * (y[e] as number);
      xx += g * g;
    }
    const weight = 1 / row.meanSquare ** 2;
    sum += weight * ((xx / xy) ** 2 - row.meanSquare);
    weights += weight;
  }
  const eps = sum / weights;
  const deviation = (4 * 2 ** -24) / Math.sqrt(weights);
  const limit = rows.length === 1 && !confirming ? LARGEST_OF_ONE_ROW : Number.POSITIVE_INFINITY;
  if (!(eps > -SIGNIFICANT * deviation && eps <= limit)) return null;
  if (Math.abs(eps - epsOf(op)) < SIGNIFICANT * deviation) return null;
  const near = (usual: number) => Math.abs(eps - usual) <= Math.max(0.01 * usual, SIGNIFICANT * deviation);
  return USUAL_EPS.find(near) ?? Math.max(0, eps);
}

function otherEps(op: OpCase, { actual, confirming = false }: Seen): readonly Prediction[] {
  const own = epsOf(op);
  const estimated = actual === null ? null : estimatedEps(op, actual, confirming);
  const tried = actual === null ? USUAL_EPS.filter((eps) => differs(eps, own)) : estimated === null ? [] : [estimated];
  return tried.map((eps) => {
    const prediction = { output: withEps(op, eps), parameter: epsNamed(op, eps) };
    // An unusual epsilon is a number that the output itself gave.
    return USUAL_EPS.includes(eps) ? prediction : { ...prediction, free: 1 };
  });
}

const OTHER: Readonly<Record<string, string>> = { attn_norm: "ffn_norm", ffn_norm: "attn_norm" };

/** Gains that may have been taken for this one: the layer's other norm, then the same norm of the layers beside it. */
function otherGains({ node: { op }, model }: OpCase): string[] {
  const layer = layerOfTap(op.tap);
  const name = nameInLayer(op.tap);
  const taps =
    layer === null ? [] : [layerTap(layer, OTHER[name] ?? ""), layerTap(layer - 1, name), layerTap(layer + 1, name)];
  return taps.map((tap) => `${tap}.weight`).filter((weight) => model.file.tensors.has(weight));
}

export const NORM: readonly Hypothesis[] = family("norm", { kinds: ["rms_norm"] } as const, {
  eps: { what: "with another epsilon than the model's", predict: otherEps },
  "eps-outside": {
    what: "epsilon added to the root instead of under it",
    predict: (op) => {
      const own = epsOf(op);
      const tried = [own, ...USUAL_EPS.slice(0, 2).filter((eps) => differs(eps, own))];
      return tried.map((eps) => ({
        output: scaled(op, (row) => 1 / (Math.sqrt(row.meanSquare) + eps)),
        parameter: epsNamed(op, eps),
      }));
    },
  },
  "weight-missing": {
    what: "not multiplied by the gain",
    predict: (op) =>
      predicted(
        scaled(
          op,
          (row) => 1 / Math.sqrt(row.meanSquare + epsOf(op)),
          gainOf(op).map(() => 1),
        ),
      ),
  },
  "weight-plus-one": {
    what: "multiplied by 1 + gain instead of the gain",
    predict: (op) =>
      predicted(
        scaled(
          op,
          (row) => 1 / Math.sqrt(row.meanSquare + epsOf(op)),
          gainOf(op).map((g) => 1 + g),
        ),
      ),
  },
  "other-weight": {
    what: "multiplied by another norm's gain",
    predict: (op) =>
      otherGains(op).map((weight) => ({
        output: evaluated(op, { op: { ...op.node.op, weights: [weight] } }),
        parameter: weight,
      })),
  },
  "mean-subtracted": {
    what: "a LayerNorm, the row's mean subtracted",
    predict: (op) => {
      const x = input(op, 0);
      const centred = matrix(x.rows, x.columns);
      for (let t = 0; t < x.rows; t++) {
        const row = rowOf(x, t);
        const middle = mean(row);
        centred.data.set(
          row.map((each) => each - middle),
          t * x.columns,
        );
      }
      return predicted(evaluated(op, { inputs: [centred] }));
    },
  },
  "sum-not-mean": {
    what: "the sum of squares not divided by the number of channels",
    predict: (op) => predicted(scaled(op, ({ x, meanSquare }) => 1 / Math.sqrt(meanSquare * x.length + epsOf(op)))),
  },
  "whole-tensor": {
    what: "divided by one RMS of all rows instead of each row's own",
    predict: (op) => {
      const { data } = input(op, 0);
      const all = meanSquare(data);
      // One sum of all squares, in f32, may be off by n u of itself; the root halves it.
      const slack = data.length * 2 ** -25;
      return predicted(scaled(op, () => 1 / Math.sqrt(all + epsOf(op)))).map((each) => ({ ...each, slack }));
    },
  },
});
