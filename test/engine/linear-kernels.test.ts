/** The two kernels of `linear`, and their sizes of workgroups: the same bits, whatever is asked of them. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { randomBlocks } from "../../src/compare/kernels/blocks.ts";
import { type HeldTensor, weightsOf } from "../../src/compare/kernels/cases.ts";
import { Buffers } from "../../src/engine/buffers.ts";
import { Pipelines } from "../../src/engine/kernels.ts";
import { lower } from "../../src/engine/lowering.ts";
import { borderedOutput, prepareDispatches } from "../../src/engine/prepared.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { BLOCK_TYPES, type BlockType } from "../../src/model/blocks.ts";
import type { OpOf } from "../../src/model/ops.ts";
import { testGpu } from "../support/engine.ts";
import { normals, uniform } from "../support/random.ts";

interface Product {
  /** One with columns of any number, and one in blocks: every type more is a dozen pipelines to compile. */
  readonly type: BlockType;
  readonly blocks: number;
  /** Columns less than a multiple of 32, of the type whose blocks are single elements. */
  readonly odd: number;
  readonly rows: number;
  readonly tokens: number;
  readonly hasBias: boolean;
  /** Rows of a slice of the matrix; 0: all. */
  readonly slice: number;
  /** Share of the elements of x that are NaN, Inf, -0 or subnormal. */
  readonly special: number;
  readonly seed: number;
}

const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e-42, 3e38];

const products = fc.record<Product>({
  type: fc.constantFrom(...BLOCK_TYPES.filter(({ name }) => ["F16", "Q4_1"].includes(name))),
  blocks: fc.integer({ min: 1, max: 4 }),
  odd: fc.integer({ min: 1, max: 31 }),
  rows: fc.integer({ min: 1, max: 70 }),
  tokens: fc.integer({ min: 1, max: 9 }),
  hasBias: fc.boolean(),
  slice: fc.constantFrom(0, 0, 1, 5),
  special: fc.constantFrom(0, 0, 0.01, 0.2),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

function held(name: string, type: BlockType, rows: number, columns: number, random: () => number): HeldTensor {
  const rowBytes = (columns / type.elements) * type.bytes;
  const shape = name === "bias" ? [columns] : [rows, columns];
  return {
    tensor: { name, shape, type, byteOffset: 0, rowBytes, rows, columns },
    bytes: randomBlocks(type.name, rows * columns, random),
  };
}

/** `linear` comes first: all are held against it. */
const KERNELS_AND_WIDTHS = [
  [false, 8],
  [true, 8],
  [true, 64],
] as const;
/** A pipeline takes a software driver half a second, so it is made once for all products. */
let pipelines: Pipelines | undefined;

const BITS = new Uint32Array(1);
const FLOAT = new Float32Array(BITS.buffer);
/** Bits, but of NaN, whose payload and sign WebGPU leaves open. */
function bitsOf(value: number): number | "NaN" {
  FLOAT[0] = value;
  return Number.isNaN(value) ? "NaN" : (BITS[0] as number);
}

/** What each kernel at each width gives, each between NaNs. */
async function outputs({ type, blocks, odd, rows, tokens, hasBias, slice, special, seed }: Product) {
  const gpu = await testGpu();
  const random = uniform(seed);
  const columns = type.elements === 1 ? 32 * blocks - odd : type.elements * blocks;
  const f32 = BLOCK_TYPES.find(({ name }) => name === "F32") as BlockType;
  const bias = hasBias ? [held("bias", f32, 1, rows, random)] : [];
  const file = weightsOf([held("w", type, rows, columns, random), ...bias]);
  const x = Float32Array.from(normals(seed, tokens * columns), (value) =>
    random() < special ? (SPECIAL[Math.floor(random() * SPECIAL.length)] as number) : value,
  );
  const op: OpOf<"linear"> = {
    ...{ kind: "linear", tap: "y", dims: "token ffn" },
    weights: hasBias ? ["w", "bias"] : ["w"],
  };
  const rowBytes = file.tensor("w").rowBytes;
  // A limit is in words as the GPU has them; twice the file's is more than any padding.
  const limit = slice === 0 ? {} : { bindingLimit: Math.max(1024, 2 * slice * rowBytes) };
  const weights = await GpuWeights.load(gpu, file, op.weights, limit);
  const bytes = 4 * tokens * rows;
  const found: (number | "NaN")[][] = [];
  pipelines ??= new Pipelines(gpu);
  for (const [subgroups, width] of KERNELS_AND_WIDTHS) {
    if (subgroups && !gpu.subgroups) continue;
    const buffers = new Buffers(gpu, 0);
    const { buffer, binding: output } = borderedOutput(buffers, bytes, 256);
    gpu.device.queue.writeBuffer(buffer, 0, new Uint32Array(buffer.size / 4).fill(0x7fc0dead));
    const none = { buffer };
    const context = { weights, width, subgroups, tokens, ids: none, cosines: none, sines: none };
    const dispatches = lower(op, [buffers.upload("x", x)], output, { ...context, model: undefined as never });
    const prepared = await prepareDispatches(
      gpu,
      pipelines,
      dispatches,
      { tokens, posStart: 0, keys: tokens },
      {
        ...{ buffers, close: () => buffers.close() },
        output: { buffer, border: 256, bytes, written: { first: 0, count: bytes / 4 }, initial: null },
      },
    );
    await prepared.submit();
    found.push([...(await prepared.readAll())].map(bitsOf));
    prepared.close();
  }
  weights.close();
  return found;
}

it("gives the same bits for any shape, type, bias, slice and input", async () => {
  let elements = 0;
  await fc.assert(
    fc.asyncProperty(products, async (product) => {
      const [first = [], ...others] = await outputs(product);
      elements += first.length;
      for (const other of others) expect(other).toEqual(first);
    }),
    { numRuns: 60, seed: 1 },
  );
  expect(elements).toBeGreaterThan(1000);
}, 60_000);
