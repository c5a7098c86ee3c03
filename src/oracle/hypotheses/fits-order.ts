/** In which order of heads or channels an output stands. */
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { rms } from "./values.ts";

/** Groups of `size` columns, group g taken from group `from[g]`. */
export function reordered(expected: Matrix, size: number, from: readonly number[]): Matrix {
  const { rows, columns } = expected;
  const y = matrix(rows, columns);
  for (let i = 0; i < y.data.length; i++) {
    const column = i % columns;
    const group = from[Math.floor(column / size)] ?? 0;
    y.data[i] = expected.data[i - column + group * size + (column % size)] as number;
  }
  return y;
}

/** The matrix as groups: those that dims call heads, each with its elements of all rows. Null where there are none. */
function headsOf(op: OpCase, m: Matrix): { readonly groups: Float64Array[]; readonly size: number } | null {
  const { dims } = op.node.op;
  const { heads, kvHeads, headDim } = op.model.parameters;
  if (dims.startsWith("head")) {
    const size = m.data.length / heads;
    return { groups: Array.from({ length: heads }, (_, h) => m.data.slice(h * size, (h + 1) * size)), size };
  }
  if (!dims.includes("head_dim")) return null;
  const count = dims.includes("kv_head") ? kvHeads : heads;
  const group = (h: number) => m.data.filter((_, i) => Math.floor((i % m.columns) / headDim) === h);
  return { groups: Array.from({ length: count }, (_, h) => group(h)), size: headDim };
}

const energy = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + (x - (b[i] as number)) ** 2, 0);

/** For each head of the actual output the expected head that is nearest; null where all heads are in their place. */
export function headOrder(op: OpCase, expected: Matrix, actual: Matrix): { from: number[]; output: Matrix } | null {
  const [should, is] = [headsOf(op, expected), headsOf(op, actual)];
  if (should === null || is === null) return null;
  const from = is.groups.map((group) => {
    const away = should.groups.map((each) => energy(group, each));
    return away.indexOf(Math.min(...away));
  });
  if (from.some((h) => h < 0) || from.every((h, i) => h === i)) return null;
  if (!op.node.op.dims.startsWith("head")) return { from, output: reordered(expected, should.size, from) };
  const output = matrix(expected.rows, expected.columns);
  for (const [h, source] of from.entries()) output.data.set(should.groups[source] ?? [], h * should.size);
  return { from, output };
}

/** What a column may be off by in every row, of the rows' RMS. */
const SAME_WITHIN = 1e-4;
/** Neighbours in the sorted order that are compared: rounding may exchange columns that are nearly equal. */
const NEIGHBOURS = 4;

/** The permutation of columns that makes the expected output the actual one, exactly and in all rows; null without one. */
export function channelOrder(expected: Matrix, actual: Matrix): number[] | null {
  const { rows, columns } = expected;
  const allowed = SAME_WITHIN * rms(expected.data);
  // A column's mark is the same whichever place it stands at.
  const marks = ({ data }: Matrix) =>
    Array.from({ length: columns }, (_, c) => {
      let mark = 0;
      for (let row = 0; row < rows; row++) mark += Math.cos(row) * (data[row * columns + c] as number);
      return mark;
    });
  const sorted = (marks: number[]) => [...marks.keys()].sort((a, b) => (marks[a] as number) - (marks[b] as number));
  const [from, to] = [sorted(marks(expected)), sorted(marks(actual))];
  const worst = (a: number, b: number) => {
    let most = 0;
    for (let row = 0; row < rows; row++) {
      const off = Math.abs((expected.data[row * columns + a] as number) - (actual.data[row * columns + b] as number));
      if (!(off <= most)) most = off;
    }
    return most;
  };
  const order = Array<number>(columns).fill(0);
  const taken = new Set<number>();
  for (const [i, column] of to.entries()) {
    const near = from.slice(Math.max(0, i - NEIGHBOURS), i + NEIGHBOURS + 1).filter((each) => !taken.has(each));
    const best = near.reduce((a, b) => (worst(b, column) < worst(a, column) ? b : a), near[0] ?? 0);
    if (!(worst(best, column) <= allowed)) return null;
    taken.add(best);
    order[column] = best;
  }
  return order.every((from, i) => from === i) ? null : order;
}
