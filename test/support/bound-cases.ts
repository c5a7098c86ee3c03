/** Single ops with inputs of any kind, judged: what an emulated engine gives against the bounds of what it declares. */

import { type OwnError, ownError } from "../../src/compare/audited-op.ts";
import type { OpModel } from "../../src/model/model.ts";
import type { Op, OpKind } from "../../src/model/ops.ts";
import { arithmeticOf } from "../../src/oracle/arithmetic.ts";
import { bounded } from "../../src/oracle/bounds.ts";
import { evaluate, type Matrix, type OracleContext } from "../../src/oracle/ops.ts";
import type { Manifest } from "../../src/trace/record.ts";
import { type EmulatedEngine, emulated } from "./emulated-ops.ts";
import type { Data } from "./hard-data.ts";
import { contextOf, f32Weight, matrixOf, memoryModel } from "./memory-model.ts";

export interface BoundCase {
  readonly op: Op;
  readonly model: OpModel;
  readonly inputs: readonly Matrix[];
  readonly context: OracleContext;
}

/** Rows, and the length of sums. */
export interface CaseSize {
  readonly rows: number;
  readonly terms: number;
}

const OUTPUTS = 3;
const HEADS = { heads: 2, kvHeads: 1 };
const tokens = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Softmax's inputs are scores: nothing above some hundred. */
const asScores = (x: Float32Array) => x.map((value) => Math.max(-90, Math.min(90, 3 * value)));
const asProbabilities = (x: Float32Array, columns: number) => {
  const y = x.map(Math.abs);
  for (let row = 0; row < y.length; row += columns) {
    const sum = y.subarray(row, row + columns).reduce((all, value) => all + value, 0);
    for (let i = row; i < row + columns; i++) y[i] = sum > 0 ? (y[i] as number) / sum : 1 / columns;
  }
  return y;
};

type Build = (size: CaseSize, data: Data, seed: number) => BoundCase;

const elementwise =
  (kind: "swiglu" | "add"): Build =>
  ({ rows, terms }, data, seed) => {
    const model = memoryModel({});
    const inputs = [matrixOf(rows, data(rows * terms, seed)), matrixOf(rows, data(rows * terms, seed + 50))];
    const op: Op = { kind, tap: kind, dims: "token embd", weights: [] };
    return { op, model, inputs, context: contextOf(model, 0, tokens(rows)) };
  };

export const CASES: { readonly [K in Exclude<OpKind, "embed" | "rope">]: Build } = {
  rms_norm: ({ rows, terms }, data, seed) => {
    const gain = data(terms, seed + 50).map((g) => (Math.abs(g) > 1e6 || g === 0 ? 1.5 : g));
    const model = memoryModel({ gain: f32Weight(1, gain) });
    const op: Op = { kind: "rms_norm", tap: "norm", dims: "token embd", weights: ["gain"], eps: Math.fround(1e-5) };
    const inputs = [matrixOf(rows, data(rows * terms, seed))];
    return { op, model, inputs, context: contextOf(model, 0, tokens(rows)) };
  },

  linear: ({ rows, terms }, data, seed) => {
    const bias = { bias: f32Weight(1, data(OUTPUTS, seed + 60)) };
    const model = memoryModel({ w: f32Weight(OUTPUTS, data(OUTPUTS * terms, seed + 50)), ...bias });
    const op: Op = { kind: "linear", tap: "linear", dims: "token embd", weights: seed % 2 ? ["w"] : ["w", "bias"] };
    const inputs = [matrixOf(rows, data(rows * terms, seed))];
    return { op, model, inputs, context: contextOf(model, 0, tokens(rows)) };
  },

  attn_scores: ({ rows, terms: headDim }, data, seed) => {
    const model = memoryModel({});
    const scale = 1 / Math.sqrt(headDim);
    const op: Op = {
      kind: "attn_scores",
      tap: "scores",
      dims: "head token key",
      weights: [],
      scale,
      headDim,
      ...HEADS,
    };
    const q = matrixOf(rows, data(rows * HEADS.heads * headDim, seed));
    const k = matrixOf(rows + 2, data((rows + 2) * HEADS.kvHeads * headDim, seed + 50));
    return { op, model, inputs: [q, k], context: contextOf(model, 2, tokens(rows)) };
  },

  causal_softmax: ({ rows, terms: keys }, data, seed) => {
    const model = memoryModel({});
    const op: Op = { kind: "causal_softmax", tap: "probs", dims: "head token key", weights: [] };
    const seen = Math.max(keys, rows);
    const scores = matrixOf(HEADS.heads * rows, asScores(data(HEADS.heads * rows * seen, seed)));
    return { op, model, inputs: [scores], context: contextOf(model, seen - rows, tokens(rows)) };
  },

  attn_ctx: ({ rows, terms: keys }, data, seed) => {
    const model = memoryModel({});
    const headDim = OUTPUTS;
    const op: Op = { kind: "attn_ctx", tap: "ctx", dims: "token (head head_dim)", weights: [], headDim, ...HEADS };
    const seen = Math.max(keys, rows);
    const p = matrixOf(HEADS.heads * rows, asProbabilities(data(HEADS.heads * rows * seen, seed), seen));
    for (let row = 0; row < p.rows; row++) {
      for (let s = seen - rows + (row % rows) + 1; s < seen; s++) p.data[row * seen + s] = 0;
    }
    const v = matrixOf(seen, data(seen * HEADS.kvHeads * headDim, seed + 50));
    return { op, model, inputs: [p, v], context: contextOf(model, seen - rows, tokens(rows)) };
  },

  swiglu: elementwise("swiglu"),
  add: elementwise("add"),
};

/** Settings as a producer declares them; it is no engine that the program knows. */
export interface Declared {
  readonly dtype?: string;
  readonly settings?: Manifest["producer"]["settings"];
  readonly name?: string;
}

export function boundedBy({ op, model, inputs, context }: BoundCase, declared: Declared = {}) {
  const { dtype = "f32", settings = {}, name = "some-engine" } = declared;
  const producer = { name, version: "1", device: "none", dtype, settings };
  return bounded(model, op, inputs, context, arithmeticOf(dtype, producer));
}

/** The op's own error as an audit gives it. */
export function judged(of: BoundCase, actual: Float32Array, declared: Declared = {}): OwnError {
  return ownError(boundedBy(of, declared), actual, declared.dtype ?? "f32");
}

/** What the engine gives, judged. */
export function judgedRun(of: BoundCase, engine: EmulatedEngine, declared: Declared = {}): OwnError {
  return judged(of, emulated(of.op, of.inputs, of.context, engine), declared);
}

/** What the op should have given, as f32. */
export const rightOf = ({ op, inputs, context }: BoundCase) => Float32Array.from(evaluate(op, inputs, context).data);
