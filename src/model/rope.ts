/**
 * Rotary position tables, computed on the CPU in f64 and rounded once to f32: WGSL promises nothing for sines of large angles.
 * Pair j of a head turns by position * frequency_j, frequency_j = base^(-2j / dimensions), before scaling.
 */
import { ModelError } from "./errors.ts";
import type { GgufFile } from "./gguf.ts";
import { numberKeys } from "./number-keys.ts";

export type RopeScaling =
  | { readonly type: "none" }
  | { readonly type: "linear"; readonly factor: number }
  | {
      readonly type: "yarn";
      readonly factor: number;
      readonly originalContext: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly attentionFactor: number;
    };

export interface RopeParameters {
  readonly base: number;
  /** Rotated elements of a head. */
  readonly dimensions: number;
  readonly scaling: RopeScaling;
  /** Divisors of the frequencies, one a pair: how GGUF carries llama3 scaling (`rope_freqs.weight`). */
  readonly factors: Float32Array | null;
}

/** Reads `ARCH.rope.*` and `rope_freqs.weight`. Throws ModelError for a scaling that the forward page does not know. */
export function readRopeParameters(file: GgufFile, architecture: string, headDim: number): RopeParameters {
  const number = numberKeys(file, architecture);
  const dimensions = number("rope.dimension_count", headDim);
  if (dimensions !== headDim || dimensions % 2 !== 0) {
    throw new ModelError(
      `${file.name}: ${architecture}.rope.dimension_count is ${dimensions}, the head size ${headDim}; both must be the same even number`,
    );
  }
  const tensor = file.tensors.get("rope_freqs.weight");
  if (tensor !== undefined && tensor.rows * tensor.columns !== dimensions / 2) {
    throw new ModelError(
      `${file.name}: rope_freqs.weight has ${tensor.rows * tensor.columns} elements, ${dimensions / 2} pairs are rotated; convert the model again`,
    );
  }
  const factors = tensor === undefined ? null : file.decodeRows(tensor);
  const base = number("rope.freq_base", 10000);
  if (base === 0) throw new ModelError(`${file.name}: ${architecture}.rope.freq_base is 0; convert the model again`);
  return { base, dimensions, scaling: readScaling(file, architecture), factors };
}

function readScaling(file: GgufFile, architecture: string): RopeScaling {
  const number = numberKeys(file, architecture);
  const type = file.metadata[`${architecture}.rope.scaling.type`] ?? "linear";
  const factor = number("rope.scaling.factor", number("rope.scale_linear", 1)) || 1;
  if (type === "none" || (type === "linear" && factor === 1)) return { type: "none" };
  if (type === "linear") return { type, factor };
  if (type === "yarn") {
    return {
      type,
      factor,
      originalContext: number("rope.scaling.original_context_length", number("context_length")),
      betaFast: number("rope.scaling.yarn_beta_fast", 32),
      betaSlow: number("rope.scaling.yarn_beta_slow", 1),
      attentionFactor: number("rope.scaling.attn_factor", 1),
    };
  }
  throw new ModelError(
    `${file.name}: ${architecture}.rope.scaling.type is "${type}"; none, linear and yarn can be run`,
  );
}

/** Angle per position of each pair, and the factor on cosine and sine. */
export function ropeFrequencies(rope: RopeParameters): { frequencies: Float64Array; magnitude: number } {
  const { base, dimensions, scaling, factors } = rope;
  const frequencies = Float64Array.from(
    { length: dimensions / 2 },
    (_, j) => base ** ((-2 * j) / dimensions) / (factors?.[j] ?? 1),
  );
  if (scaling.type === "none") return { frequencies, magnitude: 1 };
  if (scaling.type === "linear") return { frequencies: frequencies.map((f) => f / scaling.factor), magnitude: 1 };
  // YaRN (arXiv 2309.00071, section 3.2): fast pairs keep their frequency, slow pairs are interpolated, a ramp between. The ramp
  // runs over pair indices between those that turn betaFast and betaSlow times within the original context.
  const pairTurning = (turns: number) =>
    (dimensions * Math.log(scaling.originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const low = Math.max(0, Math.floor(pairTurning(scaling.betaFast)));
  const high = Math.min(dimensions - 1, Math.ceil(pairTurning(scaling.betaSlow)));
  const scaled = frequencies.map((frequency, j) => {
    const kept = 1 - Math.min(1, Math.max(0, (j - low) / Math.max(0.001, high - low)));
    return (frequency / scaling.factor) * (1 - kept) + frequency * kept;
  });
  const growth = scaling.factor <= 1 ? 1 : 1 + 0.1 * Math.log(scaling.factor);
  return { frequencies: scaled, magnitude: growth * scaling.attentionFactor };
}

export interface RopeTable {
  /** token rope_pair, for positions `first ... first + count - 1`. */
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

/** Cosine and sine in f64 of the angles of `count` positions from `first` on. */
export function ropeTable(rope: RopeParameters, first: number, count: number): RopeTable {
  const { frequencies, magnitude } = ropeFrequencies(rope);
  const pairs = frequencies.length;
  const cos = new Float64Array(count * pairs);
  const sin = new Float64Array(count * pairs);
  for (let row = 0; row < count; row++) {
    for (let j = 0; j < pairs; j++) {
      const angle = (first + row) * (frequencies[j] as number);
      cos[row * pairs + j] = Math.cos(angle) * magnitude;
      sin[row * pairs + j] = Math.sin(angle) * magnitude;
    }
  }
  return { cos, sin };
}
