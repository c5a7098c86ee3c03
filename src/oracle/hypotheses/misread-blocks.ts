/**
 * Block decoders that can be told to go wrong: an element at a time, every reading error a parameter. Without an error each
 * gives the bits of src/model/blocks.ts (test/oracle/hypotheses-quant.test.ts); byte maps stand beside each decoder.
 */
import { halfToFloat } from "../../model/half.ts";

export interface Misreading {
  /** A byte's nibbles as neighbours 2j and 2j + 1; high bits go with their nibble, or stay where they were. */
  readonly neighbours?: "whole" | "low bits";
  /** The constant 8, 16, 32 or 4 not subtracted. */
  readonly noZeroPoint?: boolean;
  /** Factor of the minimum: -1 for the wrong sign, 0 for none. */
  readonly min?: -1 | 0;
  /** 8-bit scales read as 0 to 255. */
  readonly unsignedScales?: boolean;
  /** 6-bit scales and minima of sub-blocks 4 to 7 without their two high bits. */
  readonly noScaleHighBits?: boolean;
  /** Quants without their plane of high bits. */
  readonly noHighBits?: boolean;
}

/** A block, and the blocks that its scale d and its minimum are read from: itself, unless they are mixed up. */
export interface BlockBytes {
  readonly own: Uint8Array;
  readonly scale: Uint8Array;
  readonly min: Uint8Array;
}

/** The value of element e, before it is rounded to f32. */
type Element = (block: BlockBytes, e: number, wrong: Misreading) => number;

const u8 = (b: Uint8Array, at: number) => b[at] as number;
const half = (b: Uint8Array, at: number) => halfToFloat(u8(b, at) | (u8(b, at + 1) << 8));
const bit = (b: Uint8Array, at: number, i: number) => (u8(b, at + (i >> 3)) >> (i & 7)) & 1;

interface Nibbles {
  readonly qs: number;
  readonly m?: number;
  readonly qh?: number;
  readonly zero?: number;
  readonly codes?: readonly number[];
}

/** Blocks of 32: d at 0, element j in the low half of byte j, element j + 16 in its high half; bit e of qh is worth 16. */
const blockOf32 =
  ({ qs, m, qh, zero = 0, codes }: Nibbles): Element =>
  ({ own, scale, min }, e, wrong) => {
    const from = wrong.neighbours === undefined ? e : (e >> 1) + 16 * (e & 1);
    const nibble = (u8(own, qs + (from & 15)) >> (4 * (from >> 4))) & 15;
    const fifth =
      qh === undefined || wrong.noHighBits ? 0 : bit(own, qh, wrong.neighbours === "low bits" ? e : from) << 4;
    const q = codes === undefined ? (nibble | fifth) - (wrong.noZeroPoint ? 0 : zero) : (codes[nibble] as number);
    const value = half(scale, 0) * q;
    return m === undefined ? value : value + half(min, m) * (wrong.min ?? 1);
  };

/** d at 0, int8[32] at 2. */
const q8: Element = ({ own, scale }, e) => half(scale, 0) * ((u8(own, 2 + e) << 24) >> 24);

/** scales[16] at 0 (low nibble scale, high nibble minimum), qs[64] at 16, d at 80, dmin at 82. */
const q2k: Element = ({ own, scale, min }, e, wrong) => {
  const s = u8(own, e >> 4);
  const q = (u8(own, 16 + 32 * (e >> 7) + (e & 31)) >> (2 * ((e >> 5) & 3))) & 3;
  return half(scale, 80) * (s & 15) * q - half(min, 82) * (s >> 4) * (wrong.min ?? 1);
};

/** hmask[32] at 0, qs[64] at 32, scales[12] at 96, d at 108; the quant's high bit is bit e / 32 of hmask, worth 4. */
const q3k: Element = ({ own, scale }, e, wrong) => {
  const k = e >> 4;
  const low = (u8(own, 96 + (k & 7)) >> (k < 8 ? 0 : 4)) & 15;
  const high = (u8(own, 104 + (k & 3)) >> (2 * (k >> 2))) & 3;
  const q = (u8(own, 32 + 32 * (e >> 7) + (e & 31)) >> (2 * ((e >> 5) & 3))) & 3;
  const third = wrong.noHighBits ? 0 : ((u8(own, e & 31) >> (e >> 5)) & 1) << 2;
  return half(scale, 108) * ((low | (high << 4)) - 32) * ((q | third) - (wrong.noZeroPoint ? 0 : 4));
};

