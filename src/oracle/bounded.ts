/** An op's right output with what rounding may do to each element. */
import { type Arithmetic, UNIT } from "./arithmetic.ts";
import { TINY } from "./dot-bounds.ts";

export interface Bounded {
  readonly rows: number;
  readonly columns: number;
  /** What the op should have given. */
  readonly expected: Float64Array;
  /** No right computation is further off than this. */
  readonly worst: Float64Array;
  /** Nor, unless roundings conspire, than this; never more than `worst`. */
  readonly likely: Float64Array;
}

/** Adds what storing a result rounds, and keeps the statistical bound within the rigorous one. */
export function stored({ rows, columns, expected, worst, likely }: Bounded, { store }: Arithmetic): Bounded {
  const unit = UNIT[store] ?? 0;
  const least = store === "f16" ? 2 ** -25 : TINY;
  for (let i = 0; i < expected.length; i++) {
    const off = store === "f32" ? 0 : unit * (Math.abs(expected[i] as number) + (worst[i] as number)) + least;
    worst[i] = (worst[i] as number) + off;
    likely[i] = Math.min(worst[i] as number, (likely[i] as number) + off);
  }
  return { rows, columns, expected, worst, likely };
}
