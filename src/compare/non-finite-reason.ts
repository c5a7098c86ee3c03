/**
 * Why an element is not finite, as far as the numbers it is made of tell. A reason is `certain` where the formula in the arithmetic
 * that the trace declares gives just this; else it takes something of the engine that the trace does not declare (half-precision
 * sums, a softmax that does not subtract the largest score), and is only named where it gives the whole op's non-finite places,
 * no more and no fewer.
 */
import type { OpKind } from "../model/ops.ts";
import type { Arithmetic } from "../oracle/arithmetic.ts";
import { EITHER_WAY, gamma } from "../oracle/dot-bounds.ts";
import type { ElementFacts, NotFiniteInput, SumFacts } from "../oracle/element.ts";
import { RANGES, type Range, storeRange, sumRange } from "../oracle/ranges.ts";

/** Something too large for a format. `format` is null where no known format ends there. */
export interface TooLarge {
  readonly size: number;
  readonly format: string | null;
  /** Largest finite number of the format, or what the op was seen to keep at most. */
  readonly largest: number;
}

export type Reason =
  /** `of`: what is stored, or a sum on its way to something smaller; not certain, as the order of summing decides. */
  | ({ readonly kind: "sum-overflows"; readonly of: "value" | "partial sums"; readonly certain: boolean } & TooLarge)
  | ({
      readonly kind: "product-overflows";
      readonly a: number;
      readonly b: number;
      readonly certain: boolean;
    } & TooLarge)
  /** exp of `argument` in f32: a formula that keeps its arguments at 0 or below has none above 88. */
  | { readonly kind: "exp-overflows"; readonly argument: number; readonly limit: number; readonly certain: boolean }
  | { readonly kind: "zero-over-zero"; readonly what: string; readonly certain: boolean }
  | {
      readonly kind: "inf-over-inf" | "inf-minus-inf" | "zero-times-inf";
      readonly what: string;
      readonly certain: boolean;
    }
  /** A softmax's row without a key to look at: all its scores are -Inf. */
  | { readonly kind: "empty-row"; readonly keys: number; readonly certain: boolean }
  /** A score of -Inf is what masks write; the model has no mask at this key. */
  | { readonly kind: "masked-key"; readonly right: number; readonly certain: boolean }
  | { readonly kind: "input"; readonly input: NotFiniteInput; readonly certain: boolean }
  /**
   * Inputs and right value are finite and in range: never written, or a bug of the kernel. `half`: what would not fit, were sums
   * taken in half precision, which the trace does not declare. `limit`: just the op's largest elements are Inf, but they are few.
   */
  | {
      readonly kind: "not-explained";
      readonly right: number;
      readonly half: TooLarge | null;
      readonly limit: { readonly kept: number; readonly lost: number } | null;
      readonly certain: boolean;
    }
  /** Values that it takes are not in the trace. */
  | { readonly kind: "unknown"; readonly why: string; readonly certain: boolean };

/** An element of an op with what a reason is judged by. */
export interface Judged {
  readonly kind: OpKind;
  readonly how: Arithmetic;
  readonly actual: number;
  readonly facts: ElementFacts;
  /** True where the audit, with its rigorous bounds, explains all of the op's non-finite places by the range of its store. */
  readonly overflowsByAudit: boolean;
}

type Rule = (judged: Judged) => Reason | null;

/** True for an infinity of this size's sign. */
export const sameInfinity = (value: number, size: number) =>
  !Number.isNaN(value) && Math.sign(value) === Math.sign(size);

/** An input that is not finite. Arithmetic on Inf that gives NaN has a name of its own. */
const ofInputs: Rule = ({ kind, actual, facts: { notFinite, right, sum, row } }) => {
  const [worst] = [...notFinite].sort((a, b) => Number(Number.isNaN(b.value)) - Number(Number.isNaN(a.value)));
  if (worst === undefined) return null;
  if (Number.isNaN(actual) && Number.isNaN(right) && !Number.isNaN(worst.value)) {
    if (kind === "rms_norm") return { kind: "zero-times-inf", what: "scale 0 (1 / Inf) times x", certain: true };
    if (row !== null) return { kind: "inf-minus-inf", what: "the score less the largest score", certain: true };
    if (sum?.zeroTimesInf) return { kind: "zero-times-inf", what: "a product of the sum", certain: true };
    if (sum !== null) return { kind: "inf-minus-inf", what: "two terms of the sum", certain: true };
    return worst.value < 0 && worst.which === 0
      ? { kind: "inf-over-inf", what: "gate / (1 + exp(-gate))", certain: true }
      : { kind: "zero-times-inf", what: "silu(gate) times up", certain: true };
  }
  return { kind: "input", input: worst, certain: true };
};

