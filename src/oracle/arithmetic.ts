/** How an engine computes, as far as its rounding goes: what a trace declares of itself, record by record. */
import type { Manifest } from "../trace/record.ts";

/** Unit roundoff 2^-p of formats with p bits of significand. */
export const UNIT: Readonly<Record<string, number>> = { f64: 2 ** -53, f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -8 };
export const SINGLE = 2 ** -24;
/** The same formats as numpy, PyTorch and engines' options spell them. */
const SPELLED: Readonly<Record<string, string>> = {
  ...{ half: "f16", fp16: "f16", float16: "f16" },
  ...{ bfloat16: "bf16", fp32: "f32", float: "f32", float32: "f32", fp64: "f64", double: "f64", float64: "f64" },
};

/** Blocks in which activations are quantised to 8 bits before a product, as ggml does beside quantised weights. */
export interface ActivationBlocks {
  readonly elements: 32 | 256;
  /** True if the block's scale is itself rounded to half (q8_0, q8_1). */
  readonly halfScale: boolean;
}
const ACTIVATIONS: Readonly<Record<string, ActivationBlocks>> = {
  q8_0: { elements: 32, halfScale: true },
  q8_1: { elements: 32, halfScale: true },
  q8_k: { elements: 256, halfScale: false },
};

export interface Arithmetic {
  /** What results are stored in. */
  readonly store: "f32" | "f16" | "bf16";
  /** Unit roundoff of the sums. */
  readonly sums: number;
  /** Null where products take activations as they are. */
  readonly activations: ActivationBlocks | null;
  /** Unit roundoff of cached keys and values where they are kept shorter than they were computed; 0 where not. */
  readonly cache: number;
  /** Roundings that a term of a sum of K passes at most: K in any order, fewer where the order is declared. */
  readonly roundings: (terms: number) => number;
  /** True if quantised weights are decoded to f32 before they are multiplied; false where blocks may be multiplied as they are. */
  readonly decodesWeights: boolean;
  /** True if angles of rotations are f64 before they are rounded; else they are taken to be products in f32. */
  readonly exactAngles: boolean;
  /** Unit roundoff by which the inputs recorded may differ from those used; 0 where an op reads what was stored. */
  readonly inputs: number;
  /** Unit roundoff of what stands between an op's steps (the silu before the product, a norm before its gain); 0 where that is f32. */
  readonly between: number;
}

/** Engines that decode weights first and read what they stored. Others say so in their settings. */
const DECODING = ["faultline", "transformers", "onnxruntime"];
/** The order of sums of this program's kernels: docs/numerics.md. */
export const BLOCKS_OF_32 = "blocks of 32, in order";

/**
 * What a record's dtype and its producer's settings declare: `kv` (or `kv_dtype`) f16 | bf16 | f32, `accumulate` f16 | bf16 | f32,
 * `sum_order`, `weights` "decoded", `inputs` "stored", `between` "f32", `rope_table`, `exact`. Formats may be spelt as PyTorch does (`float16`).
 * What is not declared is taken at its widest.
 */
export function arithmeticOf(dtype: string, { name, settings }: Manifest["producer"]): Arithmetic {
  const isF64 = dtype === "f64";
  const store = dtype === "f16" || dtype === "bf16" ? dtype : "f32";
  const unitOf = (setting: unknown) => {
    const name = String(setting).toLowerCase();
    return UNIT[SPELLED[name] ?? name] ?? SINGLE;
  };
  const cache = unitOf(settings.kv ?? settings.kv_dtype);
  const isOwn = settings.sum_order === BLOCKS_OF_32;
  const decodes = DECODING.includes(name.toLowerCase()) || settings.weights === "decoded" || settings.exact === true;
  const stored = store === "f32" || DECODING.includes(name.toLowerCase()) || settings.inputs === "stored";
  return {
    store,
    sums: isF64 ? SINGLE : unitOf(settings.accumulate),
    activations: ACTIVATIONS[dtype] ?? null,
    cache: cache > SINGLE && cache > (UNIT[store] ?? 0) ? cache : 0,
    // An f64 run is exact until it is stored: its sums are rounded once.
    roundings: isF64 ? () => 1 : isOwn ? (terms) => 11 + Math.ceil(terms / 32) : (terms) => terms,
    decodesWeights: decodes,
    exactAngles: isF64 || String(settings.rope_table ?? "").startsWith("f64"),
    inputs: isF64 ? SINGLE : stored ? 0 : (UNIT[store] ?? 0),
    between:
      store === "f32" || name.toLowerCase() === "faultline" || settings.between === "f32" ? 0 : (UNIT[store] ?? 0),
  };
}
