/** What kernels are asked to compute: one op on made-up inputs and weights, or a chore of a pass. Nothing runs here. */
import { BLOCK_TYPES, type BlockType, decodeBlocks } from "../../model/blocks.ts";
import type { ChoreKind } from "../../model/chores.ts";
import type { TensorInfo, WeightFile } from "../../model/gguf.ts";
import { axisSizes, type LlamaParameters } from "../../model/llama-parameters.ts";
import type { OpModel } from "../../model/model.ts";
import type { Op, OpKind } from "../../model/ops.ts";
import { elementsOf, shapeOf } from "../../trace/dims.ts";
import { randomBlocks } from "./blocks.ts";
import { CHORE_KINDS, type ChoreCase, choreCases, seedOf } from "./chores.ts";
import { DATA, DATA_NAMES, type DataName } from "./data.ts";
import { normals, uniform } from "./random.ts";
import { type KernelShape, shapesOf } from "./shapes.ts";

export interface OpKernelCase {
  /** By the kernel for every adapter, where some have one that suits them better. */
  readonly portable?: boolean;
  /** `linear 5x33x17 Q4_0 normal f32`: the same in every run, what a baseline goes by. */
  readonly id: string;
  readonly kind: OpKind;
  readonly shape: string;
  /** Block type of the weights; null where the op has none. */
  readonly type: string | null;
  readonly data: DataName;
  /** What the output is stored in. */
  readonly dtype: "f32" | "f16";
  readonly model: OpModel;
  readonly op: Op;
  readonly tokens: readonly number[];
  readonly posStart: number;
  /** Flat row-major; cached inputs are the rows of all positions up to the last token. */
  readonly inputs: readonly Float32Array<ArrayBuffer>[];
  readonly inputDims: readonly string[];
}

/** What a kernel is asked: to compute an op, or what a pass does beside its ops. */
export type KernelCase = OpKernelCase | ChoreCase;

/** What an op of each kind looks like: its tap, dims, attributes, and the dims of its inputs, cached ones by key. */
interface Kind {
  readonly op: (shape: KernelShape) => Op;
  /** Dims of inputs; those that begin with `key` hold the rows of all positions. */
  readonly inputs: readonly string[];
  /** Dims of weights, those that the op may do without last. */
  readonly weights: readonly string[];
  readonly name: (shape: KernelShape) => string;
}

const wide = ({ tokens, columns }: KernelShape) => `${tokens}x${columns}`;
const many = ({ heads, kvHeads, tokens, posStart, headDim }: KernelShape) =>
  `${heads}/${kvHeads}x${tokens}x${headDim}@${posStart}`;
const QUERIES = "token (head head_dim)";
const KEYS = "key (kv_head head_dim)";
const SCORES = "head token key";

