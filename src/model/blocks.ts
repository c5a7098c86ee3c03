/**
 * The block types of GGUF weights: one row a type, with its decoder. A block of `elements` weights takes `bytes` bytes.
 * Each decoder gives ggml's own value bit for bit: products of scale and quant are exact in f64, so the one rounding is the
 * store to f32, as it is in ggml. Byte maps stand beside each decoder; test/model/blocks.test.ts holds them against libggml.
 */
import { bfloat16ToFloat, halfToFloat } from "./half.ts";

/** Decodes one block at `at` of `b` to `out[o ...]`. */
type DecodeBlock = (b: Uint8Array, at: number, out: Float32Array, o: number) => void;

export interface BlockType {
  /** The number of the type in GGUF's tensor table. */
  readonly id: number;
  readonly name: string;
  readonly elements: number;
  readonly bytes: number;
  readonly decode: DecodeBlock;
}

const u8 = (b: Uint8Array, at: number) => b[at] as number;
const i8 = (b: Uint8Array, at: number) => ((b[at] as number) << 24) >> 24;
const u16 = (b: Uint8Array, at: number) => (b[at] as number) | ((b[at + 1] as number) << 8);
const u32 = (b: Uint8Array, at: number) => (u16(b, at) | (u16(b, at + 2) << 16)) >>> 0;
const f16 = (b: Uint8Array, at: number) => halfToFloat(u16(b, at));

const f32Bits = new Uint32Array(1);
const f32Value = new Float32Array(f32Bits.buffer);

/** Nibble order of all 32-element blocks: byte j holds element j in its low half and element j + 16 in its high half. */
const nibbles =
  (qs: number, value: (b: Uint8Array, at: number, q: number, element: number) => number): DecodeBlock =>
  (b, at, out, o) => {
    for (let j = 0; j < 16; j++) {
      const byte = u8(b, at + qs + j);
      out[o + j] = value(b, at, byte & 15, j);
      out[o + j + 16] = value(b, at, byte >> 4, j + 16);
    }
  };

/** Bit `element` of the 32 high bits at `qh`, worth 16. */
const fifthBit = (b: Uint8Array, qh: number, element: number) => ((u32(b, qh) >>> element) & 1) << 4;

const IQ4_NL_VALUES = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/** 6-bit scale and minimum of sub-block s, from the 12 bytes at `p` that Q4_K and Q5_K share. */
function scaleAndMin(b: Uint8Array, p: number, s: number): [scale: number, min: number] {
  if (s < 4) return [u8(b, p + s) & 63, u8(b, p + s + 4) & 63];
  const low = u8(b, p + s + 4);
  return [(low & 15) | ((u8(b, p + s - 4) >> 6) << 4), (low >> 4) | ((u8(b, p + s) >> 6) << 4)];
}

// scales[16] at 0 (low nibble scale, high nibble min), qs[64] at 16, d at 80, dmin at 82
const decodeQ2K: DecodeBlock = (b, at, out, o) => {
  const d = f16(b, at + 80);
  const dmin = f16(b, at + 82);
  for (let e = 0; e < 256; e++) {
    const scale = u8(b, at + (e >> 4));
    const q = (u8(b, at + 16 + 32 * (e >> 7) + (e & 31)) >> (2 * ((e >> 5) & 3))) & 3;
    out[o + e] = d * (scale & 15) * q - dmin * (scale >> 4);
  }
};

// hmask[32] at 0, qs[64] at 32, scales[12] at 96, d at 108; scale k: low four bits in byte k mod 8, high two in byte 8 + k mod 4
const decodeQ3K: DecodeBlock = (b, at, out, o) => {
  const d = f16(b, at + 108);
  for (let k = 0; k < 16; k++) {
    const low = (u8(b, at + 96 + (k & 7)) >> (k < 8 ? 0 : 4)) & 15;
    const high = (u8(b, at + 104 + (k & 3)) >> (2 * (k >> 2))) & 3;
    const scale = d * ((low | (high << 4)) - 32);
    for (let e = 16 * k; e < 16 * k + 16; e++) {
      const group = e >> 5; // 32 elements share a bit of hmask and a shift of qs
      const q = (u8(b, at + 32 + 32 * (e >> 7) + (e & 31)) >> (2 * (group & 3))) & 3;
      const keep = (u8(b, at + (e & 31)) >> group) & 1;
      out[o + e] = scale * (keep ? q : q - 4);
    }
  }
};

