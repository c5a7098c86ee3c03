/** Block decoders against ggml's own, bit for bit: random blocks, and every scale that is special. */
import koffi from "koffi";
import { describe, expect, it } from "vitest";
import { SCALES_AT } from "../../src/compare/kernels/blocks.ts";
import { BLOCK_TYPES, type BlockType, decodeBlocks } from "../../src/model/blocks.ts";
import { cached } from "../support/cache.ts";
import { uniform } from "../support/random.ts";

const RANDOM_BLOCKS = 100_000;
/** Halves: zeros, subnormals, least normals, ones, largest, negative ones of each, infinities, NaN. */
const SPECIAL_HALVES = [
  ...[0x0000, 0x0001, 0x0200, 0x03ff, 0x0400, 0x3c00, 0x3555, 0x7bff],
  ...[0x8000, 0x8001, 0x83ff, 0x8400, 0xbc00, 0xfbff, 0x7c00, 0xfc00, 0x7e00],
];

const ROW_DECODERS: Readonly<Record<string, string>> = { F16: "ggml_fp16_to_fp32_row", BF16: "ggml_bf16_to_fp32_row" };

/** Loaded once: libggml refuses to be initialised a second time. */
const library = koffi.load(cached("llama.cpp/libggml-base.so"));

/** ggml's to_float of a type. */
function ggmlDecoder(type: BlockType): (bytes: Uint8Array, elements: number) => Float32Array {
  const name = ROW_DECODERS[type.name] ?? `dequantize_row_${type.name.toLowerCase().replace("_k", "_K")}`;
  const decode = library.func(`void ${name}(const uint8_t *x, _Out_ float *y, int64_t k)`);
  return (bytes, elements) => {
    const out = new Float32Array(elements);
    decode(bytes, out, elements);
    return out;
  };
}

/** Index of the first element whose bits differ, or -1. Any NaN equals any NaN. */
function firstDifference(a: Float32Array, b: Float32Array): number {
  const aBits = new Uint32Array(a.buffer, a.byteOffset, a.length);
  const bBits = new Uint32Array(b.buffer, b.byteOffset, b.length);
  return aBits.findIndex((bits, i) => bits !== bBits[i] && !(Number.isNaN(a[i]) && Number.isNaN(b[i])));
}

const types = BLOCK_TYPES.filter((type) => type.name !== "F32");

describe("decoders give ggml's bits", () => {
  it.each(types)("$name: random blocks", (type) => {
    const ggml = ggmlDecoder(type);
    const random = uniform(type.id + 1);
    const blocks = type.elements === 1 ? 65536 : RANDOM_BLOCKS;
    const bytes = new Uint8Array(blocks * type.bytes);
    // For halves: every pattern there is.
    for (let i = 0; i < bytes.length; i++) bytes[i] = type.elements === 1 ? (i >> 1) >> (8 * (i & 1)) : random() * 256;
    const ours = decodeBlocks(type, bytes);
    expect(firstDifference(ours, ggml(bytes, ours.length))).toBe(-1);
  });

  it.each(types.filter((type) => type.elements > 1))("$name: special scales", (type) => {
    const ggml = ggmlDecoder(type);
    const random = uniform(type.id + 77);
    const scales = SCALES_AT[type.name] ?? [];
    const pairs = SPECIAL_HALVES.flatMap((first) => SPECIAL_HALVES.map((second) => [first, second] as const));
    const bytes = Uint8Array.from({ length: pairs.length * type.bytes }, () => random() * 256);
    const view = new DataView(bytes.buffer);
    for (const [block, pair] of pairs.entries()) {
      for (const [i, at] of scales.entries()) view.setUint16(block * type.bytes + at, pair[i] ?? 0, true);
    }
    const ours = decodeBlocks(type, bytes);
    expect(firstDifference(ours, ggml(bytes, ours.length))).toBe(-1);
  });

  it("F32 is itself", () => {
    const values = Float32Array.of(1.5, -0, 3e-45, Number.POSITIVE_INFINITY, -3.4e38);
    const type = BLOCK_TYPES.find((each) => each.name === "F32");
    expect(type && firstDifference(decodeBlocks(type, new Uint8Array(values.buffer)), values)).toBe(-1);
  });
});
