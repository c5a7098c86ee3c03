/** Quantised weights got wrong: their blocks misread, or looked for at the wrong place. */
import type { BlockType } from "../../model/blocks.ts";
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis, type Prediction } from "./hypothesis.ts";
import { type BlockBytes, decodeMisread, MISREAD_TYPES, type Misreading } from "./misread-blocks.ts";
import { evaluated } from "./values.ts";

/** A row of a weight as bytes, with the bytes behind it as long as the row itself (0 behind the last row). */
type RowBytes = Uint8Array;

/** What stands for block `index` of row `number`, given the row's bytes. */
type BlocksOf = (row: RowBytes, number: number) => (index: number) => BlockBytes;

interface Weight {
  readonly name: string;
  readonly type: BlockType;
  /** Numbers of the rows that are looked at. */
  readonly rows: readonly number[];
  readonly columns: number;
  readonly bytes: (row: number) => RowBytes;
}

/** The op's matrix; null where it is not made of blocks. */
function weightOf(op: OpCase): Weight | null {
  const tensor = op.model.file.tensor(op.node.op.weights[0] ?? "");
  if (!MISREAD_TYPES.includes(tensor.type.name)) return null;
  const bytes = (row: number) => {
    const both = new Uint8Array(2 * tensor.rowBytes);
    both.set(op.model.file.readRows(tensor, row, Math.min(2, tensor.rows - row)));
    return both;
  };
  const all = () => [...Array(tensor.rows).keys()];
  const rows = op.node.op.kind === "embed" ? op.context.tokens : (op.kept ?? all());
  return { name: tensor.name, type: tensor.type, rows, columns: tensor.columns, bytes };
}

/** The op over a weight whose blocks are found and read in this way. */
function over(op: OpCase, weight: Weight, blocksOf: BlocksOf, wrong: Misreading, parameter?: string): Prediction {
  const { type, columns, rows } = weight;
  const w = matrix(rows.length, columns);
  for (const [n, row] of rows.entries()) {
    const blockAt = blocksOf(weight.bytes(row), row);
    for (let i = 0; i * type.elements < columns; i++) {
      w.data.set(decodeMisread(type.name, blockAt(i), type.elements, wrong), n * columns + i * type.elements);
    }
  }
  const output = withWeight(op, weight.name, w);
  return parameter === undefined ? { output } : { output, parameter };
}

function withWeight(op: OpCase, name: string, w: Matrix): Matrix {
  const { context } = op;
  return evaluated(op, { context: { weight: (each, ids) => (each === name ? w : context.weight(each, ids)) } });
}

const at = (type: BlockType, row: RowBytes, index: number) =>
  row.subarray(Math.max(0, index) * type.bytes, (Math.max(0, index) + 1) * type.bytes);

/** Every block where it is. */
const inPlace =
  (type: BlockType): BlocksOf =>
  (row) =>
  (index) => {
    const own = at(type, row, index);
    return { own, scale: own, min: own };
  };

/** Errors of the decoder, each with what it is called where there are several. */
type Errors = readonly (readonly [wrong: Misreading, parameter?: string])[];

const misread = (what: string, types: Readonly<Record<string, Errors>>): Pick<Hypothesis, "what" | "predict"> => ({
  what,
  predict: (op) => {
    const weight = weightOf(op);
    const errors = types[weight?.type.name ?? ""] ?? [];
    if (weight === null) return [];
    return errors.map(([wrong, parameter]) => over(op, weight, inPlace(weight.type), wrong, parameter));
  },
});

const all = (types: readonly string[], ...errors: Errors) => Object.fromEntries(types.map((type) => [type, errors]));

const WITH_ZERO = ["Q4_0", "Q5_0", "Q6_K", "Q3_K"];
const WITH_MIN = ["Q4_1", "Q5_1", "Q4_K", "Q5_K", "Q2_K"];
const WITH_HIGH_BITS = ["Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q3_K"];
const OF_FIVE_BITS = ["Q5_0", "Q5_1", "Q5_K"];

/** Where scales may have been taken from. */
const SCALES: readonly (readonly [by: number, min: boolean, parameter: string])[] = [
  [1, false, "the next block's d"],
  [1, true, "the next block's d and minimum"],
  [-1, false, "the last block's d"],
];

/**
 * Types whose blocks are no whole words: zero bytes that a program may put in, so that they are (two of them, after this many
 * bytes of the block), before it steps over them with a wrong size.
 */
