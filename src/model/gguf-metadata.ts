// The key-value section of a GGUF file, exactly as stored.
//
// Our own beside @huggingface/gguf 0.4.6, because that one decodes every string with a decoder that drops a leading
// U+FEFF: the Gemma vocabularies then hold "//" and "#" twice, and text is tokenised wrongly without a word. It also
// takes two to three times as long over a vocabulary, which every run of the tool would pay for.
import { closeSync, fstatSync, readSync } from "node:fs";
import { ModelError } from "./errors.ts";
import { openModelFile } from "./gguf.ts";
import type { GgufMetadata } from "./metadata.ts";

const CHUNK_BYTES = 1 << 20;
/** Far above any real file, so that one of a terabyte cannot ask for its size in memory. */
const MOST_ELEMENTS = 1 << 20;
const LONGEST_TEXT = 1 << 24;
const DEEPEST_ARRAY = 4;

interface Scalar {
  readonly bytes: number;
  readonly read: (view: DataView, at: number) => number | bigint | boolean;
}

/** One row per GGUF value type; the index is GGUF's number. */
const VALUE_TYPES: readonly (Scalar | "string" | "array")[] = [
  { bytes: 1, read: (view, at) => view.getUint8(at) },
  { bytes: 1, read: (view, at) => view.getInt8(at) },
  { bytes: 2, read: (view, at) => view.getUint16(at, true) },
  { bytes: 2, read: (view, at) => view.getInt16(at, true) },
  { bytes: 4, read: (view, at) => view.getUint32(at, true) },
  { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  { bytes: 1, read: (view, at) => view.getUint8(at) !== 0 },
  "string",
  "array",
  { bytes: 8, read: (view, at) => view.getBigUint64(at, true) },
  { bytes: 8, read: (view, at) => view.getBigInt64(at, true) },
  { bytes: 8, read: (view, at) => view.getFloat64(at, true) },
];

/** Reads the metadata of a GGUF file (version 2 or 3, little-endian); tensor table and weights are not touched. */
export function readGgufMetadata(path: string): GgufMetadata {
  const file = openModelFile(path);
  try {
    const cursor = new Cursor(file, path);
    const magic = cursor.text(4);
    const version = cursor.uint32();
    if (magic !== "GGUF" || (version !== 2 && version !== 3)) {
      throw new ModelError(
        `${path}: begins ${JSON.stringify(magic)} version ${version}, not "GGUF" version 2 or 3 little-endian; ` +
          "convert the model again",
      );
    }
    cursor.length(MOST_ELEMENTS); // number of tensors
    const entries = Array.from({ length: cursor.length(MOST_ELEMENTS) }, () => {
      const key = cursor.text(cursor.length(LONGEST_TEXT));
      return [key, readValue(cursor, cursor.uint32())] as const;
    });
    return Object.fromEntries(entries);
  } finally {
    closeSync(file);
  }
}

function readValue(cursor: Cursor, code: number, depth = 0): unknown {
  const type = VALUE_TYPES[code];
  if (type === "string") return cursor.text(cursor.length(LONGEST_TEXT));
  if (type === "array") {
    if (depth === DEEPEST_ARRAY) throw cursor.damaged(`arrays within arrays more than ${DEEPEST_ARRAY} deep`);
    const elementCode = cursor.uint32();
    return Array.from({ length: cursor.length(MOST_ELEMENTS) }, () => readValue(cursor, elementCode, depth + 1));
  }
  if (type !== undefined) return cursor.scalar(type);
  throw cursor.damaged(`value type ${code}, but GGUF has 0 to ${VALUE_TYPES.length - 1}`);
}

/** Walks a file from its start, reading on as it goes. */
class Cursor {
  readonly #file: number;
  readonly #path: string;
  readonly #fileBytes: number;
  #held = Buffer.alloc(0);
  #view = new DataView(this.#held.buffer, 0, 0);
  #at = 0;

  constructor(file: number, path: string) {
    this.#file = file;
    this.#path = path;
    this.#fileBytes = fstatSync(file).size;
  }

  scalar<T extends number | bigint | boolean>(type: { bytes: number; read: (view: DataView, at: number) => T }): T {
    const at = this.#advance(type.bytes); // may replace the view
    return type.read(this.#view, at);
  }

  uint32(): number {
    return this.scalar({ bytes: 4, read: (view, at) => view.getUint32(at, true) });
  }

  /** A count of elements or bytes; each takes at least a byte, so it cannot exceed what is left of the file. */
  length(most: number): number {
    const length = this.scalar({ bytes: 8, read: (view, at) => view.getBigUint64(at, true) });
    if (length <= Math.min(most, this.#fileBytes - this.#at)) return Number(length);
    throw this.damaged(`a length of ${length}`);
  }

  text(bytes: number): string {
    const start = this.#advance(bytes);
    return this.#held.toString("utf8", start, start + bytes);
  }

  damaged(what: string): ModelError {
    return new ModelError(
      `${this.#path}: ${what} before byte ${this.#at} of ${this.#fileBytes}; the file is damaged, download it again`,
    );
  }

  #advance(bytes: number): number {
    const start = this.#at;
    this.#at += bytes;
    if (this.#at > this.#held.length) this.#holdTo(this.#at);
    return start;
  }

  #holdTo(end: number): void {
    if (end > this.#fileBytes) {
      throw new ModelError(
        `${this.#path}: ends at byte ${this.#fileBytes}, amid metadata that go on to ${end}; download it again`,
      );
    }
    const held = this.#held.length;
    const grown = Buffer.alloc(Math.min(this.#fileBytes, Math.max(end, 2 * held, CHUNK_BYTES)));
    this.#held.copy(grown);
    readSync(this.#file, grown, held, grown.length - held, held);
    this.#held = grown;
    this.#view = new DataView(grown.buffer, grown.byteOffset, grown.length);
  }
}
