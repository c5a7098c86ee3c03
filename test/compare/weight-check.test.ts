/** The check of decoded weights: it tells just the blocks that were changed, and shows each decoder fault that can be planted. */
import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodedHashes, decodedValues } from "../../references/llamacpp/decode.ts";
import { placesName } from "../../src/compare/block-places.ts";
import { randomBlocks } from "../../src/compare/kernels/blocks.ts";
import type { Spread } from "../../src/compare/spread.ts";
import { recordedWeights, weightAgreement } from "../../src/compare/weight-check.ts";
import { weightDifference } from "../../src/compare/weight-difference.ts";
import type { Fault } from "../../src/engine/faults/fault.ts";
import { parseFault } from "../../src/engine/faults/parse.ts";
import { weightRecords } from "../../src/engine/weight-taps.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { BLOCK_TYPES, type BlockType, decodeBlocks } from "../../src/model/blocks.ts";
import type { GgufFile } from "../../src/model/gguf.ts";
import type { Model } from "../../src/model/model.ts";
import { plain } from "../../src/report/colors.ts";
import { weightCheckJson, weightCheckSchema, weightCheckText } from "../../src/report/weight-check.ts";
import { InputError } from "../../src/trace/errors.ts";
import { FULL, syntheticModel, testGpu } from "../support/engine.ts";
import { normals, uniform } from "../support/random.ts";
import type { Unnumbered } from "../support/traces.ts";

function typeNamed(name: string): BlockType {
  const type = BLOCK_TYPES.find((each) => each.name === name);
  if (type === undefined) throw new Error(`no block type ${name}`);
  return type;
}

/** The indices that a spread of few ranges tells. */
const told = ({ ranges }: Spread) =>
  ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
const distinct = (numbers: readonly number[]) => [...new Set(numbers)].sort((a, b) => a - b);

/** A tensor, and indices of its elements. */
const changed = fc
  .record({
    type: fc.constantFrom(...BLOCK_TYPES),
    rows: fc.integer({ min: 1, max: 5 }),
    perRow: fc.integer({ min: 1, max: 4 }),
  })
  .chain(({ type, rows, perRow }) => {
    const length = rows * perRow * type.elements;
    const at = fc.uniqueArray(fc.nat(length - 1), { minLength: 1, maxLength: 12 });
    return fc.record({
      type: fc.constant(type),
      columns: fc.constant(perRow * type.elements),
      length: fc.constant(length),
      at,
    });
  });

