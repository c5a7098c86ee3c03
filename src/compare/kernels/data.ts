/** Inputs that kernels are tried with: what real activations are like, and what breaks sums, exponentials and comparisons. */
import { normals, uniform } from "./random.ts";

type Make = (count: number, seed: number) => Float32Array<ArrayBuffer>;

const ofNormals =
  (of: (x: number, i: number, random: () => number) => number): Make =>
  (count, seed) => {
    const random = uniform(seed + 1);
    return Float32Array.from(normals(seed, count), (x, i) => of(x, i, random));
  };

/** One element of every input is replaced, in the middle: where it must show and where it must not follows from the op. */
const withOne =
  (value: number): Make =>
  (count, seed) => {
    const x = Float32Array.from(normals(seed, count));
    x[count >> 1] = value;
    return x;
  };

export const DATA = {
  normal: ofNormals((x) => x),
  /** Magnitudes from 1e-4 to 1e4 beside one another. */
  wide: ofNormals((x, _, random) => x * 10 ** (8 * random() - 4)),
  /** Each element with its negative but for 1e-5 of it: sums that cancel. */
  cancelling: (count, seed) => {
    const [x, noise] = [normals(seed, count), normals(seed + 2, count, 1e-5)];
    return Float32Array.from(x, (_, i) =>
      i % 2 === 0 ? (x[i] as number) : (noise[i] as number) - (x[i - 1] as number),
    );
  },
  zeros: ofNormals((x, _, random) => (random() < 0.3 ? 0 : x)),
  /** Half of them below the least normal f32, which WGSL lets an adapter flush to zero. */
  subnormal: ofNormals((x, _, random) => x * (random() < 0.5 ? 2 ** -127 : 2 ** -100)),
  nan: withOne(Number.NaN),
  inf: withOne(Number.POSITIVE_INFINITY),
} as const satisfies Readonly<Record<string, Make>>;
export type DataName = keyof typeof DATA;
export const DATA_NAMES = Object.keys(DATA) as DataName[];