/** d at 0, dmin at 2, scales[12] at 4, (Q5_K: qh[32] at 16,) qs[128]; sub-blocks of 32, two of them share 32 bytes of qs. */
const q4kOr5k =
  (qs: number, qh: number | null): Element =>
  ({ own, scale, min }, e, wrong) => {
    const from = wrong.neighbours === undefined ? e : (e & ~63) + ((e & 63) >> 1) + 32 * (e & 1);
    const nibble = (u8(own, qs + 32 * (from >> 6) + (from & 31)) >> (4 * ((from >> 5) & 1))) & 15;
    const at = wrong.neighbours === "low bits" ? e : from;
    const fifth = qh === null || wrong.noHighBits ? 0 : ((u8(own, qh + (at & 31)) >> (at >> 5)) & 1) << 4;
    const [factor, least] = sixBits(own, e >> 5, !wrong.noScaleHighBits);
    return half(scale, 0) * factor * (nibble | fifth) - half(min, 2) * least * (wrong.min ?? 1);
  };

/** Scale and minimum of sub-block s from the 12 bytes at 4; those of 4 to 7 keep their high bits above those of 0 to 3. */
function sixBits(b: Uint8Array, s: number, highBits: boolean): [scale: number, min: number] {
  if (s < 4) return [u8(b, 4 + s) & 63, u8(b, 8 + s) & 63];
  const low = u8(b, 8 + s);
  const [scaleHigh, minHigh] = highBits ? [u8(b, s) >> 6, u8(b, 4 + s) >> 6] : [0, 0];
  return [(low & 15) | (scaleHigh << 4), (low >> 4) | (minHigh << 4)];
}

/** ql[128] at 0, qh[64] at 128, signed scales[16] at 192, d at 208; two halves of four quarters of 32. */
const q6k: Element = ({ own, scale }, e, wrong) => {
  const [part, quarter, l] = [e >> 7, (e >> 5) & 3, e & 31];
  const low = (u8(own, 64 * part + 32 * (quarter & 1) + l) >> (4 * (quarter >> 1))) & 15;
  const high = wrong.noHighBits ? 0 : (u8(own, 128 + 32 * part + l) >> (2 * quarter)) & 3;
  const s = u8(own, 192 + (e >> 4));
  const factor = wrong.unsignedScales ? s : (s << 24) >> 24;
  return half(scale, 208) * factor * ((low | (high << 4)) - (wrong.noZeroPoint ? 0 : 32));
};

/** Of ggml's IQ4_NL. */
const CODES = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

const ELEMENTS: Readonly<Record<string, Element>> = {
  Q4_0: blockOf32({ qs: 2, zero: 8 }),
  Q4_1: blockOf32({ qs: 4, m: 2 }),
  Q5_0: blockOf32({ qs: 6, qh: 2, zero: 16 }),
  Q5_1: blockOf32({ qs: 8, qh: 4, m: 2 }),
  Q8_0: q8,
  Q2_K: q2k,
  Q3_K: q3k,
  Q4_K: q4kOr5k(16, null),
  Q5_K: q4kOr5k(48, 16),
  Q6_K: q6k,
  IQ4_NL: blockOf32({ qs: 2, codes: CODES }),
};

export const MISREAD_TYPES: readonly string[] = Object.keys(ELEMENTS);

/** `count` elements of a block of a type in MISREAD_TYPES, rounded to f32 as ggml stores them. */
export function decodeMisread(type: string, block: BlockBytes, count: number, wrong: Misreading): Float32Array {
  const element = ELEMENTS[type];
  if (element === undefined) throw new Error(`no decoder of ${type} that can be told to go wrong`);
  return Float32Array.from({ length: count }, (_, e) => element(block, e, wrong));
}
