/** Arrays under named axes: which axis of an array is which, the sizes that follow, and the way from one order of axes to another. */
import { type AxisSizes, parseDims } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";

/**
 * Sizes of axes learnt from arrays. An axis that stands alone gives its size; a merged one, `(head head_dim)`, gives the one factor
 * that is not yet known.
 */
export class AxisTable {
  readonly #sizes: Map<string, number>;

  constructor(known: AxisSizes = {}) {
    this.#sizes = new Map(Object.entries(known));
  }

  get(axis: string): number | undefined {
    return this.#sizes.get(axis);
  }

  get sizes(): AxisSizes {
    return Object.fromEntries(this.#sizes);
  }

  /** True if an array can have these axes. */
  fits(dims: string, shape: readonly number[], local: AxisSizes): boolean {
    return this.#readings(dims, shape, local).some((reading) => reading.fits);
  }

  /**
   * Binds the axes `dims` to an array. `local` are the sizes of this array's own axes (token, key): they differ from step to step.
   * Leading axes of size 1 may be more or fewer than dims names; an axis merged in dims may stand unmerged in the array. Throws
   * InputError where the shape contradicts what is known.
   */
  bind(what: string, dims: string, shape: readonly number[], local: AxisSizes): void {
    const bad = (why: string) => new InputError(`${what}: shape [${shape.join(", ")}] is not ${dims} (${why})`);
    const readings = this.#readings(dims, shape, local);
    const reading = readings.find((each) => each.fits) ?? readings[0];
    if (reading === undefined) throw bad(`${parseDims(dims).length} axes`);
    reading.axes.forEach((axis, i) => {
      const size = reading.sizes[i] ?? 1;
      const { unknown, known } = this.#factors(axis, local);
      const [name] = unknown;
      if (name === undefined && known !== size) throw bad(`${axis.join(" ")} is ${known}, not ${size}`);
      if (unknown.length > 0 && (size === 0 || size % known !== 0))
        throw bad(`${axis.join(" ")}: ${size} is not a multiple of ${known}`);
      if (unknown.length === 1 && name !== undefined) this.#sizes.set(name, size / known);
    });
  }

  /** The ways to read a shape as these axes: as they stand, or all unmerged. */
  #readings(dims: string, shape: readonly number[], local: AxisSizes) {
    const names = parseDims(dims);
    const first = shape.findIndex((size) => size !== 1);
    const most = first < 0 ? [] : shape.slice(first);
    return [names, names.flat().map((name) => [name])].flatMap((axes) => {
      if (axes.length < most.length) return [];
      const sizes = [...Array<number>(axes.length - most.length).fill(1), ...most];
      const fits = axes.every((axis, i) => {
        const { unknown, known } = this.#factors(axis, local);
        const size = sizes[i] ?? 1;
        return unknown.length === 0 ? known === size : size > 0 && size % known === 0;
      });
      return [{ axes, sizes, fits }];
    });
  }

  /** Of a merged axis: the names whose size is not known, and the product of the others. */
  #factors(axis: readonly string[], local: AxisSizes): { unknown: string[]; known: number } {
    const sizeOf = (name: string) => local[name] ?? this.#sizes.get(name);
    return {
      unknown: axis.filter((name) => sizeOf(name) === undefined),
      known: axis.reduce((product, name) => product * (sizeOf(name) ?? 1), 1),
    };
  }
}

/**
 * Copies an array from one order of axes to another. `map` may move an index along an axis: it gives the source index for the
 * target's. Axes are those of parseDims(...).flat(); both orders must have the same names.
 */
export function permuteAxes(
  values: Float32Array,
  from: readonly string[],
  to: readonly string[],
  sizes: { readonly from: AxisSizes; readonly to: AxisSizes },
  map: Readonly<Record<string, (index: number) => number>> = {},
): Float32Array {
  const size = (table: AxisSizes, axis: string) => table[axis] as number;
  const stride = new Map<string, number>();
  let length = 1;
  for (const axis of [...from].reverse()) {
    stride.set(axis, length);
    length *= size(sizes.from, axis);
  }
  // For each axis of the target: where each of its indices lies in the source.
  const offsets = to.map((axis) => {
    const step = stride.get(axis);
    if (step === undefined) throw new Error(`axis ${axis} is not among ${from.join(" ")}`);
    const at = map[axis] ?? ((index: number) => index);
    return Int32Array.from({ length: size(sizes.to, axis) }, (_, index) => at(index) * step);
  });
  const output = new Float32Array(offsets.reduce((product, list) => product * list.length, 1));
  let next = 0;
  const copy = (axis: number, base: number): void => {
    const list = offsets[axis] as Int32Array;
    if (axis === offsets.length - 1) {
      for (let i = 0; i < list.length; i++) output[next++] = values[base + (list[i] as number)] as number;
      return;
    }
    for (let i = 0; i < list.length; i++) copy(axis + 1, base + (list[i] as number));
  };
  copy(0, 0);
  return output;
}