describe("a tensor that differs", () => {
  it("has just the blocks, rows and places that were changed, and the largest change", () => {
    fc.assert(
      fc.property(changed, ({ type, columns, length, at }) => {
        const independent = normals(length, length);
        const engine = independent.slice();
        for (const [i, index] of at.entries()) engine[index] = (engine[index] as number) + 10 + 3 * i;
        const found = weightDifference("w", type, columns, { engine, independent, own: independent });
        const size = type.elements;
        const blocks = distinct(at.map((index) => Math.floor(index / size)));
        expect([found.elements, found.of, found.blocks, found.ofBlocks]).toEqual([
          at.length,
          length,
          blocks.length,
          length / size,
        ]);
        const start = (blocks[0] as number) * size;
        expect(found.first).toEqual({
          row: Math.floor(start / columns),
          block: (start % columns) / size,
          columns: [start % columns, (start % columns) + size - 1],
        });
        expect(told(found.rows)).toEqual(distinct(at.map((index) => Math.floor(index / columns))));
        expect(told(found.blocksOfRow)).toEqual(distinct(at.map((index) => Math.floor((index % columns) / size))));
        expect(told(found.places)).toEqual(distinct(at.map((index) => index % size)));
        const last = at.at(-1) as number;
        expect(found.largest).toEqual({
          ...{ row: Math.floor(last / columns), column: last % columns },
          ...{ engine: engine[last], independent: independent[last], own: independent[last] },
        });
        expect(found.alone).toEqual({ engine: at.length, independent: 0, own: 0, nobody: 0 });
      }),
    );
  });

  it("names the one of three decoders that stands alone", () => {
    const right = normals(1, 64);
    const wrong = right.map((value, i) => (i === 40 ? value + 1 : value));
    const other = right.map((value, i) => (i === 40 ? value - 1 : value));
    const alone = (engine: Float32Array, independent: Float32Array, own: Float32Array) =>
      weightDifference("w", typeNamed("Q4_0"), 64, { engine, independent, own }).alone;
    const nobody = { engine: 0, independent: 0, own: 0, nobody: 0 };
    expect(alone(wrong, right, right)).toEqual({ ...nobody, engine: 1 });
    expect(alone(right, wrong, right)).toEqual({ ...nobody, independent: 1 });
    expect(alone(right, right, wrong)).toEqual({ ...nobody, own: 1 });
    expect(alone(right, wrong, other)).toEqual({ ...nobody, nobody: 1 });
    expect(
      weightDifference("w", typeNamed("Q4_0"), 64, { engine: right, independent: right, own: wrong }),
    ).toMatchObject({
      ...{ elements: 0, blocks: 0, first: null, largest: null },
    });
  });

  it("puts NaN and Inf before every number; a NaN of other bits is none; zeros of other sign are counted", () => {
    const independent = Float32Array.of(1, 2, 0, Number.NaN, 5, Number.POSITIVE_INFINITY);
    const engine = Float32Array.of(1e30, Number.NaN, -0, 0, 5, Number.POSITIVE_INFINITY);
    new Uint32Array(engine.buffer)[3] = 0xffc00123;
    const found = weightDifference("w", typeNamed("F32"), 6, { engine, independent, own: independent });
    expect(found).toMatchObject({ elements: 3, nonFinite: 1, zeroSigns: 1 });
    expect(found.largest).toMatchObject({ column: 1, engine: Number.NaN, independent: 2 });
    const json = weightCheckJson({ decoder: "ggml", agreement: AGREEMENT, differences: [found] });
    expect(weightCheckSchema.parse(JSON.parse(JSON.stringify(json))).differences[0]?.largest?.engine).toBe("NaN");
  });
});

describe("places of a block", () => {
  /** Where the bytes of two nibbles are. */
  const NIBBLES: Readonly<Record<string, readonly [first: number, count: number]>> = {
    ...{ Q4_0: [2, 16], Q4_1: [4, 16], Q5_0: [6, 16], Q5_1: [8, 16], IQ4_NL: [2, 16] },
    ...{ Q4_K: [16, 128], Q5_K: [48, 128], Q6_K: [0, 128] },
  };
  const marks = (a: Float32Array, b: Float32Array) => Uint8Array.from(a, (value, i) => (value === b[i] ? 0 : 1));

  it.each(Object.keys(NIBBLES))("%s: low and high nibbles are the decoder's", (name) => {
    const type = typeNamed(name);
    const [first, count] = NIBBLES[name] ?? [0, 0];
    const block = randomBlocks(name, type.elements, uniform(5));
    if (name.endsWith("_K")) block.fill(0x41, ...((name === "Q6_K" ? [192, 208] : [4, 16]) as [number, number])); // no scale is 0
    const flipped = (mask: number) => block.map((byte, i) => (i >= first && i < first + count ? byte ^ mask : byte));
    const clean = decodeBlocks(type, block);
    expect(placesName(marks(clean, decodeBlocks(type, flipped(0x0f))), name)).toBe("low nibbles");
    expect(placesName(marks(clean, decodeBlocks(type, flipped(0xf0))), name)).toBe("high nibbles");
    expect(placesName(marks(clean, decodeBlocks(type, flipped(0xff))), name)).toBe("all");
  });

  it("halves and parities, and no name where there is none", () => {
    const of = (holds: (i: number) => boolean) =>
      placesName(
        Uint8Array.from({ length: 256 }, (_, i) => (holds(i) ? 1 : 0)),
        "Q3_K",
      );
    expect([of((i) => i < 128), of((i) => i >= 128), of((i) => i % 2 === 0), of((i) => i % 2 === 1)]).toEqual([
      "first half",
      "second half",
      "even",
      "odd",
    ]);
    expect([of((i) => i === 3), of((i) => i !== 3)]).toEqual([null, null]);
  });
});

