/** Faults of projections: another weight, or the right one read wrongly. */
import type { OpModel } from "../../model/model.ts";
import type { Op } from "../../model/ops.ts";
import { InputError } from "../../trace/errors.ts";
import { layerOfTap, nameInLayer } from "../../trace/taps.ts";
import type { Edit } from "../kernels.ts";
import { type FaultKind, family } from "./fault.ts";
import { edit, type Site } from "./site.ts";

const DECODE = "let w = decode((row + r) * shape.row_words, block);";
const STORE = "y[t * shape.all_rows + n] = sum;";
const X_ROW = "let row = min(token, shape.tokens - 1u) * shape.columns + block * 32u;";

const edited =
  (...edits: Edit[]): NonNullable<FaultKind["compute"]> =>
  (_site, clean) =>
    edit(clean, "linear", ...edits);

const matrixOf = (op: Op, model: OpModel) => model.file.tensor(op.weights[0] ?? "");
const withMatrix = (site: Site, matrix: string) =>
  site.lower({ op: { ...site.op, weights: [matrix, ...site.op.weights.slice(1)] } });

/** Reads the matrix of `b` at tap `a`, and the reverse. */
const exchanged = (a: [name: string, weight: string], b: [name: string, weight: string]) => ({
  names: [a[0], b[0]],
  compute: (site: Site) => {
    const [own, other] = nameInLayer(site.op.tap) === a[0] ? [a, b] : [b, a];
    return withMatrix(site, (site.op.weights[0] ?? "").replace(`.${own[1]}.`, `.${other[1]}.`));
  },
});

/** The layer below, or above the first. */
export function neighbour(layer: number): number {
  return layer > 0 ? layer - 1 : 1;
}

const TRANSPOSED: readonly Edit[] = [
  [DECODE, "let w = transposed(row + r, block);"],
  [
    "fn block_sum(w: Block, xs: Block) -> f32 {",
    `fn transposed(n: u32, block: u32) -> Block {
  var out: Block;
  for (var i = 0u; i < 32u; i++) {
    let k = block * 32u + i;
    if (k < shape.columns) {
      let w = decode(k * shape.row_words, n / 32u);
      out[i / 4u][i & 3u] = w[(n & 31u) / 4u][n & 3u];
    }
  }
  return out;
}

fn block_sum(w: Block, xs: Block) -> f32 {`,
  ],
];

/** Products of columns from `first` up to `end` left out. */
const without = (first: number, end: number): Edit => [
  DECODE,
  `var w = decode((row + r) * shape.row_words, block);
        for (var i = 0u; i < 32u; i++) {
          let k = block * 32u + i;
          if (k >= ${first}u && k < ${end}u) { w[i / 4u][i & 3u] = 0.0; }
        }`,
];

const TILES = [512, 256, 128, 64, 32, 16];
const tileWithTail = (op: Op, model: OpModel) => {
  const { columns } = matrixOf(op, model);
  return TILES.find((tile) => tile < columns && columns % tile !== 0) ?? 64;
};
const tileWithin = (op: Op, model: OpModel) => TILES.find((tile) => 2 * tile <= matrixOf(op, model).columns) ?? 1;

const rowTail = (statement: (end: string) => string) => ({
  parameter: { name: "rows", least: 1, whole: true, usual: () => 16 },
  idle: (op: Op, model: OpModel, rows: number) =>
    rows > matrixOf(op, model).rows ? `it has ${matrixOf(op, model).rows} rows` : null,
  compute: (site: Site, clean: Parameters<NonNullable<FaultKind["compute"]>>[1], rows: number) =>
    edit(clean, "linear", [STORE, statement(`${matrixOf(site.op, site.model).rows - rows}u`)]),
});

