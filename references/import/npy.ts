/**
 * numpy's .npy files, versions 1 to 3. Little-endian f4, f2, f8, i4, and u2 that holds bf16; C order. The header is read
 * alone first, so that a folder can be judged before its data move.
 */
import { elementsOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";
import { ELEMENTS, type ElementName, type StoredArray } from "./elements.ts";
import { readBytes, withFile } from "./files.ts";

/** numpy's types. */
const TYPES: Readonly<Record<string, ElementName>> = {
  "<f4": "f32",
  "<f8": "f64",
  "<i4": "i32",
  "<f2": "f16",
  "<u2": "bf16",
};

/** Largest header that is believed. */
const HEADER_BYTES = 1 << 16;

/** Reads the header and checks that the file is as long as it says. Throws InputError. */
export function readNpyHeader(path: string): StoredArray {
  const bad = (why: string) =>
    new InputError(`${path}: ${why}; write it with numpy.save of a C-ordered f4, f2 or i4 array`);
  return withFile(path, "dump.json names it", (file) => {
    const start = Buffer.alloc(12);
    start.set(readBytes(file, 0, 12));
    if (start.toString("latin1", 0, 6) !== "\x93NUMPY") throw bad("not a .npy file");
    const wide = (start[6] ?? 0) >= 2;
    const length = wide ? start.readUInt32LE(8) : start.readUInt16LE(8);
    const at = wide ? 12 : 10;
    if (length > HEADER_BYTES) throw bad(`a header of ${length} bytes`);
    const text = Buffer.from(readBytes(file, at, length)).toString("latin1");
    const type = /'descr'\s*:\s*'([^']*)'/.exec(text)?.[1];
    const axes = /'shape'\s*:\s*\(([^)]*)\)/.exec(text)?.[1];
    if (type === undefined || axes === undefined) throw bad("the header has no descr or no shape");
    const element = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
    if (element === undefined) throw bad(`elements of type ${type}`);
    if (/'fortran_order'\s*:\s*True/.test(text)) throw bad("in Fortran order");
    const shape = axes
      .split(",")
      .filter((size) => size.trim() !== "")
      .map(Number);
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) throw bad(`shape (${axes})`);
    const expected = at + length + elementsOf(shape) * ELEMENTS[element].bytes;
    if (file.size !== expected) throw bad(`${file.size} bytes long, shape (${axes}) of ${type} takes ${expected}`);
    return { path, element, shape, dataOffset: at + length };
  });
}
