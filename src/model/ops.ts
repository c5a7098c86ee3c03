/**
 * The ops that a forward page is written in. A page calls `ops.rmsNorm(...)`, `ops.linear(...)`; each call names its tap and
 * yields the op's facts (kind, weights, attributes, dims). An interpreter (GPU, f64 oracle, graph recorder, ONNX builder)
 * extends Ops<T> with one method, `run`, usually a table over the kinds.
 */

interface Common {
  readonly tap: string;
  /** Dims of the output, see trace/dims.ts. */
  readonly dims: string;
  /** Names of the weights it reads, in the order the kind defines. */
  readonly weights: readonly string[];
}

/** Rows of a table, by token id. weights: [table]. */
export type EmbedOp = Common & { readonly kind: "embed" };
/** x / sqrt(mean(x^2) + eps) * gain, by rows. weights: [gain]. */
export type RmsNormOp = Common & { readonly kind: "rms_norm"; readonly eps: number };
/** W x (+ bias). weights: [W] or [W, bias]. */
export type LinearOp = Common & { readonly kind: "linear" };
/** Turns neighbouring pairs (2j, 2j+1) of each head by the angle of the row's position. */
export type RopeOp = Common & { readonly kind: "rope"; readonly headDim: number };
/** scale * q . k of each query head with its KV head; 0 where the key lies after the query. inputs: [q, keys]. */
export type AttentionScoresOp = Common & {
  readonly kind: "attn_scores";
  readonly scale: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
};
/** Softmax of each row over the keys up to the query; 0 after it. */
export type CausalSoftmaxOp = Common & { readonly kind: "causal_softmax" };
/** Values weighted by probabilities, heads side by side. inputs: [probabilities, values]. */
export type AttentionContextOp = Common & {
  readonly kind: "attn_ctx";
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
};
/** silu(gate) * up, silu(x) = x / (1 + exp(-x)). inputs: [gate, up]. */
export type SwigluOp = Common & { readonly kind: "swiglu" };
/** a + b. */
export type AddOp = Common & { readonly kind: "add" };

export type Op =
  | EmbedOp
  | RmsNormOp
  | LinearOp
  | RopeOp
  | AttentionScoresOp
  | CausalSoftmaxOp
  | AttentionContextOp
  | SwigluOp
  | AddOp;
export type OpKind = Op["kind"];
export type OpOf<K extends OpKind> = Extract<Op, { kind: K }>;

/** What an attention op must know of the heads. */
export interface HeadLayout {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** A projection's weight, and its bias where the model has one. */
export interface Projection {
  readonly weight: string;
  readonly bias?: string;
}

export abstract class Ops<T> {
  /** Carries out one op on inputs that earlier calls returned. */
  abstract run(op: Op, inputs: readonly T[]): T;

  /** The rows given, after those of all earlier steps: the KV cache. `key (kv_head head_dim)`. */
  abstract cached(rows: T): T;

  embed(tap: string, table: string): T {
    return this.run({ kind: "embed", tap, dims: "token embd", weights: [table] }, []);
  }

  rmsNorm(tap: string, x: T, gain: string, eps: number): T {
    return this.run({ kind: "rms_norm", tap, dims: "token embd", weights: [gain], eps }, [x]);
  }

  linear(tap: string, x: T, projection: Projection, dims: string): T {
    const { weight, bias } = projection;
    return this.run({ kind: "linear", tap, dims, weights: bias === undefined ? [weight] : [weight, bias] }, [x]);
  }

  rope(tap: string, x: T, dims: string, headDim: number): T {
    return this.run({ kind: "rope", tap, dims, weights: [], headDim }, [x]);
  }

  attentionScores(tap: string, q: T, keys: T, layout: HeadLayout, scale: number): T {
    return this.run({ kind: "attn_scores", tap, dims: "head token key", weights: [], ...layout, scale }, [q, keys]);
  }

  causalSoftmax(tap: string, scores: T): T {
    return this.run({ kind: "causal_softmax", tap, dims: "head token key", weights: [] }, [scores]);
  }

  attentionContext(tap: string, probabilities: T, values: T, layout: HeadLayout): T {
    const dims = "token (head head_dim)";
    return this.run({ kind: "attn_ctx", tap, dims, weights: [], ...layout }, [probabilities, values]);
  }

  swiglu(tap: string, gate: T, up: T): T {
    return this.run({ kind: "swiglu", tap, dims: "token ffn", weights: [] }, [gate, up]);
  }

  add(tap: string, a: T, b: T): T {
    return this.run({ kind: "add", tap, dims: "token embd", weights: [] }, [a, b]);
  }
}