export const LINEAR: readonly FaultKind[] = family("linear", { kinds: ["linear"], at: "q_proj" } as const, {
  transposed: {
    what: "The output has the right size and the wrong direction, uncorrelated with what is expected: a square weight is read by columns; look at the order of axes in the loader or the matmul's layout flag.",
    idle: (op, model) => {
      const { rows, columns } = matrixOf(op, model);
      return rows === columns
        ? null
        : `${op.weights[0]} has ${rows} rows of ${columns}, only a square weight can be read transposed`;
    },
    compute: (site, clean) => {
      const { slices } = site.context.weights.matrix(site.op.weights[0] ?? "");
      if (slices.length === 1) return edit(clean, "linear", ...TRANSPOSED);
      throw new InputError(
        `linear.transposed@${site.op.tap}: ${site.op.weights[0]} lies in ${slices.length} buffers on this adapter; choose a smaller weight`,
      );
    },
  },
  "neighbour-layer": {
    what: "One projection is uncorrelated with what is expected while its layer's others are right: it reads the same weight of the layer below (or above the first); look at the layer index in the weight's name or offset.",
    idle: (op, model) =>
      layerOfTap(op.tap) === null
        ? "it is in no layer"
        : model.parameters.layers < 2
          ? "the model has one layer"
          : null,
    compute: (site) => {
      const layer = layerOfTap(site.op.tap) ?? 0;
      return withMatrix(site, (site.op.weights[0] ?? "").replace(`blk.${layer}.`, `blk.${neighbour(layer)}.`));
    },
  },
  "swap-kv": {
    what: "Keys are made with the values' weight (or the reverse), Q is right: the two have one shape and were exchanged, often where a fused QKV is split.",
    at: "k_proj",
    ...exchanged(["k_proj", "attn_k"], ["v_proj", "attn_v"]),
  },
  "swap-gate-up": {
    what: "The FFN's gate is made with up's weight (or the reverse), ffn_act comes out plausible and wrong: w1 and w3 were exchanged, often where a fused gate_up is split.",
    at: "ffn_gate",
    ...exchanged(["ffn_gate", "ffn_gate"], ["ffn_up", "ffn_up"]),
  },
  "bias-missing": {
    what: "Each output channel is off by a constant, the same for all tokens: the projection's bias was not added; look whether the loader knows the .bias tensor.",
    idle: (op) => (op.weights.length < 2 ? "it has no bias" : null),
    compute: (site) => site.lower({ op: { ...site.op, weights: site.op.weights.slice(0, 1) } }),
  },
  "k-tail-dropped": {
    what: "All elements are off by a few percent without pattern, but only for widths that no tile divides: the last K mod tile products are missing; look at the loop's bound.",
    at: "ffn_down",
    parameter: { name: "tile", least: 2, whole: true, usual: tileWithTail },
    idle: (op, model, tile) => {
      const { columns } = matrixOf(op, model);
      return columns % tile === 0 ? `K is ${columns}, a multiple of ${tile}; give another tile after a colon` : null;
    },
    compute: (site, clean, tile) => {
      const { columns } = matrixOf(site.op, site.model);
      return edit(clean, "linear", without(columns - (columns % tile), columns));
    },
  },
  "k-tile-dropped": {
    what: "All elements are off, as if some inputs were zero: one whole tile of K (the second) is never added; look at double buffering and at the barrier between tiles.",
    parameter: { name: "tile", least: 1, whole: true, usual: tileWithin },
    idle: (op, model, tile) =>
      tile >= matrixOf(op, model).columns
        ? `K is ${matrixOf(op, model).columns}, there is no second tile of ${tile}`
        : null,
    compute: (_site, clean, tile) => edit(clean, "linear", without(tile, 2 * tile)),
  },
  "rows-tail-zero": {
    what: "The last output channels of every token are 0: the grid was rounded down, the last tile of rows is never computed.",
    ...rowTail((end) => `y[t * shape.all_rows + n] = select(sum, 0.0, n >= ${end});`),
  },
  "rows-tail-stale": {
    what: "The last output channels hold what the memory held before, so they change from run to run or repeat an earlier step: the grid was rounded down over a buffer that is used again.",
    ...rowTail((end) => `if (n < ${end}) { y[t * shape.all_rows + n] = sum; }`),
  },
  "row-zero-repeated": {
    what: "Every token has token 0's result, decoding is right: the token index is missing in the offset of the input row (or a batch stride is 0).",
    compute: edited([X_ROW, "let row = block * 32u;"]),
  },
});

export const HEAD_LINEAR: readonly FaultKind[] = family(
  "head",
  { kinds: ["linear"], names: ["logits"], at: "logits" } as const,
  {
    "wrong-row": {
      what: "The logits are those of the token before, so the model repeats its input: the row of the last token was counted off by one.",
      compute: edited([
        X_ROW,
        X_ROW.replace("min(token, shape.tokens - 1u)", "(max(min(token, shape.tokens - 1u), 1u) - 1u)"),
      ]),
    },
    "wrong-matrix": {
      what: "Hidden states agree to the last norm and the logits are noise: the head reads the embedding although the file has an output matrix of its own.",
      idle: (op) => (op.weights[0] === "output.weight" ? null : "its head is the embedding itself"),
      compute: (site) => withMatrix(site, "token_embd.weight"),
    },
  },
);