const hash = (value: bigint, changes = {}) => ({ rows: 2, columns: 64, type: "q4_0", hash: value, ...changes });
const AGREEMENT = weightAgreement(new Map([["a", hash(1n)]]), new Map([["a", hash(1n)]]));

describe("hashes", () => {
  it("put every tensor of either side into one list", () => {
    const engine = new Map([
      ["a", hash(1n)],
      ["b", hash(2n)],
      ["c", hash(3n)],
      ["d", hash(4n)],
    ]);
    const independent = new Map([
      ["a", hash(1n)],
      ["b", hash(7n)],
      ["c", hash(3n, { type: "q4_1" })],
      ["e", hash(5n)],
    ]);
    const agreement = weightAgreement(engine, independent);
    expect(agreement).toEqual({
      ...{ same: ["a"], sameBlocks: 4, differing: ["b"], engineOnly: ["d"], independentOnly: ["e"] },
      unlike: [{ name: "c", engine: "2 x 64 q4_0", independent: "2 x 64 q4_1" }],
    });
    expect(weightCheckText({ decoder: "ggml", agreement, differences: [] })).toBe(
      [
        "1 of 2 tensors not decoded as ggml decodes them; first: b",
        "differing, not looked into: b",
        "c: not compared, 2 x 64 q4_0 here and 2 x 64 q4_1 in ggml",
        "not in ggml's file: d",
        "not recorded: e",
        "",
      ].join("\n"),
    );
  });

  it("with nothing in common are no agreement", () => {
    const nothing = () => weightAgreement(recordedWeights([]), new Map([["a", hash(1n)]]));
    expect(nothing).toThrow(InputError);
    expect(nothing).toThrow(/^no weight to compare: the trace has 0, the independent decoder 1, .*--taps 'weight:\*'$/);
  });
});

/** A tensor of the engine's records by all three decoders; ggml's from another file where one is given. */
async function differenceOf(file: GgufFile, name: string, records: readonly Unnumbered[], path = file.path) {
  const tensor = file.tensor(name);
  const engine = records.find(({ tap }) => tap === `weight:${name}`)?.values ?? new Float32Array(0);
  const voices = { engine, independent: await decodedValues(path, name), own: file.decodeRows(tensor) };
  return weightDifference(name, tensor.type, tensor.columns, voices);
}

/** Every weight as the taps record it. */
async function tapsOf(model: Model, faults: readonly Fault[] = []) {
  const gpu = await testGpu();
  const weights = await GpuWeights.load(gpu, model.file, model.weights.keys());
  const records: Unnumbered[] = [];
  for await (const record of weightRecords(gpu, model, weights, FULL, faults)) records.push(record);
  return records;
}

const SHAPE = { embd: 512, heads: 8, kvHeads: 2, ffn: 512, layers: 1 };

