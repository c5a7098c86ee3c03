/**
 * The forward page as an ONNX graph of standard operators (set 23). Every tap is an output under its own name; weights, the past of
 * the KV cache and what depends on positions are inputs, so the graph itself is some kilobytes and serves steps of every length.
 */
import type { Model, OpModel } from "../../src/model/model.ts";
import { type Op, type OpKind, type OpOf, Ops } from "../../src/model/ops.ts";
import { shapeOf } from "../../src/trace/dims.ts";
import {
  type Attribute,
  ELEMENT,
  encodeModel,
  float,
  type Initializer,
  int,
  ints,
  type Node,
  valueInfo,
} from "./proto.ts";

/** Inputs of a step beside weights and pasts. */
export const STEP_INPUTS = {
  /** Token ids. */
  tokens: { element: "int64", shape: ["token"] },
  cos: { element: "float", shape: [1, "token", "rope_pair"] },
  sin: { element: "float", shape: [1, "token", "rope_pair"] },
  /** Whether the key lies at or before the query. */
  visible: { element: "bool", shape: ["token", "key"] },
} as const;

/** Rows of a tap of all earlier steps (input), and of this one after them (output). */
export const pastOf = (tap: string) => `past:${tap}`;
export const presentOf = (tap: string) => `present:${tap}`;

type Emit<K extends OpKind> = (graph: OnnxBuilder, op: OpOf<K>, inputs: readonly string[]) => void;

/**
 * One row an op kind. Heads stand as (kv_head, group): head h reads KV head floor(h / group), so row-major [kv_head, group, ...] is
 * [head, ...], and keys and values serve their group by broadcasting.
 */
const EMIT: { readonly [K in OpKind]: Emit<K> } = {
  embed: (g, op) => g.node("Gather", [...op.weights, "tokens"], op.tap),

  rms_norm: (g, op, [x = ""]) =>
    g.node("RMSNormalization", [x, ...op.weights], op.tap, int("axis", -1), float("epsilon", op.eps)),

  linear: (g, op, [x = ""]) => g.node("Gemm", [x, ...op.weights], op.tap, int("transB", 1)),

  rope: (g, op, [x = ""]) => {
    const heads = g.columns(op) / op.headDim;
    const batch = g.node("Unsqueeze", [x, g.int64s([0])], `${op.tap}/batch`);
    const attributes = [int("interleaved", 1), int("num_heads", heads)];
    const turned = g.node("RotaryEmbedding", [batch, "cos", "sin"], `${op.tap}/turned`, ...attributes);
    return g.node("Squeeze", [turned, g.int64s([0])], op.tap);
  },

  attn_scores: (g, op, [q = "", keys = ""]) => {
    const { heads, kvHeads, headDim } = op;
    const queries = g.heads(`${op.tap}/q`, q, [kvHeads, heads / kvHeads, headDim], [1, 2, 0, 3]); // kv_head group token head_dim
    const columns = g.heads(`${op.tap}/k`, keys, [kvHeads, 1, headDim], [1, 2, 3, 0]); //            kv_head 1 head_dim key
    const products = g.node("MatMul", [queries, columns], `${op.tap}/products`);
    const scores = g.node("Mul", [products, g.float32(op.scale)], `${op.tap}/scaled`);
    return g.node("Where", ["visible", scores, g.float32(0)], op.tap);
  },

  causal_softmax: (g, op, [scores = ""]) => {
    const masked = g.node("Where", ["visible", scores, g.float32(Number.NEGATIVE_INFINITY)], `${op.tap}/masked`);
    const softmax = g.node("Softmax", [masked], `${op.tap}/softmax`, int("axis", -1));
    return g.node("Where", ["visible", softmax, g.float32(0)], op.tap); // a row with a NaN is NaN throughout
  },

  attn_ctx: (g, op, [probabilities = "", values = ""]) => {
    const rows = g.heads(`${op.tap}/v`, values, [op.kvHeads, 1, op.headDim], [1, 2, 0, 3]); //       kv_head 1 key head_dim
    const context = g.node("MatMul", [probabilities, rows], `${op.tap}/heads`);
    const tokens = g.node("Transpose", [context], `${op.tap}/tokens`, ints("perm", [2, 0, 1, 3]));
    return g.node("Reshape", [tokens, g.int64s([0, -1])], op.tap);
  },

  // Not Sigmoid: ONNX Runtime's is a rational approximation, off by 2e-4 of the value at -10, twice the value at -17, then 0.
  swiglu: (g, op, [gate = "", up = ""]) => {
    const exponential = g.node("Exp", [g.node("Neg", [gate], `${op.tap}/negated`)], `${op.tap}/exp`);
    const divisor = g.node("Add", [exponential, g.float32(1)], `${op.tap}/divisor`);
    const silu = g.node("Div", [gate, divisor], `${op.tap}/silu`);
    return g.node("Mul", [silu, up], op.tap);
  },

  add: (g, op, inputs) => g.node("Add", inputs, op.tap),
};