// d at 0, dmin at 2, scales[12] at 4, then (Q5_K: qh[32] at 16) qs[128]; 8 sub-blocks of 32, two share 32 bytes of qs
const decodeQ4Or5K =
  (qs: number, highBits: boolean): DecodeBlock =>
  (b, at, out, o) => {
    const d = f16(b, at);
    const dmin = f16(b, at + 2);
    for (let s = 0; s < 8; s++) {
      const [scale, min] = scaleAndMin(b, at + 4, s);
      for (let l = 0; l < 32; l++) {
        const nibble = (u8(b, at + qs + 32 * (s >> 1) + l) >> (4 * (s & 1))) & 15;
        const q = highBits ? nibble | (((u8(b, at + 16 + l) >> s) & 1) << 4) : nibble;
        out[o + 32 * s + l] = d * scale * q - dmin * min;
      }
    }
  };

// ql[128] at 0, qh[64] at 128, signed scales[16] at 192, d at 208; two halves of 128 elements
const decodeQ6K: DecodeBlock = (b, at, out, o) => {
  const d = f16(b, at + 208);
  for (let e = 0; e < 256; e++) {
    const half = e >> 7;
    const quarter = (e >> 5) & 3;
    const l = e & 31;
    const low = (u8(b, at + 64 * half + 32 * (quarter & 1) + l) >> (4 * (quarter >> 1))) & 15;
    const high = (u8(b, at + 128 + 32 * half + l) >> (2 * quarter)) & 3;
    out[o + e] = d * i8(b, at + 192 + (e >> 4)) * ((low | (high << 4)) - 32);
  }
};

const ROWS: readonly [id: number, name: string, elements: number, bytes: number, decode: DecodeBlock][] = [
  [
    0,
    "F32",
    1,
    4,
    (b, at, out, o) => {
      f32Bits[0] = u32(b, at);
      out[o] = f32Value[0] as number;
    },
  ],
  [
    1,
    "F16",
    1,
    2,
    (b, at, out, o) => {
      out[o] = f16(b, at);
    },
  ],
  [
    30,
    "BF16",
    1,
    2,
    (b, at, out, o) => {
      out[o] = bfloat16ToFloat(u16(b, at));
    },
  ],
  // d at 0, qs[16] at 2
  [2, "Q4_0", 32, 18, nibbles(2, (b, at, q) => f16(b, at) * (q - 8))],
  // d at 0, m at 2, qs[16] at 4
  [3, "Q4_1", 32, 20, nibbles(4, (b, at, q) => f16(b, at) * q + f16(b, at + 2))],
  // d at 0, qh at 2, qs[16] at 6
  [6, "Q5_0", 32, 22, nibbles(6, (b, at, q, e) => f16(b, at) * ((q | fifthBit(b, at + 2, e)) - 16))],
  // d at 0, m at 2, qh at 4, qs[16] at 8
  [7, "Q5_1", 32, 24, nibbles(8, (b, at, q, e) => f16(b, at) * (q | fifthBit(b, at + 4, e)) + f16(b, at + 2))],
  // d at 0, int8[32] at 2
  [
    8,
    "Q8_0",
    32,
    34,
    (b, at, out, o) => {
      const d = f16(b, at);
      for (let j = 0; j < 32; j++) out[o + j] = d * i8(b, at + 2 + j);
    },
  ],
  [10, "Q2_K", 256, 84, decodeQ2K],
  [11, "Q3_K", 256, 110, decodeQ3K],
  [12, "Q4_K", 256, 144, decodeQ4Or5K(16, false)],
  [13, "Q5_K", 256, 176, decodeQ4Or5K(48, true)],
  [14, "Q6_K", 256, 210, decodeQ6K],
  // d at 0, qs[16] at 2: indices into a table
  [20, "IQ4_NL", 32, 18, nibbles(2, (b, at, q) => f16(b, at) * (IQ4_NL_VALUES[q] as number))],
];

export const BLOCK_TYPES: readonly BlockType[] = ROWS.map(([id, name, elements, bytes, decode]) => ({
  id,
  name,
  elements,
  bytes,
  decode,
}));
const BY_ID = new Map(BLOCK_TYPES.map((type) => [type.id, type]));

/** The block type with a GGUF number, or undefined where we have no decoder. */
export function blockType(id: number): BlockType | undefined {
  return BY_ID.get(id);
}

/** Decodes whole blocks to f32. `bytes` must hold a whole number of blocks. */
export function decodeBlocks(type: BlockType, bytes: Uint8Array): Float32Array {
  const blocks = bytes.length / type.bytes;
  if (!Number.isInteger(blocks))
    throw new Error(`${bytes.length} bytes are not whole ${type.name} blocks of ${type.bytes}`);
  const out = new Float32Array(blocks * type.elements);
  for (let i = 0; i < blocks; i++) type.decode(bytes, i * type.bytes, out, i * type.elements);
  return out;
}
