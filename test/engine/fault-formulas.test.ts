/** What a planted fault computes, by formulas of their own, from the faulty run's own inputs: a fault is what it is called. */
import { describe, expect, it } from "vitest";
import { halfToFloat } from "../../src/model/half.ts";
import { type RunStep, syntheticModel } from "../support/engine.ts";
import { Bench, embedded } from "../support/faults.ts";
import { relativeL2 } from "../support/recompute.ts";

/** Relative error of f32 and its kernels against f64 formulas. */
const ROUNDING = 1e-6;

describe("activation and rope", () => {
  const silu: Readonly<Record<string, (g: number, u: number) => number>> = {
    "act.gelu-tanh": (g, u) => 0.5 * g * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3))) * u,
    "act.gelu-erf": (g, u) => 0.5 * g * (1 + erf(g / Math.SQRT2)) * u,
    "act.relu": (g, u) => Math.max(g, 0) * u,
    "act.sigmoid": (g, u) => u / (1 + Math.exp(-g)),
    "act.missing": (g, u) => g * u,
    "act.on-up": (g, u) => (g * u) / (1 + Math.exp(-u)),
  };
  it.each(Object.entries(silu))("%s", async (id, formula) => {
    const [step] = await (await embedded()).run(id);
    const of = (name: string) => step?.values.get(`blk.2.${name}`) ?? new Float32Array(0);
    const [gate, up] = [of("ffn_gate"), of("ffn_up")];
    const expected = Float64Array.from(gate, (g, i) => formula(g, up[i] as number));
    expect(relativeL2(expected, of("ffn_act"))).toBeLessThan(ROUNDING);
  });

  /** Elements of a head that are turned together, and the angle, in a head of 32. */
  const turns: Readonly<Record<string, (pair: number, position: number) => readonly [number, number, number]>> = {
    "rope.pairing": (j, p) => [j, j + 16, p * 10000 ** (-j / 16)],
    "rope.sign": (j, p) => [2 * j, 2 * j + 1, -p * 10000 ** (-j / 16)],
    "rope.twice": (j, p) => [2 * j, 2 * j + 1, 2 * p * 10000 ** (-j / 16)],
    "rope.base:500000": (j, p) => [2 * j, 2 * j + 1, p * 500000 ** (-j / 16)],
    "rope.frequency-exponent": (j, p) => [2 * j, 2 * j + 1, p * 10000 ** (-j / 32)],
    "rope.position-minus-one": (j, p) => [2 * j, 2 * j + 1, (p - 1) * 10000 ** (-j / 16)],
    "rope.half-dims": (j, p) => [2 * j, 2 * j + 1, j < 8 ? p * 10000 ** (-j / 16) : 0],
  };
  it.each(Object.entries(turns))("%s", async (id, turn) => {
    const [step] = await (await embedded()).run(id);
    const x = step?.values.get("blk.2.q_proj") ?? new Float32Array(0);
    const expected = new Float64Array(x.length);
    for (let head = 0; head * 32 < x.length; head++) {
      for (let pair = 0; pair < 16; pair++) {
        const [first, second, angle] = turn(pair, Math.floor(head / 8));
        const [a, b] = [x[head * 32 + first] as number, x[head * 32 + second] as number];
        expected[head * 32 + first] = a * Math.cos(angle) - b * Math.sin(angle);
        expected[head * 32 + second] = a * Math.sin(angle) + b * Math.cos(angle);
      }
    }
    expect(relativeL2(expected, step?.values.get("blk.2.q_rope") ?? [])).toBeLessThan(ROUNDING);
  });
});

/** Error function by its series; enough for |x| < 6. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let sum = 0;
  let term = x;
  for (let n = 0; n < 120; n++) {
    sum += term / (2 * n + 1);
    term *= -(x * x) / (n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const valuesOf = (step: RunStep | undefined, tap: string) => step?.values.get(tap) ?? new Float32Array(0);

describe("norm", () => {
  const EPS = Math.fround(1e-5);
  const mean = (row: Float32Array) => row.reduce((sum, x) => sum + x, 0) / row.length;
  const square = (row: Float32Array) => row.reduce((sum, x) => sum + x * x, 0) / row.length;
  /** The row that comes out; `all`: the whole tensor. */
  const formulas: Readonly<Record<string, (row: Float32Array, w: Float64Array, all: Float32Array) => number[]>> = {
    "norm.eps@blk.0.attn_norm:0.25": (row, w) => scaled(row, w, 1 / Math.sqrt(square(row) + 0.25)),
    "norm.eps-outside@blk.0.attn_norm": (row, w) => scaled(row, w, 1 / (Math.sqrt(square(row)) + EPS)),
    "norm.weight-plus-one@blk.0.attn_norm": (row, w) =>
      scaled(
        row,
        w.map((g) => g + 1),
        1 / Math.sqrt(square(row) + EPS),
      ),
    "norm.weight-missing@blk.0.attn_norm": (row, w) =>
      scaled(
        row,
        w.map(() => 1),
        1 / Math.sqrt(square(row) + EPS),
      ),
    "norm.sum-not-mean@blk.0.attn_norm": (row, w) => scaled(row, w, 1 / Math.sqrt(square(row) * row.length + EPS)),
    "norm.whole-tensor@blk.0.attn_norm": (row, w, all) => scaled(row, w, 1 / Math.sqrt(square(all) + EPS)),
    "norm.mean-subtracted@blk.0.attn_norm": (row, w) => {
      const centred = row.map((x) => x - mean(row));
      return scaled(centred, w, 1 / Math.sqrt(square(centred) + EPS));
    },
  };
  const scaled = (row: Float32Array, w: Float64Array, by: number) =>
    Array.from(row, (x, i) => x * by * (w[i] as number));

  it.each(Object.entries(formulas))("%s", async (text, formula) => {
    const bench = await embedded();
    const [step] = await bench.run(text);
    const gain = Float64Array.from(bench.model.file.decodeRows(bench.model.file.tensor("blk.0.attn_norm.weight")));
    const x = valuesOf(step, "embed");
    const rows = Array.from({ length: x.length / 256 }, (_, t) => x.subarray(256 * t, 256 * (t + 1)));
    expect(
      relativeL2(
        rows.flatMap((row) => formula(row, gain, x)),
        valuesOf(step, "blk.0.attn_norm"),
      ),
    ).toBeLessThan(ROUNDING);
  });
});

