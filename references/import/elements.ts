/** Elements as other engines store them -> f32. Little-endian, as they lie in the file. */
import { bfloat16ToFloat, halfToFloat } from "../../src/model/half.ts";
import { elementsOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";
import { readBytes, withFile } from "../../src/trace/files.ts";

export interface ElementType {
  readonly bytes: number;
  /** f64 and i32 are rounded to f32; the others are exact. */
  readonly decode: (bytes: ArrayBuffer) => Float32Array;
}

export type ElementName = "f32" | "f64" | "i32" | "f16" | "bf16";

export const ELEMENTS: Readonly<Record<ElementName, ElementType>> = {
  f32: { bytes: 4, decode: (bytes) => new Float32Array(bytes) },
  f64: { bytes: 8, decode: (bytes) => Float32Array.from(new Float64Array(bytes)) },
  i32: { bytes: 4, decode: (bytes) => Float32Array.from(new Int32Array(bytes)) },
  f16: { bytes: 2, decode: (bytes) => Float32Array.from(new Uint16Array(bytes), halfToFloat) },
  bf16: { bytes: 2, decode: (bytes) => Float32Array.from(new Uint16Array(bytes), bfloat16ToFloat) },
};

/** An array inside a file. */
export interface StoredArray {
  readonly path: string;
  readonly element: ElementName;
  readonly shape: readonly number[];
  readonly dataOffset: number;
}

/** The array's elements in C order. Throws InputError where the file became shorter. */
export function readElements({ path, element, shape, dataOffset }: StoredArray): Float32Array {
  const { bytes, decode } = ELEMENTS[element];
  return withFile(path, "it was there a moment ago", (file) => {
    const data = readBytes(file, dataOffset, elementsOf(shape) * bytes);
    if (data.length !== elementsOf(shape) * bytes)
      throw new InputError(`${path}: became shorter while it was read; dump again`);
    return decode(data.buffer);
  });
}
