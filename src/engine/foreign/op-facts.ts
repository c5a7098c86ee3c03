/** What a kernel of another author may be given: the buffers and the facts of each kind of op, by name. */
import type { TensorInfo } from "../../model/gguf.ts";
import type { Op, OpKind } from "../../model/ops.ts";
import { elementsOf, shapeOf } from "../../trace/dims.ts";
import type { SingleOp } from "../single-op.ts";
import { gpuRowWords } from "../weights.ts";
import type { Facts } from "./expression.ts";

/** f32: decoded. blocks: as this program's own kernels have them (padded to whole words). gguf: as the file has them. */
export const LAYOUTS = ["f32", "blocks", "gguf"] as const;
export type WeightLayout = (typeof LAYOUTS)[number];

interface Buffers {
  /** In the order of the op's inputs, and of its weights. */
  readonly inputs: readonly string[];
  readonly weights: readonly string[];
  /** What else there is. */
  readonly others: readonly string[];
  /** Those that a kernel may do without. */
  readonly optional: readonly string[];
  /** Those that a kernel has both of, or neither. */
  readonly pairs?: readonly (readonly [string, string])[];
}

const only = (inputs: readonly string[], weights: readonly string[] = []): Buffers => ({
  ...{ inputs, weights, others: [], optional: [] },
});

/** The names are those of this program's own kernels. All write `y`. */
export const BUFFERS: Readonly<Record<OpKind, Buffers>> = {
  embed: { ...only([], ["table"]), others: ["ids"] },
  rms_norm: only(["x"], ["gain"]),
  linear: { ...only(["x"], ["w", "bias"]), optional: ["bias"] },
  rope: { ...only(["x"]), others: ["cos", "sin"], optional: ["cos", "sin"], pairs: [["cos", "sin"]] },
  attn_scores: only(["q", "k"]),
  causal_softmax: only(["x"]),
  attn_ctx: only(["p", "v"]),
  swiglu: only(["gate", "up"]),
  add: only(["a", "b"]),
};

const HEADS = ["heads", "kv_heads", "head_dim"];
const WEIGHT = ["rows", "columns", "row_bytes", "block_type"];
const COMMON = ["tokens", "pos_start", "keys", "count", "width"];
const OWN: Readonly<Record<OpKind, readonly string[]>> = {
  embed: WEIGHT,
  rms_norm: ["columns", "eps"],
  linear: [...WEIGHT, "bias"],
  rope: ["columns", "heads", "head_dim", "rope_base"],
  attn_scores: [...HEADS, "scale"],
  causal_softmax: ["heads"],
  attn_ctx: HEADS,
  swiglu: ["columns"],
  add: ["columns"],
};

/** Names of the facts of a kind. */
export const factNames = (kind: OpKind): string[] => [...COMMON, ...OWN[kind]];

/** The weight whose rows are blocks. */
const matrixOf = ({ model, op }: SingleOp): TensorInfo | null =>
  (op.kind === "linear" || op.kind === "embed") && op.weights[0] !== undefined
    ? model.file.tensor(op.weights[0])
    : null;

/** Bytes of a row of a matrix. */
export const rowBytes = (tensor: TensorInfo, layout: WeightLayout): number =>
  layout === "f32" ? 4 * tensor.columns : layout === "gguf" ? tensor.rowBytes : 4 * gpuRowWords(tensor);

const attribute = (op: Op, name: "eps" | "scale") => (name in op ? Number(op[name as keyof Op]) : Number.NaN);

/**
 * The facts of one op. tokens, pos_start, keys: of the step. count: elements of y. width: threads of a workgroup that suit the
 * adapter. rows, columns: of the matrix, else columns of y. row_bytes: of the matrix as it is given. block_type: GGUF's number.
 */
export function factsOf(single: SingleOp, layout: WeightLayout, width: number): Facts {
  const { model, op, tokens, posStart } = single;
  const { heads, kvHeads, headDim, rope } = model.parameters;
  const keys = posStart + tokens.length;
  const shape = shapeOf(op.dims, model.axes(tokens.length, keys));
  const matrix = matrixOf(single);
  const all: Facts = {
    ...{ tokens: tokens.length, pos_start: posStart, keys, count: elementsOf(shape), width },
    ...{ heads, kv_heads: kvHeads, head_dim: headDim, rope_base: rope.base },
    ...{ eps: attribute(op, "eps"), scale: attribute(op, "scale") },
    ...{ rows: matrix?.rows ?? Number.NaN, columns: matrix?.columns ?? shape.at(-1) ?? 0 },
    row_bytes: matrix === null ? Number.NaN : rowBytes(matrix, layout),
    block_type: matrix === null ? Number.NaN : layout === "f32" ? 0 : matrix.type.id,
    bias: op.weights.length > 1 ? 1 : 0,
  };
  return Object.fromEntries(factNames(op.kind).map((name) => [name, all[name] ?? Number.NaN]));
}
