/**
 * numpy's .npy files of other engines: f4, f2, f8, i4, and u2 that holds bf16. The header is read alone first, so that a folder
 * can be judged before its data move.
 */
import { InputError } from "../../src/trace/errors.ts";
import { withFile } from "../../src/trace/files.ts";
import { npyHeader } from "../../src/trace/npy.ts";
import { ELEMENTS, type ElementName, type StoredArray } from "./elements.ts";

/** numpy's types. */
const TYPES: Readonly<Record<string, ElementName>> = {
  "<f4": "f32",
  "<f8": "f64",
  "<i4": "i32",
  "<f2": "f16",
  "<u2": "bf16",
};
const BYTES = Object.fromEntries(Object.entries(TYPES).map(([type, name]) => [type, ELEMENTS[name].bytes]));

/** Reads the header and checks that the file is as long as it says. Throws InputError. */
export function readNpyHeader(path: string, named = "dump.json names it"): StoredArray {
  const bad = (why: string) =>
    new InputError(`${path}: ${why}; write it with numpy.save of a C-ordered f4, f2 or i4 array`);
  return withFile(path, named, (file) => {
    const { type, shape, dataOffset } = npyHeader(file, BYTES, bad);
    const element = TYPES[type];
    if (element === undefined) throw bad(`elements of type ${type}`);
    return { path, element, shape, dataOffset };
  });
}
