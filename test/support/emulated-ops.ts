/** The ops as an engine computes them: every operation rounded, in an order of its own, with the functions it has. */
import type { Op } from "../../src/model/ops.ts";
import type { OracleContext } from "../../src/oracle/ops.ts";
import { type DotOf, dotIn, FORMATS, ORDERS, type Order, type Round } from "./rounding.ts";

export interface EmulatedEngine {
  /** Of every operation between loading and storing. */
  readonly round: Round;
  readonly order: Order;
  readonly dot: DotOf;
  readonly exp: (x: number) => number;
  readonly store: Round;
  /** What cached keys and values, and what meets them, are kept in. */
  readonly cache: Round;
}

const same: Round = (x) => x;

export function emulatedEngine(changes: Partial<EmulatedEngine> = {}): EmulatedEngine {
  const { round = Math.fround, order = ORDERS.serial as Order } = changes;
  return {
    ...{ round, order, dot: dotIn(order, round), exp: (x) => round(Math.exp(x)), store: FORMATS.f32, cache: same },
    ...changes,
  };
}

/** Rows of inputs and output, row-major, as `evaluate` has them. */
interface Rows {
  readonly rows: number;
  readonly columns: number;
  readonly data: ArrayLike<number>;
}

type Emulate = (op: Op, inputs: readonly Rows[], context: OracleContext, engine: EmulatedEngine) => number[];

const of = (inputs: readonly Rows[], index: number): Rows => {
  const found = inputs[index];
  if (found === undefined) throw new Error(`no input ${index}`);
  return found;
};
const rowOf = ({ columns, data }: Rows, row: number, from = 0, length = columns) =>
  Array.from({ length }, (_, i) => data[row * columns + from + i] as number);
const loaded = (values: number[], round: Round) => values.map(round);

const pairs =
  (compute: (a: number, b: number, engine: EmulatedEngine) => number): Emulate =>
  (_op, inputs, _context, engine) =>
    Array.from(of(inputs, 0).data, (a, i) =>
      compute(engine.round(a), engine.round(of(inputs, 1).data[i] as number), engine),
    );

const EMULATED: Readonly<Record<Op["kind"], Emulate>> = {
  embed: (op, _inputs, context) => Array.from(context.weight(op.weights[0] ?? "", context.tokens).data),

  rms_norm: (op, inputs, context, { round, order }) => {
    const x = of(inputs, 0);
    const gain = context.weight(op.weights[0] ?? "").data;
    const eps = op.kind === "rms_norm" ? op.eps : 0;
    return Array.from({ length: x.rows }, (_, t) => {
      const row = loaded(rowOf(x, t), round);
      const sum = order(
        row.map((value) => round(value * value)),
        round,
      );
      const scale = round(1 / round(Math.sqrt(round(round(sum / x.columns) + eps))));
      return row.map((value, e) => round(round(value * scale) * round(gain[e] as number)));
    }).flat();
  },

  linear: (op, inputs, context, { round, dot }) => {
    const x = of(inputs, 0);
    const w = context.weight(op.weights[0] ?? "");
    const bias = op.weights[1] === undefined ? null : context.weight(op.weights[1]).data;
    const weights = Array.from({ length: w.rows }, (_, n) => loaded(rowOf(w, n), round));
    return Array.from({ length: x.rows }, (_, t) => {
      const row = loaded(rowOf(x, t), round);
      return weights.map((weight, n) => {
        const sum = dot(weight, row);
        return bias === null ? sum : round(sum + (bias[n] as number));
      });
    }).flat();
  },

  rope: (op, inputs, { cos, sin }, { round }) => {
    const x = of(inputs, 0);
    const half = op.kind === "rope" ? op.headDim / 2 : 1;
    const y = new Array<number>(x.rows * x.columns);
    for (let i = 0; i < y.length; i += 2) {
      const at = Math.floor(i / x.columns) * half + (((i % x.columns) >> 1) % half);
      const [c, s] = [round(cos[at] as number), round(sin[at] as number)];
      const [a, b] = [round(x.data[i] as number), round(x.data[i + 1] as number)];
      y[i] = round(round(a * c) - round(b * s));
      y[i + 1] = round(round(a * s) + round(b * c));
    }
    return y;
  },

  attn_scores: (op, inputs, { posStart }, { round, dot, cache }) => {
    if (op.kind !== "attn_scores") throw new Error(op.kind);
    const [q, k] = [of(inputs, 0), of(inputs, 1)];
    const y: number[] = [];
    for (let h = 0; h < op.heads; h++) {
      const kv = Math.floor(h / (op.heads / op.kvHeads));
      for (let t = 0; t < q.rows; t++) {
        const query = loaded(rowOf(q, t, h * op.headDim, op.headDim), (x) => cache(round(x)));
        for (let s = 0; s < k.rows; s++) {
          const key = loaded(rowOf(k, s, kv * op.headDim, op.headDim), (x) => cache(round(x)));
          y.push(s > posStart + t ? 0 : round(dot(query, key) * round(op.scale)));
        }
      }
    }
    return y;
  },

  causal_softmax: (_op, inputs, { tokens, posStart }, { round, order, exp }) => {
    const x = of(inputs, 0);
    return Array.from({ length: x.rows }, (_, row) => {
      const seen = posStart + (row % tokens.length) + 1;
      const scores = loaded(rowOf(x, row, 0, seen), round);
      const largest = Math.max(...scores);
      const weights = scores.map((score) => exp(round(score - largest)));
      const sum = order(weights, round);
      return Array.from({ length: x.columns }, (_, s) => (s < seen ? round((weights[s] as number) / sum) : 0));
    }).flat();
  },

  attn_ctx: (op, inputs, { tokens, posStart }, { round, dot, cache }) => {
    if (op.kind !== "attn_ctx") throw new Error(op.kind);
    const [p, v] = [of(inputs, 0), of(inputs, 1)];
    const y: number[] = [];
    for (let t = 0; t < tokens.length; t++) {
      for (let h = 0; h < op.heads; h++) {
        const seen = posStart + t + 1;
        const kv = Math.floor(h / (op.heads / op.kvHeads));
        const weights = loaded(rowOf(p, h * tokens.length + t, 0, seen), (x) => cache(round(x)));
        for (let d = 0; d < op.headDim; d++) {
          const at = kv * op.headDim + d;
          const values = Array.from({ length: seen }, (_, s) => cache(round(v.data[s * v.columns + at] as number)));
          y.push(dot(weights, values));
        }
      }
    }
    return y;
  },

  swiglu: pairs((gate, up, { round, exp }) => round(round(gate / round(1 + exp(-gate))) * up)),
  add: pairs((a, b, { round }) => round(a + b)),
};

/** What the op gives, stored. */
export function emulated(
  op: Op,
  inputs: readonly Rows[],
  context: OracleContext,
  engine: EmulatedEngine = emulatedEngine(),
): Float32Array {
  return Float32Array.from(EMULATED[op.kind](op, inputs, context, engine), engine.store);
}
