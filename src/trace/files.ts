/** Reading parts of regular files. A pipe would wait for its writer, so what a path is comes first. */
import { closeSync, fstatSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { InputError } from "./errors.ts";

/** An open file: its descriptor and length in bytes. */
export interface OpenFile {
  readonly descriptor: number;
  readonly size: number;
}

/** One read call takes less than 2 GiB. */
const READ_BYTES = 1 << 30;
/** Longest text that is believed to be one: V8 has strings of half a gigabyte. */
const TEXT_BYTES = 1 << 28;

/** Opens a regular file for one use. Throws InputError with `remedy` where there is none. */
export function withFile<T>(path: string, remedy: string, use: (file: OpenFile) => T): T {
  const descriptor = openRegular(path, remedy);
  try {
    return use({ descriptor, size: fstatSync(descriptor).size });
  } finally {
    closeSync(descriptor);
  }
}

function openRegular(path: string, remedy: string): number {
  let isFile: boolean;
  try {
    isFile = statSync(path).isFile();
    if (isFile) return openSync(path, "r");
  } catch {
    throw new InputError(`${path}: no such file, or not readable; ${remedy}`);
  }
  throw new InputError(`${path}: not a file; ${remedy}`);
}

/** `length` bytes from `offset` on; fewer only where the file ends. */
export function readBytes({ descriptor }: OpenFile, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const read = readSync(descriptor, bytes, done, Math.min(READ_BYTES, length - done), offset + done);
    if (read === 0) return bytes.slice(0, done);
    done += read;
  }
  return bytes;
}

/** A whole text file. */
export function readText(path: string, remedy: string): string {
  return withFile(path, remedy, ({ descriptor, size }) => {
    if (size > TEXT_BYTES) throw new InputError(`${path}: ${size} bytes of text; ${TEXT_BYTES} are the most`);
    return readFileSync(descriptor, "utf8");
  });
}

/** What the file system objected to, in words. */
export function systemReason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  const known: Readonly<Record<string, string>> = {
    ENOSPC: "disk full",
    EACCES: "permission denied",
    ENOENT: "no such folder",
    EISDIR: "is a folder",
    ENOTDIR: "not a folder",
    EROFS: "read-only file system",
    EFBIG: "file too large",
  };
  return code === undefined ? String(error) : (known[code] ?? code);
}
