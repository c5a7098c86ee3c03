/** A second look where dtypes differ: both sides rounded to the narrower one. What is left then is error, not precision. */
import { roundToBfloat16, roundToHalf } from "../model/half.ts";
import { relativeDistance, valueDistance } from "./metrics.ts";
import type { Pair } from "./pairs.ts";

const ROUND: Readonly<Record<string, (value: number) => number>> = { f16: roundToHalf, bf16: roundToBfloat16 };

/** relL2 after rounding; null where both sides have one dtype, or neither stores in f16 or bf16. */
export function downcastDistance(
  expected: Float32Array,
  actual: Float32Array,
  { layout, ranges }: Pair,
  dtypes: readonly [expected: string, actual: string],
): number | null {
  const narrow = dtypes[0] === dtypes[1] ? undefined : dtypes.find((dtype) => dtype in ROUND);
  const round = narrow === undefined ? undefined : ROUND[narrow];
  if (round === undefined) return null;
  return relativeDistance(valueDistance(expected.map(round), actual.map(round), layout, ranges));
}