/** Writes nodes; a value is its name. */
export class OnnxBuilder extends Ops<string> {
  readonly nodes: Node[] = [];
  readonly constants = new Map<string, Initializer>();
  readonly taps: string[] = [];
  readonly weights = new Set<string>();
  /** Taps whose rows are kept from step to step, with their columns. */
  readonly caches = new Map<string, number>();
  readonly #columns = new Map<string, number>();
  readonly #model: OpModel;

  constructor(model: OpModel) {
    super();
    this.#model = model;
  }

  override run<K extends OpKind>(op: OpOf<K>, inputs: readonly string[]): string {
    const emit = EMIT[op.kind as K] as Emit<K>;
    emit(this, op, inputs);
    for (const weight of op.weights) this.weights.add(weight);
    this.taps.push(op.tap);
    this.#columns.set(op.tap, this.columns(op));
    return op.tap;
  }

  override cached(rows: string): string {
    this.caches.set(rows, this.#columns.get(rows) ?? 0);
    return this.node("Concat", [pastOf(rows), rows], presentOf(rows), int("axis", 0));
  }

  /** Appends a node and gives its output. */
  node(type: string, input: readonly string[], output: string, ...attribute: readonly Attribute[]): string {
    this.nodes.push({ op_type: type, name: output, input, output: [output], attribute });
    return output;
  }

  /** Rows of `(heads head_dim)`, cut into heads and transposed. `perm` is of [row, ...heads]. */
  heads(name: string, rows: string, heads: readonly number[], perm: readonly number[]): string {
    const cut = this.node("Reshape", [rows, this.int64s([0, ...heads])], `${name}_heads`);
    return this.node("Transpose", [cut], name, ints("perm", perm));
  }

  int64s(values: readonly number[]): string {
    const name = `int64:${values.join(",")}`;
    this.constants.set(name, { name, dims: [values.length], data_type: ELEMENT.int64, int64_data: values });
    return name;
  }

  float32(value: number): string {
    const name = `float:${value}`;
    this.constants.set(name, { name, dims: [], data_type: ELEMENT.float, float_data: [value] });
    return name;
  }

  /** Length of a row of the op's output. */
  columns(op: Op): number {
    return shapeOf(op.dims, this.#model.axes(1, 1)).at(-1) ?? 1;
  }
}

export interface OnnxGraph {
  /** An .onnx file. */
  readonly bytes: Uint8Array;
  readonly weights: readonly string[];
  /** Taps whose rows are kept, with their columns. */
  readonly caches: ReadonlyMap<string, number>;
}

/** The graph of the model's forward page. */
export function onnxGraph(model: Model): OnnxGraph {
  const builder = new OnnxBuilder(model);
  model.forward(builder);
  const { nodes, constants, taps, caches } = builder;
  const weights = [...builder.weights];
  const bytes = encodeModel({
    name: model.architecture,
    node: nodes,
    initializer: [...constants.values()],
    input: [
      ...Object.entries(STEP_INPUTS).map(([name, { element, shape }]) => valueInfo(name, element, shape)),
      ...[...caches].map(([tap, columns]) => valueInfo(pastOf(tap), "float", ["past", columns])),
      ...weights.map((name) => valueInfo(name, "float", model.file.tensor(name).shape)),
    ],
    output: [...taps, ...[...caches.keys()].map(presentOf)].map((name) => valueInfo(name, "float")),
  });
  return { bytes, weights, caches };
}
