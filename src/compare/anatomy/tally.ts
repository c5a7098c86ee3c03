/** The error of a tensor, element by element, and its sums over tokens, heads and columns. */
import { parseDims, rowsAndColumns } from "../../trace/dims.ts";

export interface Anatomised {
  readonly dims: string;
  readonly shape: readonly number[];
  readonly expected: ArrayLike<number>;
  readonly actual: ArrayLike<number>;
  /** What each element may be off by; ordinary rounding in f32 unless given. */
  readonly bound?: ArrayLike<number>;
  /** Elements of a head, where dims merge heads into columns: `token (head head_dim)`. */
  readonly headDim?: number;
}

/** Groups of elements along one axis: how many of each are wrong, and their error's energy. */
export interface Groups {
  readonly wrong: Float64Array;
  /** Sum of squares of the error, over finite elements. */
  readonly energy: Float64Array;
  /** Sum of squares of what is expected; of tokens and heads alone. */
  readonly size: Float64Array;
  /** Elements of each group. */
  readonly each: number;
}

export interface Tally {
  readonly of: Anatomised;
  readonly rows: number;
  readonly columns: number;
  /** Head of a column where heads are merged into columns; 0 where they are not. */
  readonly headDim: number;
  readonly count: number;
  readonly wrong: number;
  /** 1 where an element is off by more than it may be. */
  readonly isWrong: Uint8Array;
  /** actual - expected; 0 where one of them is not finite. */
  readonly error: Float64Array;
  /** Wrong elements that are NaN, and that are infinite. */
  readonly nan: number;
  readonly inf: number;
  readonly energy: number;
  readonly tokens: Groups;
  readonly heads: Groups | null;
  readonly byColumn: Groups;
}

/**
 * Sums of up to 2^14 products are off by sqrt(K) u = 2^7 u of their terms' size, u = 2^-24; an element's terms are taken to be as
 * large as its row's RMS.
 */
const ROUNDING = 2 ** (7 - 24);

export function tally(of: Anatomised): Tally {
  const { expected, actual, bound } = of;
  const { rows, columns } = rowsAndColumns(of.shape);
  const count = rows * columns;
  const layout = layoutOf(of, rows, columns);
  const isWrong = new Uint8Array(count);
  const error = new Float64Array(count);
  const [tokens, byColumn] = [groups(layout.tokens, count), groups(columns, count)];
  const heads = layout.heads > 1 ? groups(layout.heads, count) : null;
  const totals = { wrong: 0, nan: 0, inf: 0, energy: 0 };
  for (let row = 0; row < rows; row++) {
    const rms = bound === undefined ? rowRms(expected, row * columns, columns) : 0;
    // Sums of a stretch of columns of one head (all columns, where heads are not merged into them) go to the groups at once.
    const stretch = layout.headDim || columns;
    for (let first = 0; first < columns; first += stretch) {
      const sums = { wrong: 0, energy: 0, size: 0 };
      for (let column = first; column < first + stretch; column++) {
        const i = row * columns + column;
        const e = expected[i] as number;
        const a = actual[i] as number;
        const difference = a - e;
        let square = 0;
        let wrong = 0;
        if (Number.isFinite(difference)) {
          const allowed = bound === undefined ? ROUNDING * (Math.abs(e) + rms) : (bound[i] as number);
          wrong = Math.abs(difference) > allowed ? 1 : 0;
          square = difference * difference;
          error[i] = difference;
        } else if (!Object.is(a, e)) {
          wrong = 1;
          if (Number.isNaN(a)) totals.nan++;
          else if (!Number.isFinite(a)) totals.inf++;
        }
        isWrong[i] = wrong;
        sums.wrong += wrong;
        sums.energy += square;
        if (Number.isFinite(e)) sums.size += e * e;
        byColumn.wrong[column] = (byColumn.wrong[column] as number) + wrong;
        byColumn.energy[column] = (byColumn.energy[column] as number) + square;
      }
      totals.wrong += sums.wrong;
      totals.energy += sums.energy;
      add(tokens, layout.tokenOf(row), sums);
      if (heads !== null) add(heads, layout.headOf(row, first), sums);
    }
  }
  return { of, rows, columns, headDim: layout.headDim, count, isWrong, error, tokens, heads, byColumn, ...totals };
}

/** Where tokens and heads lie: axes of their own, or merged into rows and columns. */
function layoutOf({ dims, shape, headDim = 0 }: Anatomised, rows: number, columns: number) {
  const axes = parseDims(dims);
  const isHeadFirst = axes.length === 3 && /head$/.test(axes[0]?.[0] ?? "");
  const merged = axes.at(-1)?.at(-1) === "head_dim" && headDim > 0 && columns % headDim === 0 ? headDim : 0;
  const tokens = isHeadFirst ? (shape[1] ?? 1) : rows;
  return {
    tokens,
    headDim: merged,
    heads: isHeadFirst ? (shape[0] ?? 1) : merged > 0 ? columns / merged : 1,
    tokenOf: (row: number) => row % tokens,
    headOf: (row: number, column: number) => (isHeadFirst ? Math.floor(row / tokens) : Math.floor(column / merged)),
  };
}

function groups(length: number, count: number): Groups {
  const sums = () => new Float64Array(length);
  return { wrong: sums(), energy: sums(), size: sums(), each: length === 0 ? 0 : count / length };
}

function add(to: Groups, at: number, { wrong, energy, size }: { wrong: number; energy: number; size: number }): void {
  to.wrong[at] = (to.wrong[at] as number) + wrong;
  to.energy[at] = (to.energy[at] as number) + energy;
  to.size[at] = (to.size[at] as number) + size;
}

function rowRms(values: ArrayLike<number>, start: number, columns: number): number {
  let sum = 0;
  let finite = 0;
  for (let i = start; i < start + columns; i++) {
    const x = values[i] as number;
    if (!Number.isFinite(x)) continue;
    sum += x * x;
    finite++;
  }
  return Math.sqrt(sum / Math.max(1, finite));
}
