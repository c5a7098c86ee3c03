/**
 * Products as ggml's CPU kernels compute them (ggml-quants.c, quantize_row_* and ggml_vec_dot_*): activations in blocks of 8 bits, whole
 * numbers multiplied and added, scales in f32.
 */
import { halfToFloat, roundToHalf } from "../../src/model/half.ts";

const f = Math.fround;

/** A block of weights d q - dmin m, in whole numbers q (times its sub-block's scale) and m. */
interface WeightBlock {
  readonly d: number;
  readonly dmin: number;
  readonly q: number[];
  readonly m: number[];
}

const half = (b: Uint8Array, at: number) => halfToFloat((b[at] as number) | ((b[at + 1] as number) << 8));
const nibble = (b: Uint8Array, at: number, e: number) =>
  e < 16 ? (b[at + e] as number) & 15 : (b[at + e - 16] as number) >> 4;
const signed = (byte: number) => (byte << 24) >> 24;
const each = (count: number, of: (i: number) => number) => Array.from({ length: count }, (_, i) => of(i));

/** 6-bit scale and minimum of a sub-block of Q4_K: get_scale_min_k4. */
function scaleAndMin(b: Uint8Array, at: number, j: number): readonly [number, number] {
  const q = (i: number) => b[at + i] as number;
  if (j < 4) return [q(j) & 63, q(j + 4) & 63];
  return [(q(j + 4) & 15) | ((q(j - 4) >> 6) << 4), (q(j + 4) >> 4) | ((q(j) >> 6) << 4)];
}

const READ: Readonly<Record<string, (b: Uint8Array, at: number) => WeightBlock>> = {
  Q4_0: (b, at) => ({ d: half(b, at), dmin: 0, q: each(32, (e) => nibble(b, at + 2, e) - 8), m: each(32, () => 0) }),
  Q4_1: (b, at) => ({
    ...{ d: half(b, at), dmin: -half(b, at + 2) },
    ...{ q: each(32, (e) => nibble(b, at + 4, e)), m: each(32, () => 1) },
  }),
  Q8_0: (b, at) => ({
    ...{ d: half(b, at), dmin: 0 },
    ...{ q: each(32, (e) => signed(b[at + 2 + e] as number)), m: each(32, () => 0) },
  }),
  Q4_K: (b, at) => ({
    ...{ d: half(b, at), dmin: half(b, at + 2) },
    q: each(256, (e) => {
      const byte = b[at + 16 + 32 * (e >> 6) + (e & 31)] as number;
      return scaleAndMin(b, at + 4, e >> 5)[0] * ((e >> 5) & 1 ? byte >> 4 : byte & 15);
    }),
    m: each(256, (e) => scaleAndMin(b, at + 4, e >> 5)[1]),
  }),
  Q6_K: (b, at) => ({
    ...{ d: half(b, at + 208), dmin: 0 },
    q: each(256, (e) => {
      const [part, quarter, l] = [e >> 7, (e >> 5) & 3, e & 31];
      const low = ((b[at + 64 * part + 32 * (quarter & 1) + l] as number) >> (4 * (quarter >> 1))) & 15;
      const high = ((b[at + 128 + 32 * part + l] as number) >> (2 * quarter)) & 3;
      return signed(b[at + 192 + (e >> 4)] as number) * ((low | (high << 4)) - 32);
    }),
    m: each(256, () => 0),
  }),
};

/** A block of activations: whole numbers and their step; `sum` what stands for step times their sum. */
interface ActivationBlock {
  readonly d: number;
  readonly q: number[];
  readonly sum: number;
}

const isAway = (x: number) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5);

/** quantize_row_q8_0_ref and quantize_row_q8_1_ref: the step is kept in half, the numbers are rounded by the step before that. */
function blockOf32(x: Float32Array): ActivationBlock {
  const d = f(x.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) / 127);
  const inverse = d === 0 ? 0 : f(1 / d);
  const q = Array.from(x, (value) => isAway(f(value * inverse)));
  const total = q.reduce((sum, value) => sum + value, 0);
  return { d: roundToHalf(d), q, sum: roundToHalf(f(total * d)) };
}

/** quantize_row_q8_K_ref: the largest number becomes -127. */
function blockOf256(x: Float32Array): ActivationBlock {
  const largest = x.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
  if (largest === 0) return { d: 0, q: each(x.length, () => 0), sum: 0 };
  const inverse = f(-127 / largest);
  const q = Array.from(x, (value) => Math.min(127, isAway(f(inverse * value))));
  const d = f(1 / inverse);
  return { d, q, sum: d * q.reduce((sum, value) => sum + value, 0) };
}

/** Activations that ggml pairs with each type of weights. */
export const ACTIVATIONS_OF: Readonly<Record<string, "q8_0" | "q8_1" | "q8_k">> = {
  ...{ Q4_0: "q8_0", Q8_0: "q8_0", Q4_1: "q8_1", Q4_K: "q8_k", Q6_K: "q8_k" },
};

const total = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0);

/** One output: a row of weights in blocks, and a row of activations. */
export function ggmlDot(type: string, row: Uint8Array, blockBytes: number, x: Float32Array): number {
  const read = READ[type];
  const activations = ACTIVATIONS_OF[type];
  if (read === undefined) throw new Error(`no ${type}`);
  const elements = activations === "q8_k" ? 256 : 32;
  let sum = 0;
  for (let b = 0; b * elements < x.length; b++) {
    const w = read(row, b * blockBytes);
    const part = x.subarray(b * elements, (b + 1) * elements);
    const a = elements === 256 ? blockOf256(part) : blockOf32(part);
    sum = f(sum + f(f(w.d * a.d) * total(w.q, a.q)));
    if (w.dmin === 0) continue;
    const minimum = activations === "q8_1" ? f(w.dmin * a.sum) : f(f(w.dmin * a.d) * total(w.m, a.q));
    sum = f(sum - minimum);
  }
  return sum;
}
