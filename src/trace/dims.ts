/**
 * Named axes. A dims string lists the axes of a tensor, slowest first: `token (head head_dim)` is a matrix whose rows are
 * tokens and whose columns are head_dim within head. Sizes come from a table of axes, so a shape is never guessed.
 */

/** One axis of the tensor: the names it is merged from, slowest first (usually one). */
export type Axis = readonly string[];

/** Sizes of the named axes, e.g. `{ token: 32, head: 9, head_dim: 64 }`. */
export type AxisSizes = Readonly<Record<string, number>>;

/** Splits a dims string into its axes: `"token (head head_dim)"` -> `[["token"], ["head", "head_dim"]]`. */
export function parseDims(dims: string): readonly Axis[] {
  const known = parsed.get(dims);
  if (known !== undefined) return known;
  const axes: Axis[] = [];
  for (const part of dims.matchAll(/\(([^()]+)\)|([^\s()]+)/g)) {
    axes.push((part[1] ?? part[2] ?? "").trim().split(/\s+/));
  }
  parsed.set(dims, axes);
  return axes;
}

/** A trace has a handful of dims strings, on thousands of records. */
const parsed = new Map<string, readonly Axis[]>();

/** The row-major shape of a tensor with these dims. Throws where an axis has no size: that is a fault of ours, not of the input. */
export function shapeOf(dims: string, sizes: AxisSizes): number[] {
  return parseDims(dims).map((axis) =>
    axis.reduce((product, name) => {
      const size = sizes[name];
      if (size === undefined) throw new Error(`axis "${name}" of dims "${dims}" has no size`);
      return product * size;
    }, 1),
  );
}

/** Number of elements of a shape. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Rows (all axes but the last) and columns (the last axis) of a shape; a row is what carries one sketch. */
export function rowsAndColumns(shape: readonly number[]): { rows: number; columns: number } {
  const columns = shape.at(-1) ?? 1;
  return { rows: columns === 0 ? 0 : elementsOf(shape) / columns, columns };
}
