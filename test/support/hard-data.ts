/** Numbers that are hard on sums and bounds, as f32. */
import { normals, uniform } from "./random.ts";

export type Data = (count: number, seed: number) => Float32Array;

const ofNormals = (of: (x: number, i: number, count: number) => number): Data => {
  return (count, seed) => normals(seed, count).map((x, i) => of(x, i, count));
};

export const DATA: Readonly<Record<string, Data>> = {
  normal: ofNormals((x) => x),
  positive: ofNormals((x) => Math.abs(x)),
  /** Each number with its negative, and little besides. */
  cancelling: (count, seed) => {
    const x = normals(seed, count);
    const noise = normals(seed + 1, count, 1e-5);
    return x.map((_, i) => (i % 2 === 0 ? (x[i] as number) : -(x[i - 1] as number)) + (noise[i] as number));
  },
  "one huge channel": ofNormals((x, i, count) => (i === count >> 1 ? 3000 + x : x)),
  huge: ofNormals((x) => x * 1e12),
  tiny: ofNormals((x) => x * 1e-12),
  /** From 1e-6 to 1e6. */
  "many magnitudes": (count, seed) => {
    const random = uniform(seed + 7);
    return normals(seed, count).map((x) => x * 10 ** (12 * random() - 6));
  },
  subnormal: (count, seed) => {
    const random = uniform(seed + 9);
    return normals(seed, count).map((x) => (random() < 0.5 ? x * 2 ** -127 : x * 2 ** -100));
  },
  zeros: (count) => new Float32Array(count),
  "mostly zeros": ofNormals((x, i) => (i % 17 === 3 ? x : 0)),
};