/** What the formula makes of finite inputs without any rounding. */
const ofFormula: Rule = ({ facts: { right, row, sum } }) => {
  if (Number.isFinite(right)) return null;
  if (row !== null && row.hidden === row.keys) return { kind: "empty-row", keys: row.keys, certain: true };
  if (sum?.value === 0) return { kind: "zero-over-zero", what: "x / sqrt(mean of squares + eps)", certain: true };
  return null;
};

/** How much of a sum overflows a range towards a value: the value itself, or some partial sums on its way. */
function overflowing(
  sum: SumFacts,
  { overflows }: Range,
  actual: number,
  slack: number,
): "value" | "partial sums" | null {
  const { value, positive, negative } = sum;
  if (sameInfinity(actual, value) && Math.abs(value) + slack >= overflows) return "value";
  const [up, down] = [positive + slack >= overflows, -negative + slack >= overflows];
  return (Number.isNaN(actual) ? up && down : actual > 0 ? up : down) ? "partial sums" : null;
}

/** Ranges of the arithmetic that is declared. A norm's sum is none of them: where it overflows the row becomes 0. */
const ofRange: Rule = ({ kind, how, actual, facts: { right, sum, operands }, overflowsByAudit }) => {
  const [stored, summed] = [storeRange(how), sumRange(how)];
  const of = sum === null || kind === "rms_norm" ? null : overflowing(sum, summed, actual, slackOf(sum, how));
  if (sum !== null && of !== null) {
    const { a, b } = sum.largest;
    const limit = { format: summed.format, largest: summed.largest };
    if (Math.abs(a * b) >= summed.overflows && (Number.isNaN(actual) || sameInfinity(actual, a * b)))
      return { kind: "product-overflows", a, b, size: a * b, ...limit, certain: true };
    return { kind: "sum-overflows", of, size: sizeOf(sum, of, actual), ...limit, certain: of === "value" };
  }
  const isBeyond = Math.abs(right) >= stored.overflows || (overflowsByAudit && Number.isFinite(right));
  if (!isBeyond || !sameInfinity(actual, right)) return null;
  const limit = { size: right, format: stored.format, largest: stored.largest, certain: true };
  if (kind !== "swiglu") return { kind: "sum-overflows", of: "value", ...limit };
  return { kind: "product-overflows", a: operandOf(operands, "silu(gate)"), b: operandOf(operands, "up"), ...limit };
};

/** What rounding may add to a sum: docs/numerics.md, "The audit". */
const slackOf = ({ terms, positive, negative }: SumFacts, how: Arithmetic) =>
  gamma(how.roundings(terms) + 1, EITHER_WAY * how.sums) * (positive - negative);

const sizeOf = ({ value, positive, negative }: SumFacts, of: "value" | "partial sums", actual: number) =>
  of === "value" ? value : actual < 0 ? negative : positive;

const operandOf = (operands: ElementFacts["operands"], name: string) =>
  operands.find((each) => each.name === name)?.value ?? Number.NaN;

/** A score of -Inf where all that it is made of is finite. */
const ofMask: Rule = ({ kind, actual, facts: { right } }) =>
  kind === "attn_scores" && actual === Number.NEGATIVE_INFINITY ? { kind: "masked-key", right, certain: true } : null;

/** No reason that declared arithmetic gives. */
export function notExplained(
  { kind, how, actual, facts: { right, sum } }: Judged,
  limit: { readonly kept: number; readonly lost: number } | null,
): Reason {
  const [half] = RANGES;
  const isHalf = half === undefined || sumRange(how).format === half.format || kind === "rms_norm";
  const of = isHalf || sum === null ? null : overflowing(sum, half, actual, 0);
  const tooLarge =
    isHalf || sum === null || of === null
      ? null
      : { size: sizeOf(sum, of, actual), format: half.format, largest: half.largest };
  return { kind: "not-explained", right, half: tooLarge, limit, certain: true };
}

const RULES: readonly Rule[] = [ofInputs, ofFormula, ofRange, ofMask];

/** The reason that declared arithmetic gives, or null where it gives a finite number. */
export function declaredReason(judged: Judged): Reason | null {
  for (const rule of RULES) {
    const reason = rule(judged);
    if (reason !== null) return reason;
  }
  return null;
}
