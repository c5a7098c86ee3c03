/** IEEE half and bfloat16, exactly: every finite half is an f32. */

const buffer = new ArrayBuffer(4);
const asFloat = new Float32Array(buffer);
const asBits = new Uint32Array(buffer);

function decodeHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** All 65536 halves as f32. */
const HALVES = Float32Array.from({ length: 65536 }, (_, half) => decodeHalf(half));

/** The value of the half with these 16 bits. */
export function halfToFloat(bits: number): number {
  return HALVES[bits & 0xffff] as number;
}

/** The value of the bfloat16 with these 16 bits: the upper half of an f32. */
export function bfloat16ToFloat(bits: number): number {
  asBits[0] = bits << 16;
  return asFloat[0] as number;
}

/** The nearest half of a number, ties to even, beyond 65504 + 16 infinite; as a number. */
export function roundToHalf(value: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  const magnitude = Math.abs(value);
  // One unit in the last place: 2^-24 for subnormals, else 2^(exponent - 10).
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude)));
  const unit = 2 ** ((2 ** exponent > magnitude ? exponent - 1 : exponent) - 10);
  const steps = magnitude / Math.max(unit, 2 ** -24);
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const rounded = (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor) * Math.max(unit, 2 ** -24);
  return Math.sign(value) * (rounded > 65504 ? Number.POSITIVE_INFINITY : rounded);
}

/** The nearest bfloat16 of a number, ties to even; as a number. */
export function roundToBfloat16(value: number): number {
  if (!Number.isFinite(value)) return value;
  asFloat[0] = value;
  const bits = asBits[0] as number;
  asBits[0] = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
  return asFloat[0] as number;
}
