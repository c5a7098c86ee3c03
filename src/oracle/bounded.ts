/** An op's right output with what rounding may do to each element. */
import { type Arithmetic, SINGLE, UNIT } from "./arithmetic.ts";
import { EITHER_WAY, TINY } from "./dot-bounds.ts";

export interface Bounded {
  readonly rows: number;
  readonly columns: number;
  /** What the op should have given. */
  readonly expected: Float64Array;
  /** No right computation is further off than this. */
  readonly worst: Float64Array;
  /** Nor, unless roundings conspire, than this; never more than `worst`. */
  readonly likely: Float64Array;
  /** By what factor of themselves the elements of each row may be off alike, and those of other rows in the same direction. */
  readonly alike: Float64Array;
  /** True where no step can overflow to the infinity that the right value does not go to: products, and a single sum. */
  readonly keepsSign: boolean;
}

/** What an op's own steps may do, before its result is stored; `alike` where it is more than 0. */
export type Computed = Omit<Bounded, "alike" | "keepsSign"> & Partial<Pick<Bounded, "alike" | "keepsSign">>;

/**
 * Adds what storing a result rounds, and keeps the statistical bound within the rigorous one. Narrow formats may be cut off instead of
 * rounded (WGSL allows both, and hardware that packs halves does it): off by 2 units of roundoff, all elements in one direction, and
 * so may inputs be. Sums in less than f32 lose addends below half a unit of the sum, which has a direction too.
 */
export function stored(computed: Computed, how: Arithmetic): Bounded {
  const { rows, columns, expected, worst, likely, alike: own, keepsSign = false } = computed;
  const { store, sums, inputs } = how;
  const unit = store === "f32" ? 0 : EITHER_WAY * (UNIT[store] ?? 0);
  const least = store === "f16" ? 2 ** -24 : store === "f32" ? 0 : TINY;
  const alike = own ?? new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let [size, squares, together] = [0, 0, 0];
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      const y = Math.abs(expected[i] as number);
      const off = unit * (y + (worst[i] as number)) + least;
      worst[i] = (worst[i] as number) + off;
      likely[i] = Math.min(worst[i] as number, (likely[i] as number) + off);
      if (!Number.isFinite(y)) continue;
      size += y;
      squares += y * y;
      together += y * (likely[i] as number);
    }
    if (squares === 0) continue;
    const ofStore = unit + 2 * EITHER_WAY * (sums < inputs ? inputs : 0) + (least * size) / squares;
    alike[row] = sums > SINGLE ? together / squares : (alike[row] as number) + ofStore;
  }
  return { rows, columns, expected, worst, likely, alike, keepsSign };
}
