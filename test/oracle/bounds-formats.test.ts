/** Bounds of products in 8-bit blocks as ggml computes them, and of rotations whose angles are f32: right ones are never accused. */
import { describe, expect, it } from "vitest";
import { randomBlocks } from "../../src/compare/kernels/blocks.ts";
import { BLOCK_TYPES } from "../../src/model/blocks.ts";
import type { Op } from "../../src/model/ops.ts";
import { ANGLES, scalings } from "../support/angles.ts";
import { judged } from "../support/bound-cases.ts";
import { emulated, emulatedEngine } from "../support/emulated-ops.ts";
import { ACTIVATIONS_OF, ggmlDot } from "../support/ggml-products.ts";
import { DATA, type Data } from "../support/hard-data.ts";
import { contextOf, matrixOf, memoryModel } from "../support/memory-model.ts";
import { normals, uniform } from "../support/random.ts";

const ROWS = 6;
const OUTPUTS = 12;
const LINEAR: Op = { kind: "linear", tap: "linear", dims: "token embd", weights: ["w"] };
const TOKENS = Array.from({ length: ROWS }, (_, i) => i);

const scaled =
  (by: number): Data =>
  (count, seed) =>
    normals(seed, count, by);
/** Steps below 2^-14 lose bits in half, below 2^-25 they are 0: activations smaller than 0.0078 and 3.8e-6. */
const SMALL: Readonly<Record<string, Data>> = {
  "steps in half's subnormals": scaled(1e-3),
  "steps of few bits": scaled(1e-5),
  "steps of none": scaled(1e-6),
  "positive, steps of none": (count, seed) => normals(seed, count, 1e-6).map(Math.abs),
};
/** A step beyond 65504, or a block's sum, is infinite in half: that is no right product. */
const OVERFLOWS = ["huge", "many magnitudes"];

function product(type: string, terms: number, data: Data, seed: number) {
  const block = BLOCK_TYPES.find(({ name }) => name === type);
  if (block === undefined) throw new Error(type);
  const bytes = randomBlocks(type, OUTPUTS * terms, uniform(seed + terms));
  const model = memoryModel({ w: { type, rows: OUTPUTS, columns: terms, bytes } });
  const x = data(ROWS * terms, seed);
  const rowBytes = (terms / block.elements) * block.bytes;
  const row = (n: number) => bytes.subarray(n * rowBytes, (n + 1) * rowBytes);
  const actual = Float32Array.from({ length: ROWS * OUTPUTS }, (_, i) => {
    const t = Math.floor(i / OUTPUTS);
    return ggmlDot(type, row(i % OUTPUTS), block.bytes, x.subarray(t * terms, (t + 1) * terms));
  });
  return { of: { op: LINEAR, model, inputs: [matrixOf(ROWS, x)], context: contextOf(model, 0, TOKENS) }, actual };
}

describe.each(Object.entries(ACTIVATIONS_OF))("%s weights beside %s activations", (type, dtype) => {
  const data = { ...DATA, ...SMALL };
  it.each(Object.keys(data).filter((name) => dtype === "q8_k" || !OVERFLOWS.includes(name)))(
    "are clean: %s",
    (name) => {
      for (const terms of [256, 768, 1536]) {
        for (const seed of [1, 2]) {
          const { of, actual } = product(type, terms, data[name] ?? scaled(1), seed * 31);
          expect([terms, judged(of, actual, { dtype }).verdict]).toEqual([terms, "clean"]);
        }
      }
    },
  );

  it("are at fault where they are not declared, or a block is left out", () => {
    const { of, actual } = product(type, 768, scaled(1), 5);
    expect(judged(of, actual, { dtype: "f32" }).verdict).toBe("proved");
    const x = of.inputs[0]?.data ?? new Float64Array(0);
    const cut = {
      ...of,
      inputs: [
        matrixOf(
          ROWS,
          x.map((value, i) => (i % 768 < 256 ? 0 : value)),
        ),
      ],
    };
    expect(judged(cut, actual, { dtype }).verdict).toBe("proved");
  });
});

const HEADS: readonly (readonly [headDim: number, base: number])[] = [
  [64, 10000],
  [64, 100000],
  [80, 10000],
  [128, 500000],
  [128, 1000000],
];

describe.each(HEADS)("rotations of %i elements, base %i", (headDim, base) => {
  it.each(Object.entries(ANGLES))("with angles %s in f32 are clean, up to position 4000", (_name, angles) => {
    for (const [scaling, kind, factors] of scalings(headDim, base)) {
      const rope = { base, dimensions: headDim, scaling: kind, factors };
      const model = memoryModel({}, rope);
      const op: Op = { kind: "rope", tap: "q_rope", dims: "token (head head_dim)", weights: [], headDim };
      for (const position of [0, 1, 100, 1023, 3994]) {
        const context = contextOf(model, position, TOKENS);
        const inputs = [matrixOf(ROWS, normals(position + 3, ROWS * 2 * headDim))];
        const table = angles(rope, position, ROWS);
        const actual = emulated(op, inputs, { ...context, ...table }, emulatedEngine());
        const own = judged({ op, model, inputs, context }, actual);
        expect([scaling, position, own.verdict]).toEqual([scaling, position, "clean"]);
        // The same positions counted from one: a rotation too far, at any position.
        const off = emulated(op, inputs, { ...context, ...angles(rope, position + 1, ROWS) }, emulatedEngine());
        expect([scaling, position, judged({ op, model, inputs, context }, off).verdict]).toEqual([
          scaling,
          position,
          "proved",
        ]);
      }
    }
  });

  it("angles that are declared exact are held to that", () => {
    const rope = { base, dimensions: headDim, scaling: { type: "none" as const }, factors: null };
    const model = memoryModel({}, rope);
    const op: Op = { kind: "rope", tap: "q_rope", dims: "token (head head_dim)", weights: [], headDim };
    const context = contextOf(model, 3994, TOKENS);
    const inputs = [matrixOf(ROWS, normals(3, ROWS * 2 * headDim))];
    const declared = { settings: { rope_table: "f64, rounded to f32" } };
    const exact = emulated(op, inputs, context, emulatedEngine());
    expect(judged({ op, model, inputs, context }, exact, declared).verdict).toBe("clean");
    for (const angles of Object.values(ANGLES)) {
      const actual = emulated(op, inputs, { ...context, ...angles(rope, 3994, ROWS) }, emulatedEngine());
      expect(judged({ op, model, inputs, context }, actual, declared).verdict).toBe("proved");
    }
  });
});
