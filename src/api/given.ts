/** What an output was computed from, typed for each kind of op: what `withinBudget` takes. All tensors are flat, row-major. */
import type { OpKind } from "../model/ops.ts";
import type { RopeScaling } from "../model/rope.ts";

/** Numbers of f32; others are rounded to it. */
export type Numbers = Float32Array | readonly number[];

/** A matrix: decoded, or in the blocks of a GGUF type (`"Q4_0"`, `"Q6_K"`, ...) as a file has them. */
export type Weight = { readonly rows: number; readonly columns: number } & (
  | { readonly values: Numbers }
  | { readonly type: string; readonly blocks: Uint8Array }
);

interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Position of the first token; keys before it come from the cache. 0 unless told. */
  readonly posStart?: number;
}
/** Two tensors of one shape; `columns` of a row, all elements unless told. */
interface Pair {
  readonly columns?: number;
}

export interface Given {
  /** Rows of a table: token columns. */
  readonly embed: { readonly table: Weight; readonly ids: readonly number[] };
  /** x / sqrt(mean(x^2) + eps) * gain. x: token columns, as many columns as the gain has. */
  readonly rms_norm: { readonly x: Numbers; readonly gain: Numbers; readonly eps: number };
  /** x W^T (+ bias). x: token columns. */
  readonly linear: { readonly x: Numbers; readonly weight: Weight; readonly bias?: Numbers };
  /** Neighbouring pairs turned by position * base^(-2j / headDim). x: token (head head_dim). */
  readonly rope: {
    readonly x: Numbers;
    readonly heads: number;
    readonly headDim: number;
    readonly posStart?: number;
    /** 10000 unless told. */
    readonly base?: number;
    readonly scaling?: RopeScaling;
    /** Divisors of the frequencies, one a pair (llama3). */
    readonly factors?: Float32Array;
  };
  /** scale * q . k; 0 where the key comes after the query. q: token (head head_dim); k: key (kv_head head_dim); output: head token key. */
  readonly attn_scores: Heads & {
    readonly q: Numbers;
    readonly k: Numbers;
    /** 1 / sqrt(headDim) unless told. */
    readonly scale?: number;
  };
  /** Softmax over the keys up to the query, 0 after it. scores: head token key. */
  readonly causal_softmax: {
    readonly scores: Numbers;
    readonly heads: number;
    readonly tokens: number;
    readonly posStart?: number;
  };
  /** Values weighted by probabilities: token (head head_dim). probabilities: head token key; values: key (kv_head head_dim). */
  readonly attn_ctx: Heads & { readonly probabilities: Numbers; readonly values: Numbers };
  /** silu(gate) * up. */
  readonly swiglu: Pair & { readonly gate: Numbers; readonly up: Numbers };
  /** a + b. */
  readonly add: Pair & { readonly a: Numbers; readonly b: Numbers };
}

type Format = "f32" | "f16" | "bf16";

/** How the kernel computes. What is not declared is taken at its widest, but for formats, which are f32. */
export interface Declared {
  /** What the output is stored in. */
  readonly dtype?: Format;
  /** What sums are kept in. */
  readonly accumulate?: Format;
  /** What keys and values are cached in. */
  readonly kv?: Format;
  /** decoded: weights become f32 before they are multiplied. Else blocks may be multiplied as they are. */
  readonly weights?: "decoded";
  /** stored: the op read exactly these inputs. Else, of a dtype below f32, it may have read them rounded to it. */
  readonly inputs?: "stored";
  /** f32: what stands between an op's steps is not rounded to the dtype. */
  readonly between?: "f32";
  /** f64: angles were made in f64. */
  readonly angles?: "f64";
  /** Activations are quantised to 8 bits in blocks before a product, as ggml does. */
  readonly activations?: "q8_0" | "q8_1" | "q8_k";
}

/** Kinds of op, as `faultline kernels` names them. */
export type Kind = keyof Given & OpKind;
