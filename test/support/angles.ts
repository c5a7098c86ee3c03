/** Tables of cosines and sines as engines make them in f32: frequencies by powers or step by step, angles as products. */
import type { RopeParameters, RopeScaling } from "../../src/model/rope.ts";

const f = Math.fround;

export interface AngleTable {
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}
export type Angles = (rope: RopeParameters, first: number, count: number) => AngleTable;

function table(rope: RopeParameters, first: number, count: number, angle: (position: number) => number[], by = 1) {
  const pairs = rope.dimensions / 2;
  const [cos, sin] = [new Float64Array(count * pairs), new Float64Array(count * pairs)];
  for (let row = 0; row < count; row++) {
    for (const [j, theta] of angle(first + row).entries()) {
      cos[row * pairs + j] = f(f(Math.cos(theta)) * by);
      sin[row * pairs + j] = f(f(Math.sin(theta)) * by);
    }
  }
  return { cos, sin };
}

/** The pair that turns so often within the original context, in f32: ggml_rope_yarn_corr_dim. */
const pairTurning = ({ dimensions, base }: RopeParameters, context: number, turns: number) =>
  f(f(dimensions * f(Math.log(f(context / f(f(turns * 2) * f(Math.PI)))))) / f(2 * f(Math.log(base))));

/** How much of its own frequency YaRN leaves a pair, in f32: rope_yarn_ramp. */
function ramp(rope: RopeParameters, scaling: RopeScaling & { type: "yarn" }, j: number): number {
  const low = Math.max(0, Math.floor(pairTurning(rope, scaling.originalContext, scaling.betaFast)));
  const high = Math.min(rope.dimensions - 1, Math.ceil(pairTurning(rope, scaling.originalContext, scaling.betaSlow)));
  const y = f((j - low) / Math.max(f(0.001), high - low));
  return f(1 - Math.min(1, Math.max(0, y)));
}

/** ggml_rope_cache_init and rope_yarn: the angle is multiplied down from pair to pair. */
const stepByStep: Angles = (rope, first, count) => {
  const { scaling, factors, dimensions } = rope;
  const step = f(f(rope.base) ** f(-2 / dimensions));
  const scale = scaling.type === "none" ? 1 : f(1 / scaling.factor);
  const angle = (position: number) => {
    let theta = position;
    return Array.from({ length: dimensions / 2 }, (_, j) => {
      const own = f(theta / (factors?.[j] ?? 1));
      theta = f(theta * step);
      const interpolated = f(scale * own);
      if (scaling.type !== "yarn") return interpolated;
      const mix = ramp(rope, scaling, j);
      return f(f(interpolated * f(1 - mix)) + f(own * mix));
    });
  };
  if (scaling.type !== "yarn") return table(rope, first, count, angle);
  return table(rope, first, count, angle, f(1 + f(f(0.1) * f(Math.log(f(1 / scale))))));
};

/** transformers: 1 / base^(2j / dimensions) in f32, then by position; modeling_rope_utils for YaRN. */
const inverseFrequency: Angles = (rope, first, count) => {
  const { scaling, factors, dimensions, base } = rope;
  const frequencies = Array.from({ length: dimensions / 2 }, (_, j) => {
    const power = f(base ** f(f(2 * j) / dimensions));
    const own = f(f(1 / power) / (factors?.[j] ?? 1));
    if (scaling.type === "none") return own;
    if (scaling.type === "linear") return f(own / scaling.factor);
    const mix = ramp(rope, scaling, j);
    return f(f(f(1 / f(scaling.factor * power)) * f(1 - mix)) + f(own * mix));
  });
  const by = scaling.type === "yarn" ? f(0.1 * Math.log(scaling.factor) + 1) : 1;
  return table(rope, first, count, (position) => frequencies.map((frequency) => f(position * frequency)), by);
};

/** powf for each pair and position. */
const powers: Angles = (rope, first, count) => {
  const { scaling, factors, dimensions, base } = rope;
  const angle = (position: number) =>
    Array.from({ length: dimensions / 2 }, (_, j) =>
      f(f(position * f(base ** f(f(-2 * j) / dimensions))) / (factors?.[j] ?? 1)),
    );
  return scaling.type === "none" ? table(rope, first, count, angle) : inverseFrequency(rope, first, count);
};

export const ANGLES: Readonly<Record<string, Angles>> = {
  "step by step": stepByStep,
  "inverse frequency": inverseFrequency,
  powers,
};

/** llama3's divisors: 1 for fast pairs, `factor` for slow ones, between them a ramp over wavelengths. */
export function llama3Factors(dimensions: number, base: number, factor: number, context = 8192): Float32Array {
  return Float32Array.from({ length: dimensions / 2 }, (_, j) => {
    const wavelength = 2 * Math.PI * base ** ((2 * j) / dimensions);
    const smooth = Math.min(1, Math.max(0, (context / wavelength - 1) / (4 - 1)));
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

const yarn = (factor: number): RopeScaling => ({
  ...{ type: "yarn", factor, originalContext: 4096, betaFast: 32, betaSlow: 1, attentionFactor: 1 },
});

/** Scalings that models have. */
export const scalings = (
  dimensions: number,
  base: number,
): readonly (readonly [name: string, scaling: RopeScaling, factors: Float32Array | null])[] => [
  ["none", { type: "none" }, null],
  ["linear 4", { type: "linear", factor: 4 }, null],
  ["yarn 4", yarn(4), null],
  ["yarn 40", yarn(40), null],
  ["llama3 8", { type: "none" }, llama3Factors(dimensions, base, 8)],
  ["llama3 32", { type: "none" }, llama3Factors(dimensions, base, 32)],
];