const KINDS: Readonly<Record<OpKind, Kind>> = {
  embed: {
    op: () => ({ kind: "embed", tap: "embed", dims: "token embd", weights: ["token_embd.weight"] }),
    ...{ inputs: [], weights: ["vocab embd"], name: wide },
  },
  rms_norm: {
    op: () => ({
      ...{
        kind: "rms_norm",
        tap: "blk.0.attn_norm",
        dims: "token embd",
        weights: ["blk.0.attn_norm.weight"],
        eps: 1e-5,
      },
    }),
    ...{ inputs: ["token embd"], weights: ["embd"], name: wide },
  },
  linear: {
    op: ({ bias }) => ({
      ...{ kind: "linear", tap: "blk.0.ffn_up", dims: "token ffn" },
      weights: ["blk.0.ffn_up.weight", ...(bias ? ["blk.0.ffn_up.bias"] : [])],
    }),
    ...{ inputs: ["token embd"], weights: ["ffn embd", "ffn"] },
    name: ({ tokens, columns, outputs, bias }) => `${tokens}x${columns}x${outputs}${bias ? "+bias" : ""}`,
  },
  rope: {
    op: ({ headDim }) => ({ kind: "rope", tap: "blk.0.q_rope", dims: QUERIES, weights: [], headDim }),
    ...{ inputs: [QUERIES], weights: [], name: many },
  },
  attn_scores: {
    op: ({ heads, kvHeads, headDim }) => ({
      ...{ kind: "attn_scores", tap: "blk.0.attn_scores", dims: SCORES, weights: [] },
      ...{ heads, kvHeads, headDim, scale: 1 / Math.sqrt(headDim) },
    }),
    ...{ inputs: [QUERIES, KEYS], weights: [], name: many },
  },
  causal_softmax: {
    op: () => ({ kind: "causal_softmax", tap: "blk.0.attn_probs", dims: SCORES, weights: [] }),
    ...{ inputs: [SCORES], weights: [], name: many },
  },
  attn_ctx: {
    op: ({ heads, kvHeads, headDim }) => ({
      ...{ kind: "attn_ctx", tap: "blk.0.attn_ctx", dims: QUERIES, weights: [], heads, kvHeads, headDim },
    }),
    ...{ inputs: [SCORES, KEYS], weights: [], name: many },
  },
  swiglu: {
    op: () => ({ kind: "swiglu", tap: "blk.0.ffn_act", dims: "token ffn", weights: [] }),
    ...{ inputs: ["token ffn", "token ffn"], weights: [], name: wide },
  },
  add: {
    op: () => ({ kind: "add", tap: "blk.0.attn_residual", dims: "token embd", weights: [] }),
    ...{ inputs: ["token embd", "token embd"], weights: [], name: wide },
  },
};
export const OP_KINDS = Object.keys(KINDS) as OpKind[];
export type KernelKind = OpKind | ChoreKind;
export const KINDS_OF_KERNEL: readonly KernelKind[] = [...OP_KINDS, ...CHORE_KINDS];

/** Rows of the table of embeddings. */
const VOCAB = 67;

/** Every case, in a fixed order. */
export function* kernelCases(wants: (id: string) => boolean = () => true): Generator<KernelCase> {
  yield* opCases(wants);
  yield* choreCases(wants);
}

/** Those of ops, linear's twice. Block types are tried at the shapes that their blocks divide, odd data with weights in F32. */
export function* opCases(wants: (id: string) => boolean = () => true): Generator<OpKernelCase> {
  for (const kind of OP_KINDS) {
    for (const shape of shapesOf(kind)) {
      for (const type of typesOf(kind, shape)) {
        for (const data of dataOf(kind, type)) {
          for (const dtype of ["f32", "f16"] as const) {
            if (dtype === "f16" && (data !== "normal" || (type ?? "F32") !== "F32")) continue;
            const name = [KINDS[kind].name(shape), ...(type === null ? [] : [type]), data, dtype].join(" ");
            if (wants(`${kind} ${name}`)) yield kernelCase(`${kind} ${name}`, kind, shape, type, data, dtype);
            const portable = `${kind} portable ${name}`;
            if (kind === "linear" && wants(portable)) {
              yield { ...kernelCase(portable, kind, shape, type, data, dtype), portable: true };
            }
          }
        }
      }
    }
  }
}

/** An embedding has no data but its weights; blocks are random already. */
function dataOf(kind: OpKind, type: string | null): readonly DataName[] {
  if (kind === "embed" || (type !== null && type !== "F32")) return ["normal"];
  return DATA_NAMES;
}

function typesOf(kind: OpKind, { columns }: KernelShape): readonly (string | null)[] {
  if (kind === "rms_norm") return ["F32"];
  if (kind !== "linear" && kind !== "embed") return [null];
  return BLOCK_TYPES.filter(({ elements }) => columns % elements === 0).map(({ name }) => name);
}

