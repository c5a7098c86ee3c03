/** A projection with its bounds, for all rows of a run at once: each weight is decoded once, slab by slab. */
import type { OpModel } from "../model/model.ts";
import type { OpOf } from "../model/ops.ts";
import type { Arithmetic } from "./arithmetic.ts";
import type { Bounded } from "./bounded.ts";
import { type BlockSums, blockSums, dot, EITHER_WAY, gamma, LAMBDA, sumBounds } from "./dot-bounds.ts";
import type { Matrix } from "./ops.ts";

/** Elements of a slab of decoded weight rows. */
const SLAB = 1 << 20;
/** Products of blocks as they are, d sum(q x) + m sum(x): |d q| + |m| is at most three times the block's largest weight. */
const BLOCK_TERMS = 3;
/** Elements of the smallest blocks that share a scale or a minimum. */
const BLOCK = 32;

/** y = W x (+ bias). `x` may hold rows of several steps. */
export function boundedLinear(model: OpModel, op: OpOf<"linear">, x: Matrix, how: Arithmetic): Bounded {
  const tensor = model.file.tensor(op.weights[0] ?? "");
  const biasTensor = op.weights[1] === undefined ? null : model.file.tensor(op.weights[1]);
  const bias = biasTensor === null ? null : model.file.decodeRows(biasTensor);
  const { rows: outputs, columns: terms } = tensor;
  const size = x.rows * outputs;
  const [expected, worst, likely] = [new Float64Array(size), new Float64Array(size), new Float64Array(size)];
  const isQuantised = tensor.type.elements > 1;
  const blockwise = !how.decodesWeights && isQuantised;
  const elements = how.activations?.elements ?? BLOCK;
  const xBlocks = blockwise || how.activations !== null ? blockSums(x.data, x.rows, terms, elements) : null;
  const of = { sum: 0, magnitude: 0, squares: 0 };
  const slabRows = Math.max(1, Math.floor(SLAB / terms));
  for (let first = 0; first < outputs; first += slabRows) {
    const count = Math.min(slabRows, outputs - first);
    const w = model.file.decodeRows(tensor, first, count);
    const wBlocks = xBlocks === null ? null : blockSums(w, count, terms, elements);
    for (let n = 0; n < count; n++) {
      const b = bias?.[first + n] ?? 0;
      for (let t = 0; t < x.rows; t++) {
        dot(w, n * terms, x.data, t * terms, 1, terms, of);
        of.sum += b;
        of.magnitude += Math.abs(b);
        of.squares += b * b;
        const at = t * outputs + first + n;
        const bounds = sumBounds(of, terms, bias === null ? 0 : 1, how);
        expected[at] = of.sum;
        worst[at] = bounds.worst;
        likely[at] = bounds.likely;
        if (xBlocks === null || wBlocks === null) continue;
        const more = blockBounds(xBlocks, t, wBlocks, n, terms, how, blockwise);
        worst[at] += more.worst;
        likely[at] += more.likely;
      }
    }
  }
  return { rows: x.rows, columns: outputs, expected, worst, likely };
}

/** Unit roundoff of a half: scales of q8_0 and q8_1 blocks. */
const HALF = 2 ** -11;

/**
 * What multiplying blocks as they are, and activations rounded to 8 bits, may add. An activation in a block with largest magnitude
 * a is off by at most a/254 (half a step of a/127) and, where the step is rounded to half, by 2^-11 of itself; q8_1 also keeps the
 * block's sum in half, which meets the weights' minimum (at most the largest weight).
 */
function blockBounds(
  x: BlockSums,
  t: number,
  w: BlockSums,
  n: number,
  terms: number,
  how: Arithmetic,
  blockwise: boolean,
) {
  const blocks = Math.ceil(terms / x.elements);
  const { activations } = how;
  let [asBlocks, steps, squares, scales] = [0, 0, 0, 0];
  for (let b = 0; b < blocks; b++) {
    const [xSum, xLargest] = [x.sums[t * blocks + b] as number, x.largest[t * blocks + b] as number];
    const [wSum, wLargest] = [w.sums[n * blocks + b] as number, w.largest[n * blocks + b] as number];
    asBlocks += wLargest * xSum;
    if (activations === null) continue;
    steps += (xLargest / 254) * wSum;
    // Uniform in +-step/2: variance step^2 / 12 each, over at most `elements` weights of at most wLargest.
    squares += ((xLargest / 127) ** 2 / 12) * Math.min(wSum * wLargest, x.elements * wLargest * wLargest);
    scales += activations.halfScale ? HALF * wLargest * xSum : 0;
  }
  const products = blockwise ? BLOCK_TERMS * asBlocks : 0;
  const n1 = how.roundings(terms) + 2;
  return {
    worst: gamma(n1, EITHER_WAY * how.sums) * products + steps + 2 * scales,
    likely: how.sums * Math.sqrt(n1) * products + LAMBDA * Math.sqrt(squares) + scales,
  };
}