describe("what the cache holds in decode steps", () => {
  /** Where a slot's row comes from: the position it was made at, null for an empty slot. 24 is the first decode step's. */
  const held: Readonly<Record<string, (slot: number, newest: number) => number | null>> = {
    "kv.newest-dropped": (slot) => (slot >= 24 ? null : slot),
    "kv.newest-duplicated": (slot, newest) => (slot >= 23 ? Math.min(slot + 1, newest) : slot),
    "kv.stale": (slot) => (slot >= 24 ? slot - 1 : slot),
    "kv.slot-plus-one": (slot) => (slot === 24 ? null : slot > 24 ? slot - 1 : slot),
    "kv.other-layer": (slot) => slot,
    "kv.k-unrotated": (slot) => slot,
  };
  /** The tap whose row of a position is in the cache. */
  const source = (id: string, position: number) =>
    id === "kv.other-layer"
      ? "blk.1.k_rope"
      : id === "kv.k-unrotated" && position >= 24
        ? "blk.2.k_proj"
        : "blk.2.k_rope";

  it.each(Object.entries(held))("%s", async (id, from) => {
    const run = await (await embedded()).run(id);
    const rowAt = (position: number) => {
      const step = run.findLast(({ posStart }) => posStart <= position);
      const row = position - (step?.posStart ?? 0);
      return valuesOf(step, source(id, position)).subarray(64 * row, 64 * (row + 1));
    };
    for (const step of run.slice(1)) {
      const q = valuesOf(step, "blk.2.q_rope");
      const expected: number[] = [];
      for (let head = 0; head < 8; head++) {
        for (let slot = 0; slot <= step.posStart; slot++) {
          const position = from(slot, step.posStart);
          const k = position === null ? new Float32Array(64) : rowAt(position);
          let sum = 0;
          for (let d = 0; d < 32; d++)
            sum += (q[32 * head + d] as number) * (k[32 * Math.floor(head / 4) + d] as number);
          expected.push(sum / Math.sqrt(32));
        }
      }
      expect(relativeL2(expected, valuesOf(step, "blk.2.attn_scores")), `position ${step.posStart}`).toBeLessThan(
        ROUNDING,
      );
    }
  });
});

describe("block decoders", () => {
  type Block = (w: Float32Array, half: (at: number) => number, next: (at: number) => number) => number[];
  /** The 32 weights of a block that are used, from the right ones and the halves of this block's and the next one's bytes. */
  const formulas: readonly [type: string, id: string, bytes: number, block: Block][] = [
    ["Q4_0", "quant.nibble-order", 18, (w) => Array.from(w, (_, e) => pick(w, e))],
    ["Q5_1", "quant.nibble-order", 24, (w) => Array.from(w, (_, e) => pick(w, e))],
    ["Q4_0", "quant.zero-point", 18, (w, half) => Array.from(w, (x) => x + 8 * half(0))],
    ["Q4_1", "quant.min-sign", 20, (w, half) => Array.from(w, (x) => x - 2 * half(2))],
    ["Q4_1", "quant.min-missing", 20, (w, half) => Array.from(w, (x) => x - half(2))],
    ["Q8_0", "quant.scale-shift", 34, (w, half, next) => Array.from(w, (x) => (x / half(0)) * next(0))],
  ];
  /** Element e is taken from nibble e mod 2 of byte e / 2. */
  const pick = (w: Float32Array, e: number) => w[(e >> 1) + 16 * (e & 1)] as number;

  it.each(formulas)("%s %s", async (type, id, size, block) => {
    const model = await syntheticModel({ type, layers: 1 });
    const [step] = await (await Bench.of(model, [[5]])).run(id);
    const tensor = model.file.tensor("blk.0.attn_q.weight");
    const bytes = model.file.readRows(tensor, 0, tensor.rows);
    const right = model.file.decodeRows(tensor);
    const halfAt = (number: number) => (at: number) => {
      const first = Math.min(number, bytes.length / size - 1) * size + at;
      return halfToFloat((bytes[first] as number) | ((bytes[first + 1] as number) << 8));
    };
    const x = valuesOf(step, "blk.0.attn_norm");
    const blocks = tensor.columns / 32;
    const expected = Float64Array.from({ length: tensor.rows }, (_, n) => {
      let sum = 0;
      for (let b = 0; b < blocks; b++) {
        const number = n * blocks + b;
        const w = block(right.subarray(32 * number, 32 * (number + 1)), halfAt(number), halfAt(number + 1));
        for (const [i, each] of w.entries()) sum += each * (x[32 * b + i] as number);
      }
      return sum;
    });
    expect(relativeL2(expected, valuesOf(step, "blk.0.q_proj"))).toBeLessThan(ROUNDING);
  });
});
