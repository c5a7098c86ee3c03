/** One output that somebody else computed, held against what any right computation may give: facts; src/report has the words. */
import type { OpKind } from "../model/ops.ts";
import type { Bounded } from "../oracle/bounded.ts";
import { ownError } from "./audited-op.ts";
import { type Reason, wrongValues } from "./kernels/judge.ts";

/** An element of an output, `row` and `column` in the op's layout. */
export interface BudgetElement {
  readonly index: number;
  readonly row: number;
  readonly column: number;
  readonly expected: number;
  readonly actual: number;
  /** |actual - expected|; NaN where one of them is not finite. */
  readonly error: number;
  /** The rigorous bound of the error, on these inputs. */
  readonly allowed: number;
  /** error / allowed. */
  readonly share: number;
}

export interface BudgetFacts {
  readonly kind: OpKind;
  /**
   * pass: within what independent roundings explain. suspicious: beyond that, within what any right computation may give. fail: see
   * `reasons`. not-judged: no right value is finite, so nothing could be held against anything.
   */
  readonly verdict: "pass" | "suspicious" | "fail" | "not-judged";
  /** True for pass and suspicious. */
  readonly isWithin: boolean;
  readonly reasons: readonly Reason[];
  /** Elements in all, and those that could not be judged because the right value is not finite. */
  readonly count: number;
  readonly notJudged: number;
  /** ||actual - expected|| / ||expected||, over elements that are finite on both sides. */
  readonly relL2: number;
  /** Largest |error| / bound of any element: the statistical bound, and the rigorous one. */
  readonly ofLikely: number;
  readonly ofBound: number;
  /** The first element that is not finite where it should be (or the other way round), else the one nearest to or beyond its bound. */
  readonly worst: BudgetElement | null;
}

/** Holds an output against the right one and its bounds. `store`: what it is stored in. */
export function judgeOutput(kind: OpKind, right: Bounded, output: Float32Array, store: string): BudgetFacts {
  const own = ownError(right, output, store);
  const reasons = wrongValues(own);
  const notJudged = own.nonFinite.inherited;
  const isJudged = own.count > notJudged;
  const verdict =
    reasons.length > 0 ? "fail" : !isJudged ? "not-judged" : own.verdict === "suspicious" ? "suspicious" : "pass";
  const odd = reasons.includes("non-finite") || reasons.includes("absorbed") ? firstOdd(right, output) : -1;
  return {
    ...{ kind, verdict, reasons, count: own.count, notJudged, relL2: own.relL2 },
    isWithin: verdict === "pass" || verdict === "suspicious",
    ...{ ofLikely: own.likelyShare, ofBound: own.worstShare },
    worst: elementAt(odd >= 0 ? odd : (own.at?.index ?? -1), right, output),
  };
}

/** The first element that is finite on one side alone. */
function firstOdd({ expected }: Bounded, output: Float32Array): number {
  return expected.findIndex((value, i) => Number.isFinite(value) !== Number.isFinite(output[i]));
}

function elementAt(index: number, right: Bounded, output: Float32Array): BudgetElement | null {
  if (index < 0) return null;
  const [expected, actual] = [right.expected[index] as number, output[index] as number];
  const [difference, allowed] = [Math.abs(actual - expected), right.worst[index] as number];
  const error = Number.isFinite(difference) ? difference : Number.NaN;
  return {
    ...{
      index,
      row: Math.floor(index / right.columns),
      column: index % right.columns,
      expected,
      actual,
      error,
      allowed,
    },
    share: error === 0 ? 0 : error / allowed,
  };
}