const PADDED: Readonly<Record<string, number>> = { Q4_0: 2, Q5_0: 2, Q8_0: 2, IQ4_NL: 2, Q3_K: 110, Q6_K: 210 };
/** What a block's size may be wrong by, in bytes: a word, a half, an alignment. */
const WRONG_BY = [-4, -2, -1, 1, 2, 4];

/** A row with `pad` zero bytes after `after` bytes of each block of `size`. */
function padded(row: RowBytes, size: number, after: number): Uint8Array {
  const blocks = row.length / size;
  const out = new Uint8Array(blocks * (size + 2));
  for (let i = 0; i < blocks; i++) {
    out.set(row.subarray(i * size, i * size + after), i * (size + 2));
    out.set(row.subarray(i * size + after, (i + 1) * size), i * (size + 2) + after + 2);
  }
  return out;
}

/** Blocks stepped over in `stride` bytes, as the file has them. */
const stepped =
  (type: BlockType, stride: number): BlocksOf =>
  (row) =>
  (index) => {
    const own = new Uint8Array(type.bytes);
    own.set(row.subarray(index * stride, index * stride + type.bytes));
    return { own, scale: own, min: own };
  };

/** The same over padded blocks; the decoder reads past the padding. */
const steppedPadded =
  (type: BlockType, stride: number, after: number): BlocksOf =>
  (row) => {
    const all = padded(row, type.bytes, after);
    return (index) => {
      const from = all.subarray(index * stride);
      const own = new Uint8Array(type.bytes);
      own.set(from.subarray(0, after));
      own.set(from.subarray(after + 2, type.bytes + 2), after);
      return { own, scale: own, min: own };
    };
  };

function strides(op: OpCase, weight: Weight): Prediction[] {
  const { type } = weight;
  if (weight.columns === type.elements) return [];
  const after = PADDED[type.name];
  const natural = WRONG_BY.map((by) =>
    over(op, weight, stepped(type, type.bytes + by), {}, `${type.bytes + by} bytes for ${type.bytes}`),
  );
  if (after === undefined) return natural;
  const size = type.bytes + 2;
  const padded = [-4, 4].map((by) =>
    over(
      op,
      weight,
      steppedPadded(type, size + by, after),
      {},
      `${size + by} bytes for ${size}, padded to whole words`,
    ),
  );
  return [...natural, ...padded];
}

export const QUANT: readonly Hypothesis[] = family("quant", { kinds: ["linear", "embed"] } as const, {
  "nibble-order": misread("a byte's two nibbles taken for neighbouring weights", {
    ...all(["Q4_0", "Q4_1", "Q4_K", "IQ4_NL"], [{ neighbours: "whole" }]),
    ...all(OF_FIVE_BITS, [{ neighbours: "whole" }], [{ neighbours: "low bits" }, "high bits in their place"]),
  }),
  "zero-point": misread("the quants' zero point not subtracted", all(WITH_ZERO, [{ noZeroPoint: true }])),
  "min-sign": misread("the blocks' minimum with the wrong sign", all(WITH_MIN, [{ min: -1 }])),
  "min-missing": misread("the blocks' minimum left out", all(WITH_MIN, [{ min: 0 }])),
  "scale-shift": {
    what: "each block of the weight scaled by another block's scale",
    predict: (op) => {
      const weight = weightOf(op);
      if (weight === null || weight.columns === weight.type.elements) return [];
      const { type, columns } = weight;
      const last = op.model.file.tensor(weight.name).rows - 1;
      const blocks = columns / type.elements;
      return SCALES.map(([by, min, parameter]) => {
        const blocksOf: BlocksOf = (row, number) => (index) => {
          const own = at(type, row, index);
          // Behind the last row there is none: an offset beyond the end is held at it.
          const behind = index + by >= blocks && number === last;
          const other = behind ? own : at(type, row, index + by);
          return { own, scale: other, min: min ? other : own };
        };
        return over(op, weight, blocksOf, {}, parameter);
      });
    },
  },
  "scale-unsigned": misread("the blocks' signed scales read as unsigned", all(["Q6_K"], [{ unsignedScales: true }])),
  "scale-high-bits": misread(
    "the high bits of the scales of sub-blocks 4 to 7 left out",
    all(["Q4_K", "Q5_K"], [{ noScaleHighBits: true }]),
  ),
  "high-bit-missing": misread("the quants' high bits left out", all(WITH_HIGH_BITS, [{ noHighBits: true }])),
  "block-stride": {
    what: "the weight's blocks stepped over with a wrong size",
    predict: (op) => {
      const weight = weightOf(op);
      return weight === null ? [] : strides(op, weight);
    },
  },
});
