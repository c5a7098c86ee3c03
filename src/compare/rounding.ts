/** What one op may add for stated reasons: relative error (L2) of a row, from dtype and length of sums. docs/numerics.md derives each. */
import type { OpKind } from "../model/ops.ts";

/** Unit roundoff 2^-p of formats with p bits of significand. */
const UNIT_ROUNDOFF: Readonly<Record<string, number>> = { f64: 2 ** -53, f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -8 };

/**
 * Activations quantised in blocks of B to 127 steps: an error uniform in +-amax/254, RMS amax / (127 sqrt(12)), and amax <= sqrt(B)
 * times the block's RMS, so relative error <= sqrt(B) / (127 sqrt(12)). ggml: q8_0 and q8_1 have B = 32, q8_K has 256.
 */
const quantised = (block: number) => Math.sqrt(block) / (127 * Math.sqrt(12));
const ACTIVATION: Readonly<Record<string, number>> = { q8_0: quantised(32), q8_1: quantised(32), q8_k: quantised(256) };

const SINGLE = 2 ** -24;

/** What an op's own error depends on. */
export interface OpShape {
  /** Terms of its sums. */
  readonly terms: number;
  /** Position of the row. */
  readonly position: number;
}

/** Roundings of one op in units of u, for sums of K terms in any order: sqrt(K) for independent errors of random sign. */
const ROUNDINGS: Readonly<Record<OpKind | "rope_table" | "weight", (shape: OpShape) => number>> = {
  // Decoding is exact but for one product, or a product and a sum that may be fused.
  embed: () => 1,
  weight: () => 1,
  // Angles are f32 in most engines: position * frequency is off by some 3 u of itself; over the pairs of a head that is near u * position.
  rope_table: ({ position }) => 1 + position,
  add: () => 1,
  rope: ({ position }) => 3 + position,
  rms_norm: ({ terms }) => Math.sqrt(terms) / 2 + 6,
  linear: ({ terms }) => Math.sqrt(terms) + 2,
  attn_scores: ({ terms }) => Math.sqrt(terms) + 2,
  causal_softmax: ({ terms }) => Math.sqrt(terms) + 16,
  attn_ctx: ({ terms }) => Math.sqrt(terms) + 2,
  swiglu: () => 8,
};

/** Relative error that an op adds to a row when it computes and stores in `dtype`. Unknown kinds and dtypes count as a sum in f32. */
export function ownRounding(kind: string, dtype: string, shape: OpShape): number {
  const roundings = (ROUNDINGS[kind as OpKind] ?? ROUNDINGS.linear)(shape);
  if (kind === "weight") return SINGLE;
  const activation = ACTIVATION[dtype];
  if (activation !== undefined) return Math.hypot(activation, roundings * SINGLE);
  const unit = UNIT_ROUNDOFF[dtype] ?? SINGLE;
  // Narrow formats store results; sums are kept in f32 unless the engine says otherwise.
  if (unit > SINGLE) return Math.hypot(unit, roundings * SINGLE);
  return roundings * unit;
}

/**
 * Absolute error of an element where numbers become too small for the dtype, for sums of K terms: f16 rounds below 2^-14 to multiples
 * of 2^-24; what lies below 2^-126 in f32 many devices flush to zero, each term of a sum too.
 */
export function underflow(dtype: string, terms: number): number {
  return dtype === "f16" ? 2 ** -25 : terms * 2 ** -126;
}
