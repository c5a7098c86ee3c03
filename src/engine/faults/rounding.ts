/** Rounding to half precision in WGSL, on bit patterns: what faults of precision put into kernels. */
import { kernelSource } from "../kernels.ts";

/** `fn rounded(bits: u32) -> u32` of round_half.wgsl: to the nearest half, ties to even, beyond the largest to infinity. */
export function halfRounding(): string {
  const source = kernelSource("round_half.wgsl");
  return source.slice(source.indexOf("fn rounded("), source.indexOf("@compute"));
}

/** The same to bfloat16: the upper half of an f32. */
export const BFLOAT_ROUNDED = `select((bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u, bits, (bits & 0x7fffffffu) > 0x7f800000u)`;
export const BFLOAT_ROUNDING = `fn rounded(bits: u32) -> u32 { return ${BFLOAT_ROUNDED}; }\n`;
