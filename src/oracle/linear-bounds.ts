/** A projection with its bounds, for all rows of a run at once: each weight is decoded once, slab by slab. */
import { type BlockType, decodeBlocks } from "../model/blocks.ts";
import type { OpModel } from "../model/model.ts";
import type { OpOf } from "../model/ops.ts";
import type { Arithmetic } from "./arithmetic.ts";
import type { Computed } from "./bounded.ts";
import { type BlockSums, blockSums, dot, EITHER_WAY, gamma, LAMBDA, sumBounds } from "./dot-bounds.ts";
import type { Matrix } from "./ops.ts";

/** Elements of a slab of decoded weight rows. */
const SLAB = 1 << 20;
/** Products of blocks as they are, d sum((q - zero) x), maybe as d sum(q x) - d zero sum(x): at most three times the largest weight. */
const BLOCK_TERMS = 3;
/** Elements of the smallest blocks that share a scale or a minimum. */
const BLOCK = 32;
/** Bytes of a block that hold quants, of types with a minimum; without them a block is its minima. */
const QUANTS: Readonly<Record<string, readonly [from: number, to: number]>> = {
  ...{ Q4_1: [4, 20], Q5_1: [4, 24], Q2_K: [16, 80], Q4_K: [16, 144], Q5_K: [16, 176] },
};

/** The weights' two terms as blocks have them: |d q| + |m|, |w| for types without a minimum. */
function termsOf(type: BlockType, raw: Uint8Array, w: Float32Array): Float32Array {
  const [from, to] = QUANTS[type.name] ?? [0, 0];
  if (to === 0) return w;
  const bare = raw.slice();
  for (let at = 0; at < bare.length; at += type.bytes) bare.fill(0, at + from, at + to);
  const minima = decodeBlocks(type, bare);
  return w.map((weight, i) => Math.abs(weight - (minima[i] as number)) + Math.abs(minima[i] as number));
}

/** y = W x (+ bias). `x` may hold rows of several steps. */
export function boundedLinear(model: OpModel, op: OpOf<"linear">, x: Matrix, how: Arithmetic): Computed {
  const tensor = model.file.tensor(op.weights[0] ?? "");
  const biasTensor = op.weights[1] === undefined ? null : model.file.tensor(op.weights[1]);
  const bias = biasTensor === null ? null : model.file.decodeRows(biasTensor);
  const { rows: outputs, columns: terms } = tensor;
  const size = x.rows * outputs;
  const [expected, worst, likely] = [new Float64Array(size), new Float64Array(size), new Float64Array(size)];
  const isQuantised = tensor.type.elements > 1;
  // How often a block's terms may be taken as they are.
  const blockwise = how.decodesWeights || !isQuantised ? 0 : tensor.type.name in QUANTS ? 1 : BLOCK_TERMS;
  const elements = how.activations?.elements ?? BLOCK;
  const xBlocks = blockwise > 0 || how.activations !== null ? blockSums(x.data, x.rows, terms, elements) : null;
  const xSizes = blockSums(x.data, x.rows, terms, terms).sums;
  // A bias, and the weights' own rounding where they are decoded.
  const extra = (bias === null ? 0 : 1) + (isQuantised ? 1 : 0);
  const of = { sum: 0, magnitude: 0, squares: 0 };
  const slabRows = Math.max(1, Math.floor(SLAB / terms));
  for (let first = 0; first < outputs; first += slabRows) {
    const count = Math.min(slabRows, outputs - first);
    const raw = model.file.readRows(tensor, first, count);
    const w = decodeBlocks(tensor.type, raw);
    const wSizes = blockSums(w, count, terms, terms).sums;
    const wBlocks = xBlocks === null ? null : blockSums(w, count, terms, elements);
    const wTerms = xBlocks === null ? null : blockSums(termsOf(tensor.type, raw, w), count, terms, elements);
    for (let n = 0; n < count; n++) {
      const b = bias?.[first + n] ?? 0;
      for (let t = 0; t < x.rows; t++) {
        dot(w, n * terms, x.data, t * terms, 1, terms, of);
        of.sum += b;
        of.magnitude += Math.abs(b);
        of.squares += b * b;
        const at = t * outputs + first + n;
        const factors = (wSizes[n] as number) + (xSizes[t] as number) + Math.abs(b);
        const bounds = sumBounds(of, { terms, extra, operands: 1, factors }, how);
        const kept = bias === null ? 0 : how.between * (Math.abs(of.sum - b) + bounds.worst);
        expected[at] = of.sum;
        worst[at] = bounds.worst + EITHER_WAY * kept;
        likely[at] = bounds.likely + kept;
        if (xBlocks === null || wBlocks === null || wTerms === null) continue;
        const more = blockBounds(xBlocks, t, wBlocks, wTerms, n, terms, how, blockwise);
        worst[at] += more.worst;
        likely[at] += more.likely;
      }
    }
  }
  const lost = xBlocks === null || !how.activations?.halfScale ? {} : { alike: lostSteps(xBlocks, x.rows) };
  return { rows: x.rows, columns: outputs, expected, worst, likely, ...lost };
}

