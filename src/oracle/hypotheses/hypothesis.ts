/** What a hypothesis is: a named way to get an op wrong, computed by the oracle from the inputs that the op was given. */
import type { OpKind } from "../../model/ops.ts";
import type { OpCase } from "../op-case.ts";
import type { Matrix } from "../ops.ts";

/** What is known of the output that is to be explained. */
export interface Seen {
  /** What the op should have given. */
  readonly expected: Matrix;
  /** What it gave; null where only sketches are known. */
  readonly actual: Matrix | null;
  /** True in steps after the one that named the bug: its number may be found from less there. */
  readonly confirming?: boolean;
}

/** What the op would have given had it been got wrong in this way. */
export interface Prediction {
  /** The whole output, in the shape of the expected one. */
  readonly output: Matrix;
  /** The number that goes with it, where it was found by a fit or tried: `eps 1e-6`, `base 500000`. */
  readonly parameter?: string;
  /** Elements that were taken from the actual output, because the bug does not say what they hold (stale memory). */
  readonly free?: number;
  /** Relative distance that a few roundings to a coarse grid may add by falling the other way. */
  readonly slack?: number;
}

export interface Hypothesis {
  /** Of FAULTS.md: `rope.pairing`. Several may predict the same output; then all are named. */
  readonly id: string;
  /** What was done instead, to follow "this op is wrong by itself: ...": `rotated in halves instead of neighbours`. */
  readonly what: string;
  /** Kinds of op that it can befall. */
  readonly kinds: readonly OpKind[];
  /** Names of taps (`q_rope`, `final_norm`) that it is limited to. */
  readonly names?: readonly string[];
  /** True if it must see all output columns: it predicts nothing, or less, for an op narrowed to some. */
  readonly whole?: true;
  /**
   * Predictions, most plausible first; none where it does not apply to this op, or needs values that are not there. A prediction
   * that equals the expected output says nothing and should be left out.
   */
  predict(op: OpCase, seen: Seen): readonly Prediction[] | Promise<readonly Prediction[]>;
}

/** Rows of a family: id without the family's name, and what the rows have in common. */
export function family<C extends Partial<Hypothesis>>(
  name: string,
  common: C,
  rows: Readonly<Record<string, Omit<Hypothesis, "id" | keyof C> & Partial<Hypothesis>>>,
): readonly Hypothesis[] {
  return Object.entries(rows).map(([id, row]) => ({ ...common, ...row, id: `${name}.${id}` }) as unknown as Hypothesis);
}
