/**
 * Every op in plain f64 loops: slow, obvious, believed. A tensor is its rows; what an op needs beside its inputs (tokens,
 * positions, weights) comes as a context. Formulas stand with the ops in src/model/ops.ts.
 */
import type { Op, OpKind, OpOf } from "../model/ops.ts";

/** A matrix in f64, row-major. For `head token key` a row is one (head, token). */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

export interface OracleContext {
  /** Token ids of the step. */
  readonly tokens: readonly number[];
  /** Position of the first token. */
  readonly posStart: number;
  /** Cosines and sines of the step's positions: token pair. */
  readonly cos: Float64Array;
  readonly sin: Float64Array;
  /** Rows of a weight, decoded; all rows where `ids` is absent. */
  readonly weight: (name: string, ids?: readonly number[]) => Matrix;
}

type Evaluate<K extends OpKind> = (op: OpOf<K>, inputs: readonly Matrix[], context: OracleContext) => Matrix;

export function matrix(rows: number, columns: number, data = new Float64Array(rows * columns)): Matrix {
  return { rows, columns, data };
}

function input(inputs: readonly Matrix[], index: number): Matrix {
  const found = inputs[index];
  if (found === undefined) throw new Error(`input ${index} of ${inputs.length}`);
  return found;
}

function weightOf(op: Op, index: number, context: OracleContext, ids?: readonly number[]): Matrix {
  const name = op.weights[index];
  if (name === undefined) throw new Error(`${op.tap}: weight ${index} of ${op.weights.length}`);
  return context.weight(name, ids);
}

const elementwise =
  (of: (a: number, b: number) => number) =>
  (_op: Op, inputs: readonly Matrix[]): Matrix => {
    const a = input(inputs, 0);
    const b = input(inputs, 1);
    const y = matrix(a.rows, a.columns);
    for (let i = 0; i < a.data.length; i++) y.data[i] = of(a.data[i] as number, b.data[i] as number);
    return y;
  };

const EVALUATE: { readonly [K in OpKind]: Evaluate<K> } = {
  embed: (op, _inputs, context) => weightOf(op, 0, context, context.tokens),

  rms_norm: (op, inputs, context) => {
    const x = input(inputs, 0);
    const gain = weightOf(op, 0, context).data;
    const y = matrix(x.rows, x.columns);
    for (let t = 0; t < x.rows; t++) {
      let sum = 0;
      for (let e = 0; e < x.columns; e++) sum += (x.data[t * x.columns + e] as number) ** 2;
      const scale = 1 / Math.sqrt(sum / x.columns + op.eps);
      for (let e = 0; e < x.columns; e++) {
        y.data[t * x.columns + e] = (x.data[t * x.columns + e] as number) * scale * (gain[e] as number);
      }
    }
    return y;
  },

  linear: (op, inputs, context) => {
    const x = input(inputs, 0);
    const w = weightOf(op, 0, context);
    const bias = op.weights.length > 1 ? weightOf(op, 1, context).data : null;
    const y = matrix(x.rows, w.rows);
    for (let t = 0; t < x.rows; t++) {
      for (let n = 0; n < w.rows; n++) {
        let sum = 0;
        for (let k = 0; k < x.columns; k++) {
          sum += (w.data[n * x.columns + k] as number) * (x.data[t * x.columns + k] as number);
        }
        y.data[t * w.rows + n] = sum + (bias?.[n] ?? 0);
      }
    }
    return y;
  },

  rope: (op, inputs, { cos, sin }) => {
    const x = input(inputs, 0);
    const y = matrix(x.rows, x.columns);
    const pairs = op.headDim / 2;
    for (let t = 0; t < x.rows; t++) {
      for (let pair = 0; pair < x.columns / 2; pair++) {
        const c = cos[t * pairs + (pair % pairs)] as number;
        const s = sin[t * pairs + (pair % pairs)] as number;
        const at = t * x.columns + 2 * pair;
        const a = x.data[at] as number;
        const b = x.data[at + 1] as number;
        y.data[at] = a * c - b * s;
        y.data[at + 1] = a * s + b * c;
      }
    }
    return y;
  },

  attn_scores: (op, inputs, { posStart }) => {
    const q = input(inputs, 0); // token (head head_dim)
    const k = input(inputs, 1); // key (kv_head head_dim)
    const y = matrix(op.heads * q.rows, k.rows);
    for (let h = 0; h < op.heads; h++) {
      const kvHead = Math.floor(h / (op.heads / op.kvHeads));
      for (let t = 0; t < q.rows; t++) {
        for (let s = 0; s <= posStart + t && s < k.rows; s++) {
          let sum = 0;
          for (let d = 0; d < op.headDim; d++) {
            sum +=
              (q.data[t * q.columns + h * op.headDim + d] as number) *
              (k.data[s * k.columns + kvHead * op.headDim + d] as number);
          }
          y.data[(h * q.rows + t) * k.rows + s] = sum * op.scale;
        }
      }
    }
    return y;
  },

  causal_softmax: (_op, inputs, { tokens, posStart }) => {
    const x = input(inputs, 0);
    const y = matrix(x.rows, x.columns);
    for (let row = 0; row < x.rows; row++) {
      const seen = posStart + (row % tokens.length) + 1;
      const at = row * x.columns;
      let largest = Number.NEGATIVE_INFINITY;
      for (let s = 0; s < seen; s++) largest = Math.max(largest, x.data[at + s] as number);
      let sum = 0;
      for (let s = 0; s < seen; s++) {
        const e = Math.exp((x.data[at + s] as number) - largest);
        y.data[at + s] = e;
        sum += e;
      }
      for (let s = 0; s < seen; s++) y.data[at + s] = (y.data[at + s] as number) / sum;
    }
    return y;
  },

  attn_ctx: (op, inputs, { tokens, posStart }) => {
    const p = input(inputs, 0); // (head token) key
    const v = input(inputs, 1); // key (kv_head head_dim)
    const y = matrix(tokens.length, op.heads * op.headDim);
    for (let t = 0; t < tokens.length; t++) {
      for (let h = 0; h < op.heads; h++) {
        const kvHead = Math.floor(h / (op.heads / op.kvHeads));
        for (let d = 0; d < op.headDim; d++) {
          let sum = 0;
          for (let s = 0; s <= posStart + t; s++) {
            sum +=
              (p.data[(h * tokens.length + t) * p.columns + s] as number) *
              (v.data[s * v.columns + kvHead * op.headDim + d] as number);
          }
          y.data[t * y.columns + h * op.headDim + d] = sum;
        }
      }
    }
    return y;
  },

  swiglu: elementwise((gate, up) => (gate / (1 + Math.exp(-gate))) * up),
  add: elementwise((a, b) => a + b),
};

/** One op on given inputs. Cached inputs are the rows of all steps so far, oldest first. */
export function evaluate<K extends OpKind>(op: OpOf<K>, inputs: readonly Matrix[], context: OracleContext): Matrix {
  const row = EVALUATE[op.kind as K] as Evaluate<K>;
  return row(op, inputs, context);
}