function kernelCase(
  id: string,
  kind: OpKind,
  shape: KernelShape,
  type: string | null,
  data: DataName,
  dtype: "f32" | "f16",
): OpKernelCase {
  const seed = seedOf(id);
  const row = KINDS[kind];
  const op = row.op(shape);
  const parameters = parametersOf(shape);
  const { tokens: count, posStart } = shape;
  const axes = (tokens: number, keys: number) => axisSizes(parameters, tokens, keys);
  const sizes = axes(count, posStart + count);
  const inputs = row.inputs.map((dims, i) =>
    kind === "attn_ctx" && dims === SCORES
      ? probabilities(shape, seed)
      : DATA[data](elementsOf(shapeOf(dims, sizes)), seed + 17 * i),
  );
  const random = uniform(seed + 5);
  const typeOf = (dims: string) => (dims.includes(" ") ? (type ?? "F32") : "F32");
  const file = weightsOf(
    op.weights.map((name, i) => {
      const dims = row.weights[i] ?? "";
      return tensorOf(name, shapeOf(dims, sizes), typeOf(dims), random);
    }),
  );
  return {
    ...{ id, kind, shape: row.name(shape), type, data, dtype, op, posStart, inputs, inputDims: row.inputs },
    tokens: Array.from({ length: count }, () => Math.floor(random() * VOCAB)),
    model: {
      ...{ file, parameters, layers: [0], axes },
      graph: [{ op, inputs: row.inputs.map((dims, i) => ({ tap: `input ${i}`, cached: dims.startsWith("key") })) }],
    },
  };
}

function parametersOf({ columns, outputs, heads, kvHeads, headDim, tokens, posStart }: KernelShape): LlamaParameters {
  const rope = { base: 10000, dimensions: headDim, scaling: { type: "none" as const }, factors: null };
  return {
    ...{ layers: 1, embd: columns, heads, kvHeads, headDim, ffn: outputs, vocab: VOCAB, eps: 1e-5, rope },
    context: posStart + tokens,
  };
}

/** Rows that sum to one over the keys up to each query, 0 after it: what a softmax gives. */
function probabilities({ heads, tokens, posStart }: KernelShape, seed: number): Float32Array<ArrayBuffer> {
  const keys = posStart + tokens;
  const x = normals(seed, heads * tokens * keys).map(Math.abs);
  const out = new Float32Array(x.length);
  for (let row = 0; row < heads * tokens; row++) {
    const visible = posStart + (row % tokens) + 1;
    const own = x.subarray(row * keys, row * keys + visible);
    const sum = own.reduce((a, b) => a + b, 0);
    out.set(
      own.map((value) => value / sum),
      row * keys,
    );
  }
  return out;
}

/** A weight in memory. */
export interface HeldTensor {
  readonly tensor: TensorInfo;
  readonly bytes: Uint8Array;
}

function tensorOf(name: string, shape: readonly number[], typeName: string, random: () => number): HeldTensor {
  const type = BLOCK_TYPES.find((each) => each.name === typeName) as BlockType;
  const columns = shape.at(-1) ?? 1;
  const rows = elementsOf(shape) / columns;
  const rowBytes = (columns / type.elements) * type.bytes;
  return {
    tensor: { name, shape, type, byteOffset: 0, rowBytes, rows, columns },
    bytes: randomBlocks(typeName, rows * columns, random),
  };
}

/** Weights in memory as a file has them. */
export function weightsOf(held: readonly HeldTensor[]): WeightFile {
  const find = (name: string) => {
    const found = held.find(({ tensor }) => tensor.name === name);
    if (found === undefined) throw new Error(`no weight ${name}`);
    return found;
  };
  const readRows = ({ name, rowBytes, rows }: TensorInfo, first = 0, count = rows) =>
    find(name).bytes.subarray(first * rowBytes, (first + count) * rowBytes);
  return {
    name: "made up",
    tensor: (name) => find(name).tensor,
    readRows,
    decodeRows: (tensor, first, count) => decodeBlocks(tensor.type, readRows(tensor, first, count)),
  };
}
