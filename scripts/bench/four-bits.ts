/**
 * Rows rounded to 4 bits as MatMulNBits stores them: in blocks of 32 a scale, a zero point of 4 bits, and nibbles, even elements low.
 * 5 bits an element with the f32 scale, as Q4_1 has, whose minimum this zero point cannot hold exactly: a figure of speed, not of
 * the model's words.
 */
export const BLOCK = 32;

export interface FourBits {
  readonly quants: Uint8Array;
  /** One a block. */
  readonly scales: Float32Array;
  /** Two a byte; a row begins with a byte of its own. */
  readonly zeros: Uint8Array;
}

/** `values` row-major; `columns` a multiple of 32. w = scale * (q - zero), 0 <= q, zero <= 15. */
export function quantised(values: Float32Array, columns: number): FourBits {
  const blocks = columns / BLOCK;
  const rows = values.length / columns;
  const rowZeros = Math.ceil(blocks / 2);
  const quants = new Uint8Array(values.length / 2);
  const scales = new Float32Array(rows * blocks);
  const zeros = new Uint8Array(rows * rowZeros);
  for (let block = 0; block < scales.length; block++) {
    const part = values.subarray(block * BLOCK, (block + 1) * BLOCK);
    let low = 0; // zero itself is always among the values that can be held
    let high = 0;
    for (const value of part) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const scale = (high - low) / 15 || 1;
    const zero = Math.round(-low / scale);
    scales[block] = scale;
    const column = block % blocks;
    const at = Math.floor(block / blocks) * rowZeros + (column >> 1);
    zeros[at] = (zeros[at] ?? 0) | (zero << (4 * (column & 1)));
    for (const [i, value] of part.entries()) {
      const q = Math.max(0, Math.min(15, Math.round(value / scale) + zero));
      const byte = (block * BLOCK + i) >> 1;
      quants[byte] = (quants[byte] ?? 0) | (q << (4 * (i & 1)));
    }
  }
  return { quants, scales, zeros };
}
