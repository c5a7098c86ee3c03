/** How large numbers may be in each format (IEEE 754; bfloat16 is the upper half of a single). */
import { type Arithmetic, UNIT } from "./arithmetic.ts";

export interface Range {
  readonly format: string;
  /** Largest finite number. */
  readonly largest: number;
  /** Magnitudes from here on round to infinity: half a unit in the last place above the largest. */
  readonly overflows: number;
}

const range = (format: string, bits: number, exponent: number): Range => ({
  format,
  largest: (2 - 2 ** (1 - bits)) * 2 ** exponent,
  overflows: (2 - 2 ** -bits) * 2 ** exponent,
});

/** Formats by name, smallest range first: significand bits and largest exponent. */
export const RANGES: readonly Range[] = [range("f16", 11, 15), range("bf16", 8, 127), range("f32", 24, 127)];
export const SINGLE_RANGE = range("f32", 24, 127);

const named = (format: string) => RANGES.find((each) => each.format === format) ?? SINGLE_RANGE;

/** Range of what results are stored in. A trace holds f32, so that f64 results end there too. */
export const storeRange = ({ store }: Arithmetic): Range => named(store);
/** Range of what is summed in. */
export const sumRange = ({ sums }: Arithmetic): Range =>
  named(Object.entries(UNIT).find(([, unit]) => unit === sums)?.[0] ?? "f32");