describe("the engine's taps and ggml", () => {
  it("agree on a model of Q4_K, in one line", async () => {
    const model = await syntheticModel({ ...SHAPE, type: "Q4_K", biases: true });
    const agreement = weightAgreement(recordedWeights(await tapsOf(model)), await decodedHashes(model.file.path));
    expect(weightCheckText({ decoder: "ggml", agreement, differences: [] })).toMatch(
      /^15 tensors, \d+ blocks decoded as ggml decodes them, to the bit\n$/,
    );
    // 260 x 2 of the embedding, 512 x 2 of q, output, gate, up and down, 128 x 2 of k and v; three norms and four biases
    expect(agreement.sameBlocks).toBe(520 + 5 * 1024 + 2 * 256 + 4 * 512 + 512 + 2 * 128);
  });

  it("differ in one block where one was changed in the file that ggml reads", async () => {
    const model = await syntheticModel({ ...SHAPE, type: "Q5_0" });
    const name = "blk.0.ffn_up.weight";
    const tensor = model.file.tensor(name);
    const bytes = readFileSync(model.file.path);
    const at = tensor.byteOffset + 3 * tensor.rowBytes + 7 * tensor.type.bytes + 6; // row 3, block 7: its first byte of nibbles
    bytes[at] = (bytes[at] as number) ^ 0xf0;
    const path = `${model.file.path}.changed`;
    writeFileSync(path, bytes);
    const records = await tapsOf(model);
    const agreement = weightAgreement(recordedWeights(records), await decodedHashes(path));
    expect(agreement.differing).toEqual([name]);
    const found = await differenceOf(model.file, name, records, path);
    expect(found).toMatchObject({
      ...{ elements: 1, blocks: 1, first: { row: 3, block: 7, columns: [224, 255] } },
      ...{ places: { count: 1, ranges: [[16, 16]] }, alone: { engine: 0, independent: 1, own: 0, nobody: 0 } },
    });
    expect(plain(weightCheckText({ decoder: "ggml", agreement, differences: [found] }))).toMatch(
      /^1 of 11 tensors not decoded .*first: blk\.0\.ffn_up\.weight\n.*\nblk\.0\.ffn_up\.weight +Q5_0 +1 of 8192 +row 3, columns 224 to 255 +16 of 32 +7 of 16 +row 3, column 240 .* ggml\n$/,
    );
  });
});

describe("planted faults of decoders", () => {
  type Expected = Partial<Record<"places" | "blocksOfRow" | "first", object>>;
  type Case = readonly [fault: string, type: string, found: Expected];
  const ALL = { name: "all" };
  /** Where a pair of sub-blocks of 64 has its first and last element in place. */
  const PAIRS = [0, 64, 128, 192].map((first) => [first + 1, first + 62]);
  const CASES: readonly Case[] = [
    ["nibble-order", "Q4_0", { places: { ranges: [[1, 30]] } }],
    ["nibble-order", "Q5_K", { places: { ranges: PAIRS } }],
    ["zero-point", "Q4_0", { places: ALL }],
    ["zero-point", "Q6_K", { places: ALL }],
    ["min-sign", "Q4_1", { places: ALL }],
    ["min-missing", "Q2_K", { places: ALL }],
    ["scale-shift", "Q8_0", { places: ALL }],
    ["scale-unsigned", "Q6_K", { places: ALL }],
    ["scale-high-bits", "Q4_K", { places: { name: "second half" } }],
    ["high-bit-missing", "Q5_0", { places: ALL }],
    ["high-bit-missing", "Q3_K", { places: ALL }],
    ["block-stride", "Q4_0", { places: ALL, blocksOfRow: { ranges: [[1, 15]], of: 16 }, first: { row: 0, block: 1 } }],
    ["block-stride", "Q4_K", { places: ALL, blocksOfRow: { ranges: [[1, 1]], of: 2 }, first: { row: 0, block: 1 } }],
  ];

  it.each(CASES)("quant.%s in %s", async (name, type, expected) => {
    const model = await syntheticModel({ ...SHAPE, type });
    const fault = parseFault(`quant.${name}@blk.0.q_proj`, model);
    const records = await tapsOf(model, [fault]);
    const agreement = weightAgreement(recordedWeights(records), await decodedHashes(model.file.path));
    expect(agreement.differing).toEqual(["blk.0.attn_q.weight"]);
    expect(agreement.same).toHaveLength(10);
    const found = await differenceOf(model.file, "blk.0.attn_q.weight", records);
    expect(found).toMatchObject({ first: { row: 0, block: 0 }, ...expected });
    expect(found.alone).toEqual({ engine: found.elements, independent: 0, own: 0, nobody: 0 });
    expect(found.rows.count).toBe(512);
  });
});