/** Of a half: unit roundoff, and half the step of its subnormals. */
const HALF = 2 ** -11;
const HALF_STEP = 2 ** -25;
const HALF_LARGEST = 65504;
/** By how much of itself a step is off in half. */
const stepError = (step: number) =>
  step > HALF_LARGEST ? Number.POSITIVE_INFINITY : Math.min(1, Math.max(HALF, HALF_STEP / step));

/** What rows lose alike where steps are too small for a half, each block by its part of the row. */
function lostSteps({ sums, largest }: BlockSums, rows: number): Float64Array {
  const blocks = sums.length / rows;
  return Float64Array.from({ length: rows }, (_, row) => {
    let [lost, all] = [0, 0];
    for (let b = row * blocks; b < (row + 1) * blocks; b++) {
      const [sum, error] = [sums[b] as number, stepError((largest[b] as number) / 127)];
      all += sum;
      if (error > HALF && sum > 0) lost += sum * error;
    }
    return lost > 0 ? lost / all : 0;
  });
}

/** An activation rounded to 8 bits: x / step is itself off by some u, 127 times, so that ties may fall either way. */
const TIES = 1 + 2 ** -13;

/**
 * What multiplying blocks as they are, and activations rounded to 8 bits, may add. An activation in a block with largest magnitude
 * a is off by at most a/254 (half a step of a/127), so that it may be twice as large. The step may be rounded to half: by 2^-11 of
 * itself, or where it is smaller than 2^-14 (a below 0.0078) by 2^-25, up to all of it. q8_1 also keeps the block's sum in half, which
 * meets the weights' minimum. `terms`: |d q| + |m| of the weights, largest in each block.
 */
function blockBounds(
  x: BlockSums,
  t: number,
  w: BlockSums,
  wTerms: BlockSums,
  n: number,
  terms: number,
  how: Arithmetic,
  blockwise: number,
) {
  const blocks = Math.ceil(terms / x.elements);
  const { activations } = how;
  let [asBlocks, steps, squares, scales, scalesWorst] = [0, 0, 0, 0, 0];
  for (let b = 0; b < blocks; b++) {
    const [xSum, xLargest] = [x.sums[t * blocks + b] as number, x.largest[t * blocks + b] as number];
    const [wSum, wLargest] = [w.sums[n * blocks + b] as number, w.largest[n * blocks + b] as number];
    const term = wTerms.largest[n * blocks + b] as number;
    asBlocks += term * xSum;
    if (activations === null || xLargest === 0) continue;
    steps += (xLargest / 254) * TIES * wSum;
    // Uniform in +-step/2: variance step^2 / 12 each, over at most `elements` weights of at most wLargest.
    squares += ((xLargest / 127) ** 2 / 12) * Math.min(wSum * wLargest, x.elements * wLargest * wLargest);
    if (!activations.halfScale) continue;
    const relative = stepError(xLargest / 127);
    scales += relative * wLargest * xSum + HALF_STEP * term;
    scalesWorst += 2 * relative * term * xSum + HALF_STEP * term;
  }
  const n1 = how.roundings(terms) + 2;
  const products = blockwise * asBlocks * (activations === null ? 1 : 2);
  const rounded = gamma(n1, EITHER_WAY * how.sums);
  return {
    worst: rounded * products + (1 + rounded) * (steps + scalesWorst),
    likely: how.sums * Math.sqrt(n1) * products + LAMBDA * Math.sqrt(squares) + scales,
  };
}
