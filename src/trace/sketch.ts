/**
 * Sketch and hash of a tensor. The sketch of a row is 16 fixed random +-1 projections: the distance of two sketches, over 4,
 * estimates the distance of the rows. The hash is an integer sum over elements, so that any order of summation gives the same.
 * The kernel row_statistics.wgsl computes the same two; docs/trace-format.md is the specification.
 */

export const SKETCH_SIZE = 16;
/** Bit j of fmix32(c ^ seed) is the sign of column c in projection j. */
export const SKETCH_SIGN_SEED = 0x243f6a88;
const HASH_SEED_LOW = 0x13198a2e;
const HASH_SEED_HIGH = 0x03707344;

/** murmur3's 32-bit finaliser: every input bit moves every output bit. */
export function fmix32(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Sketch of a tensor of `rows` rows: 16 numbers a row, summed in f64 and rounded once. Non-finite elements are left out.
 * `sketch[r][j] = sum over c of (bit j of fmix32(c ^ seed) ? -x : x)`.
 */
export function sketchOf(values: Float32Array, rows: number, columns: number): Float32Array {
  const signs = new Uint32Array(columns);
  for (let c = 0; c < columns; c++) signs[c] = fmix32(c ^ SKETCH_SIGN_SEED);
  const sketch = new Float32Array(rows * SKETCH_SIZE);
  const sums = new Float64Array(SKETCH_SIZE);
  for (let r = 0; r < rows; r++) {
    sums.fill(0);
    for (let c = 0; c < columns; c++) {
      const x = values[r * columns + c] as number;
      if (!Number.isFinite(x)) continue;
      const bits = signs[c] as number;
      for (let j = 0; j < SKETCH_SIZE; j++) sums[j] = (sums[j] as number) + ((bits >>> j) & 1 ? -x : x);
    }
    sketch.set(sums, r * SKETCH_SIZE);
  }
  return sketch;
}

/** The hash of a tensor that comes in pieces, one after the other. */
export class HashFold {
  #low = 0;
  #high = 0;
  #next = 0;

  add(values: Float32Array): void {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    const first = this.#next;
    let low = this.#low;
    let high = this.#high;
    for (let i = 0; i < bits.length; i++) {
      const b = bits[i] as number;
      low = (low + fmix32(b ^ fmix32((first + i) ^ HASH_SEED_LOW))) | 0;
      high = (high + fmix32(b ^ fmix32((first + i) ^ HASH_SEED_HIGH))) | 0;
    }
    [this.#low, this.#high, this.#next] = [low, high, first + bits.length];
  }

  get hash(): bigint {
    return joinHash(this.#low, this.#high);
  }
}

/** Hash of a tensor from its bits and flat row-major indices: `high << 32 | low`, each a sum modulo 2^32. */
export function hashOf(values: Float32Array): bigint {
  const fold = new HashFold();
  fold.add(values);
  return fold.hash;
}

/** The 64-bit hash from its two sums. */
export function joinHash(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
