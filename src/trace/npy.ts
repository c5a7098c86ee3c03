/**
 * numpy's .npy files: read in versions 1 to 3, written in version 1, little-endian, in C order. The header is
 * judged against the file's length before any data move. Format: numpy.lib.format.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { elementsOf } from "./dims.ts";
import { InputError } from "./errors.ts";
import { type OpenFile, readBytes, withFile } from "./files.ts";

export interface NpyHeader {
  /** numpy's name of the element: `<f4`. */
  readonly type: string;
  readonly shape: readonly number[];
  /** Where the data begin. */
  readonly dataOffset: number;
}

const MAGIC = "\x93NUMPY";
/** Largest header that is believed. */
const HEADER_BYTES = 1 << 16;
/** Data begin at a multiple of this. */
const ALIGNMENT = 64;
/** One write call takes less than 2 GiB. */
const WRITE_BYTES = 1 << 30;

/**
 * Reads the header and checks that the file is as long as it says. `elementBytes`: the types that are taken, with their sizes;
 * `bad` makes the error that is thrown, from its reason.
 */
export function npyHeader(
  file: OpenFile,
  elementBytes: Readonly<Record<string, number>>,
  bad: (why: string) => InputError,
): NpyHeader {
  const start = Buffer.alloc(12);
  start.set(readBytes(file, 0, 12));
  if (start.toString("latin1", 0, 6) !== MAGIC) throw bad("not a .npy file");
  const wide = (start[6] ?? 0) >= 2;
  const length = wide ? start.readUInt32LE(8) : start.readUInt16LE(8);
  const at = wide ? 12 : 10;
  if (length > HEADER_BYTES) throw bad(`a header of ${length} bytes`);
  const text = Buffer.from(readBytes(file, at, length)).toString("latin1");
  const type = /'descr'\s*:\s*'([^']*)'/.exec(text)?.[1];
  const axes = /'shape'\s*:\s*\(([^)]*)\)/.exec(text)?.[1];
  if (type === undefined || axes === undefined) throw bad("the header has no descr or no shape");
  const bytes = Object.hasOwn(elementBytes, type) ? elementBytes[type] : undefined;
  if (bytes === undefined) throw bad(`elements of type ${type}`);
  if (/'fortran_order'\s*:\s*True/.test(text)) throw bad("in Fortran order");
  const shape = axes
    .split(",")
    .filter((size) => size.trim() !== "")
    .map(Number);
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) throw bad(`shape (${axes})`);
  const expected = at + length + elementsOf(shape) * bytes;
  if (file.size !== expected) throw bad(`${file.size} bytes long, shape (${axes}) of ${type} takes ${expected}`);
  return { type, shape, dataOffset: at + length };
}

interface Element<A> {
  readonly type: string;
  readonly bytes: number;
  readonly view: (bytes: ArrayBuffer) => A;
}
const element = <A>(type: string, bytes: number, view: (bytes: ArrayBuffer) => A): Element<A> => ({
  type,
  bytes,
  view,
});

/** Elements that are read and written bit for bit. */
const ELEMENTS = {
  f4: element("<f4", 4, (bytes) => new Float32Array(bytes)),
  f8: element("<f8", 8, (bytes) => new Float64Array(bytes)),
  u1: element("|u1", 1, (bytes) => new Uint8Array(bytes)),
};
export type NpyElement = keyof typeof ELEMENTS;
export type NpyData<E extends NpyElement> = ReturnType<(typeof ELEMENTS)[E]["view"]>;

/** Reads a file of these elements and this shape. Throws InputError that ends with `remedy`. */
export function readNpy<E extends NpyElement>(
  path: string,
  name: E,
  shape: readonly number[],
  remedy: string,
): NpyData<E> {
  const { type, bytes, view } = ELEMENTS[name];
  const bad = (why: string) => new InputError(`${path}: ${why}; ${remedy}`);
  return withFile(path, remedy, (file) => {
    const header = npyHeader(file, { [type]: bytes }, (why) => bad(`${why}, ${type} is needed`));
    if (header.shape.join() !== shape.join()) {
      throw bad(`shape [${header.shape.join(", ")}], [${shape.join(", ")}] is needed`);
    }
    const data = readBytes(file, header.dataOffset, elementsOf(shape) * bytes);
    if (data.length !== elementsOf(shape) * bytes) throw bad("became shorter while it was read");
    return view(data.buffer) as NpyData<E>;
  });
}

/** Writes an array as numpy.save does. Throws the file system's error where it cannot. */
export function writeNpy<E extends NpyElement>(
  path: string,
  name: E,
  shape: readonly number[],
  data: NpyData<E>,
): void {
  if (data.length !== elementsOf(shape)) throw new Error(`${path}: ${data.length} elements for [${shape.join(", ")}]`);
  const file = openSync(path, "wx");
  try {
    writeAll(file, headerBytes(ELEMENTS[name].type, shape));
    writeAll(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  } finally {
    closeSync(file);
  }
}

function headerBytes(type: string, shape: readonly number[]): Uint8Array {
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${axes}), }`;
  const length = Math.ceil((10 + text.length + 1) / ALIGNMENT) * ALIGNMENT - 10;
  const start = Buffer.from(`${MAGIC}\x01\x00\x00\x00`, "latin1");
  start.writeUInt16LE(length, 8);
  return Buffer.concat([start, Buffer.from(`${text.padEnd(length - 1)}\n`, "latin1")]);
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(file, bytes, done, Math.min(WRITE_BYTES, bytes.length - done));
  }
}
