/** A second look where dtypes differ: both sides rounded to the narrower one. What is left then is error, not precision. */
import { roundToBfloat16, roundToHalf } from "../model/half.ts";
import type { Trace } from "../trace/reader.ts";
import { relativeDistance, valueDistance } from "./metrics.ts";
import type { Pair } from "./pairs.ts";

const ROUND: Readonly<Record<string, (value: number) => number>> = { f16: roundToHalf, bf16: roundToBfloat16 };

/** relL2 of a pair after rounding; null where both have one dtype, neither stores in f16 or bf16, or there are no values. */
export async function downcastDistance(expected: Trace, actual: Trace, pair: Pair): Promise<number | null> {
  const [e, a] = [expected.records[pair.expected], actual.records[pair.actual]];
  if (e === undefined || a === undefined || e.dtype === a.dtype || !e.hasValues || !a.hasValues) return null;
  const round = [e.dtype, a.dtype].map((dtype) => ROUND[dtype]).find((each) => each !== undefined);
  if (round === undefined) return null;
  const values = [await expected.values(pair.expected), await actual.values(pair.actual)] as const;
  return relativeDistance(valueDistance(values[0].map(round), values[1].map(round), pair.layout, pair.ranges));
}
