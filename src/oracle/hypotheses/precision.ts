/** Outputs that keep fewer bits, or a smaller range. */
import { roundToBfloat16, roundToHalf } from "../../model/half.ts";
import type { OpKind } from "../../model/ops.ts";
import type { Matrix } from "../ops.ts";
import { family, type Hypothesis } from "./hypothesis.ts";
import { brief, mapped, predicted } from "./values.ts";

export const ALL_KINDS: readonly OpKind[] = [
  ...(["embed", "rms_norm", "linear", "rope", "attn_scores", "causal_softmax", "attn_ctx", "swiglu", "add"] as const),
];

/** Rounded to a grid of this unit roundoff (one rounding in 64 may fall the other way), where the actual output (if known) lies on it. */
const stored = (what: string, round: (x: number) => number, unit: number): Pick<Hypothesis, "what" | "predict"> => ({
  what,
  predict: (_op, { expected, actual }) =>
    actual?.data.every((x) => Object.is(round(x), x)) === false
      ? []
      : predicted(mapped(expected, (x) => round(Math.fround(x)))).map((each) => ({ ...each, slack: unit / 8 })),
});

/** Largest and smallest magnitude of the expected elements that are not 0, of those that `is` picks and of the others. */
function magnitudes(expected: Matrix, is: (i: number) => boolean) {
  const bounds = { most: [0, 0], least: [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY] };
  for (const [i, x] of expected.data.entries()) {
    const of = is(i) ? 0 : 1;
    if (x === 0 || Number.isNaN(x)) continue;
    bounds.most[of] = Math.max(bounds.most[of] as number, Math.abs(x));
    bounds.least[of] = Math.min(bounds.least[of] as number, Math.abs(x));
  }
  const [mostPicked = 0, mostOther = 0] = bounds.most;
  const [leastPicked = 0, leastOther = 0] = bounds.least;
  return { mostPicked, mostOther, leastPicked, leastOther };
}

/** A value near a threshold may fall on either side of it: f32's rounding. */
const NEAR = 1 + 2 ** -20;
const LARGEST_HALF = 65504;
/** Smallest normal numbers of the half and of f32. */
const SMALLEST_NORMAL = [2 ** -14, 2 ** -126];

export const PRECISION: readonly Hypothesis[] = family("precision", { kinds: ALL_KINDS } as const, {
  "f16-store": stored("stored in half precision", roundToHalf, 2 ** -11),
  "bf16-store": stored("stored in bfloat16", roundToBfloat16, 2 ** -8),
  "f16-overflow": {
    what: "infinite where values pass what the buffer can hold",
    predict: (_op, { expected, actual }) => {
      const infinite = (x: number | undefined) => Math.abs(x ?? 0) === Number.POSITIVE_INFINITY;
      const over = (limit: number) =>
        predicted(
          mapped(expected, (x) => (Math.abs(x) > limit ? Math.sign(x) * Number.POSITIVE_INFINITY : x)),
          `beyond ${brief(limit)}`,
        );
      if (actual === null) return over(LARGEST_HALF);
      const { leastPicked, mostOther } = magnitudes(expected, (i) => infinite(actual.data[i]));
      // No threshold where something smaller became infinite than something that stayed, or nothing did.
      if (leastPicked === Number.POSITIVE_INFINITY || mostOther === 0 || leastPicked * NEAR < mostOther) return [];
      return over(LARGEST_HALF >= mostOther && LARGEST_HALF < leastPicked ? LARGEST_HALF : mostOther);
    },
  },
  "flush-subnormals": {
    what: "small values flushed to 0",
    predict: (_op, { expected, actual }) => {
      const under = (limit: number) =>
        predicted(
          mapped(expected, (x) => (Math.abs(x) < limit ? 0 : x)),
          `below ${brief(limit)}`,
        );
      if (actual === null) return SMALLEST_NORMAL.flatMap(under);
      const { mostPicked, leastOther } = magnitudes(expected, (i) => actual.data[i] === 0);
      if (mostPicked === 0 || leastOther === Number.POSITIVE_INFINITY || mostPicked > leastOther * NEAR) return [];
      return under(SMALLEST_NORMAL.find((limit) => limit > mostPicked && limit <= leastOther) ?? leastOther);
    },
  },
});
