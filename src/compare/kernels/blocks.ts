/** Random weights in any block type: what a decoder is tried with. */
import { BLOCK_TYPES } from "../../model/blocks.ts";

/** Random blocks of a type, with scales of moderate size. */
export function randomBlocks(typeName: string, elements: number, random: () => number): Uint8Array {
  const type = BLOCK_TYPES.find((each) => each.name === typeName);
  if (type === undefined) throw new Error(`no block type ${typeName}`);
  const blocks = elements / type.elements;
  const bytes = new Uint8Array(blocks * type.bytes);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(random() * 256);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < blocks; block++) {
    const at = block * type.bytes;
    if (type.name === "F32") view.setFloat32(at, random() * 2 - 1, true);
    // Halves and bfloat16 of magnitude about 1/8 to 2, either sign.
    else if (type.name === "F16")
      view.setUint16(at, (random() < 0.5 ? 0x8000 : 0) | (0x3000 + Math.floor(random() * 0x1000)), true);
    else if (type.name === "BF16")
      view.setUint16(at, (random() < 0.5 ? 0x8000 : 0) | (0x3e00 + Math.floor(random() * 0x100)), true);
    else
      for (const scaleAt of SCALES_AT[type.name] ?? [])
        view.setUint16(at + scaleAt, 0x2000 + Math.floor(random() * 0x400), true);
  }
  return bytes;
}

/** Byte offsets of the f16 scales of each block type. */
export const SCALES_AT: Readonly<Record<string, readonly number[]>> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
};
