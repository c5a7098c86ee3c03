/**
 * Arrays in numpy's .npy files, versions 1 and 2. Little-endian f4, f2, f8, i4, and u2 that holds bf16; C order. The header is read
 * alone first, so that a folder can be judged before its data move.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { bfloat16ToFloat, halfToFloat } from "../../src/model/half.ts";
import { elementsOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";

export interface NpyHeader {
  readonly path: string;
  /** numpy's type: `<f4` and the like. */
  readonly type: string;
  readonly shape: readonly number[];
  readonly dataOffset: number;
}

type Decode = (bytes: ArrayBuffer) => Float32Array;

const ELEMENT: Readonly<Record<string, { readonly bytes: number; readonly decode: Decode }>> = {
  "<f4": { bytes: 4, decode: (bytes) => new Float32Array(bytes) },
  "<f8": { bytes: 8, decode: (bytes) => Float32Array.from(new Float64Array(bytes)) },
  "<i4": { bytes: 4, decode: (bytes) => Float32Array.from(new Int32Array(bytes)) },
  "<f2": { bytes: 2, decode: (bytes) => Float32Array.from(new Uint16Array(bytes), halfToFloat) },
  "<u2": { bytes: 2, decode: (bytes) => Float32Array.from(new Uint16Array(bytes), bfloat16ToFloat) },
};

/** Largest header that is believed. */
const HEADER_BYTES = 1 << 16;

/** Reads the header and checks that the file is as long as it says. Throws InputError. */
export function readNpyHeader(path: string): NpyHeader {
  const bad = (why: string) =>
    new InputError(`${path}: ${why}; write it with numpy.save of a C-ordered f4, f2 or i4 array`);
  return withFile(path, (file) => {
    const start = Buffer.alloc(12);
    readSync(file, start, 0, 12, 0);
    if (start.toString("latin1", 0, 6) !== "\x93NUMPY") throw bad("not a .npy file");
    const wide = (start[6] ?? 0) >= 2;
    const length = wide ? start.readUInt32LE(8) : start.readUInt16LE(8);
    const at = wide ? 12 : 10;
    if (length > HEADER_BYTES) throw bad(`a header of ${length} bytes`);
    const header = Buffer.alloc(length);
    readSync(file, header, 0, length, at);
    const text = header.toString("latin1");
    const type = /'descr'\s*:\s*'([^']*)'/.exec(text)?.[1];
    const axes = /'shape'\s*:\s*\(([^)]*)\)/.exec(text)?.[1];
    if (type === undefined || axes === undefined) throw bad("the header has no descr or no shape");
    const element = ELEMENT[type];
    if (element === undefined) throw bad(`elements of type ${type}`);
    if (/'fortran_order'\s*:\s*True/.test(text)) throw bad("in Fortran order");
    const shape = axes
      .split(",")
      .filter((size) => size.trim() !== "")
      .map(Number);
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) throw bad(`shape (${axes})`);
    const expected = at + length + elementsOf(shape) * element.bytes;
    const { size } = fstatSync(file);
    if (size !== expected) throw bad(`${size} bytes long, shape (${axes}) of ${type} takes ${expected}`);
    return { path, type, shape, dataOffset: at + length };
  });
}

/** The array's elements in C order, as f32 (f8 and i4 are rounded). */
export function readNpy(header: NpyHeader): Float32Array {
  const element = ELEMENT[header.type];
  if (element === undefined) throw new Error(`type ${header.type}`);
  return withFile(header.path, (file) => {
    const bytes = new ArrayBuffer(elementsOf(header.shape) * element.bytes);
    const read = readSync(file, new Uint8Array(bytes), 0, bytes.byteLength, header.dataOffset);
    if (read !== bytes.byteLength) throw new InputError(`${header.path}: became shorter while it was read; dump again`);
    return element.decode(bytes);
  });
}

function withFile<T>(path: string, use: (file: number) => T): T {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    throw new InputError(`${path}: no such file, or not readable; dump.json names it`);
  }
  try {
    if (!fstatSync(file).isFile()) throw new InputError(`${path}: not a file; dump.json names it`);
    return use(file);
  } finally {
    closeSync(file);
  }
}
