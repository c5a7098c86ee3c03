/**
 * Opens a GGUF file: metadata and tensor table through @huggingface/gguf, checked against the file before anything is read;
 * weights as raw blocks or decoded rows, straight from the file. Every contradiction is an error with the numbers in it.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { gguf } from "@huggingface/gguf";
import { type BlockType, blockType, decodeBlocks } from "./blocks.ts";
import { ModelError } from "./errors.ts";
import type { GgufMetadata } from "./metadata.ts";

export interface TensorInfo {
  readonly name: string;
  /** Row-major, slowest axis first: the reverse of GGUF's order. */
  readonly shape: readonly number[];
  readonly type: BlockType;
  /** From the start of the file. */
  readonly byteOffset: number;
  readonly rowBytes: number;
  readonly rows: number;
  /** Elements of a row: the fastest axis. */
  readonly columns: number;
}

export class GgufFile {
  readonly path: string;
  readonly size: number;
  readonly metadata: GgufMetadata;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #fd: number;

  private constructor(
    path: string,
    fd: number,
    size: number,
    metadata: GgufMetadata,
    tensors: Map<string, TensorInfo>,
  ) {
    this.path = path;
    this.#fd = fd;
    this.size = size;
    this.metadata = metadata;
    this.tensors = tensors;
  }

  /** Reads the header. Throws ModelError where the file is not a whole GGUF that we can decode. */
  static async open(path: string): Promise<GgufFile> {
    const fd = openModelFile(path);
    try {
      const { size } = fstatSync(fd);
      checkStart(path, fd, size);
      const { metadata, tensors } = await readHeader(path, size);
      return new GgufFile(path, fd, size, metadata, tensors);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  get name(): string {
    return basename(this.path);
  }

  /** The tensor of that name. Throws ModelError where the file has none. */
  tensor(name: string): TensorInfo {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) {
      throw new ModelError(
        `${this.name}: tensor ${name} is missing (the file holds ${this.tensors.size}); convert or download the model again`,
      );
    }
    return tensor;
  }

  /** The raw blocks of rows `first ... first + count - 1`. */
  readRows(tensor: TensorInfo, first = 0, count = tensor.rows): Uint8Array {
    const bytes = new Uint8Array(count * tensor.rowBytes);
    const start = tensor.byteOffset + first * tensor.rowBytes;
    let done = 0;
    while (done < bytes.length) {
      const read = readSync(this.#fd, bytes, done, bytes.length - done, start + done);
      if (read === 0)
        throw new ModelError(`${this.name}: ended inside ${tensor.name}; the file changed while it was read`);
      done += read;
    }
    return bytes;
  }

  /** Rows `first ... first + count - 1` decoded to f32, row-major. */
  decodeRows(tensor: TensorInfo, first = 0, count = tensor.rows): Float32Array {
    return decodeBlocks(tensor.type, this.readRows(tensor, first, count));
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Where rows of weights come from: a GGUF file, or what was taken out of one. */
export type WeightFile = Pick<GgufFile, "name" | "tensor" | "readRows" | "decodeRows">;

/** Opens a model file for reading. Throws ModelError where there is no such file. */
export function openModelFile(path: string): number {
  try {
    // Opening a pipe would wait for its writer.
    if (statSync(path).isFile()) return openSync(path, "r");
  } catch {
    throw new ModelError(`${path}: no such file, or not readable; give the path of a GGUF model`);
  }
  throw new ModelError(`${path}: not a file; give the path of a GGUF model`);
}

/** What the file claims to hold, and the fewest bytes that one takes. */
const CLAIMS: readonly [what: string, at: number, leastBytes: bigint][] = [
  ["tensors", 8, 24n],
  ["metadata keys", 16, 13n],
];

/** Magic, version and counts: the library believes a count, and takes memory for it before the file turns out too short. */
function checkStart(path: string, fd: number, size: number): void {
  const head = Buffer.alloc(24);
  readSync(fd, head, 0, 24, 0);
  if (head.toString("latin1", 0, 4) !== "GGUF") {
    throw new ModelError(
      `${path}: not a GGUF file (${size} bytes, starts with ${JSON.stringify(head.toString("latin1", 0, 4))}); give a .gguf model`,
    );
  }
  const version = head.readUInt32LE(4);
  if (version !== 2 && version !== 3) {
    throw new ModelError(
      `${path}: GGUF version ${version}; versions 2 and 3 can be read, little-endian, not big-endian; convert the model again`,
    );
  }
  for (const [what, at, leastBytes] of CLAIMS) {
    const count = head.readBigUInt64LE(at);
    if (count * leastBytes > size) {
      throw new ModelError(
        `${path}: claims ${count} ${what} in ${size} bytes; the header is damaged, download it again`,
      );
    }
  }
}

async function readHeader(path: string, size: number) {
  let parsed: Awaited<ReturnType<typeof gguf>>;
  try {
    parsed = await gguf(resolve(path), { allowLocalFile: true });
  } catch (error) {
    const why = (error as Error).message.split("\n")[0];
    throw new ModelError(
      `${path}: the header cannot be read in ${size} bytes (${why}); the file is cut short or damaged`,
    );
  }
  const [, headerEnd] = parsed.tensorInfoByteRange;
  if (headerEnd > size) {
    // The library reads zeros past the end.
    throw new ModelError(`${path}: the header goes on to byte ${headerEnd}, the file ends at ${size}; it is cut short`);
  }
  const { version: _version, tensor_count: _tensors, kv_count: _keys, ...keys } = parsed.metadata;
  const metadata: GgufMetadata = Object.fromEntries(Object.entries(keys).map(([key, value]) => [key, plain(value)]));
  const alignment = metadata["general.alignment"] ?? 32;
  if (typeof alignment !== "number" || !Number.isInteger(Math.log2(alignment))) {
    throw new ModelError(
      `${path}: general.alignment is ${JSON.stringify(alignment)}, not a power of two; the header is damaged`,
    );
  }
  // Ours, for the library pads in 32 bits.
  const dataOffset = Math.ceil(headerEnd / alignment) * alignment;
  const tensors = new Map<string, TensorInfo>();
  for (const info of parsed.tensorInfos) {
    if (tensors.has(info.name))
      throw new ModelError(`${path}: tensor ${info.name} stands twice in the table; the file is damaged`);
    const shape = info.shape.map(Number).reverse();
    const byteOffset = dataOffset + Number(info.offset);
    tensors.set(info.name, tensorInfo(path, size, alignment, info.name, shape, Number(info.dtype), byteOffset));
  }
  if (tensors.size === 0 && metadata["tokenizer.ggml.tokens"] === undefined) {
    throw new ModelError(`${path}: holds neither tensors nor a vocabulary; give a whole model`);
  }
  return { metadata, tensors };
}

/** 64-bit metadata as numbers where that is exact, so that hyper-parameters need no second form. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  return Array.isArray(value) && typeof value[0] === "bigint" ? value.map(Number) : value;
}

function tensorInfo(
  path: string,
  size: number,
  alignment: number,
  name: string,
  shape: readonly number[],
  typeId: number,
  byteOffset: number,
): TensorInfo {
  const type = blockType(typeId);
  if (type === undefined) {
    throw new ModelError(
      `${path}: ${name} has block type ${typeId}, which has no decoder here; requantise the model, e.g. to Q4_K`,
    );
  }
  const columns = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((product, length) => product * length, 1);
  if (
    shape.length < 1 ||
    shape.length > 4 ||
    shape.some((length) => length < 1) ||
    !Number.isSafeInteger(rows * columns)
  ) {
    throw new ModelError(`${path}: ${name} has shape [${shape.join(", ")}]; the header is damaged`);
  }
  if (columns % type.elements !== 0) {
    throw new ModelError(
      `${path}: ${name} has rows of ${columns} elements, which do not divide into ${type.name} blocks of ${type.elements}; the header is damaged`,
    );
  }
  const rowBytes = (columns / type.elements) * type.bytes;
  const end = byteOffset + rows * rowBytes;
  if (end > size) {
    throw new ModelError(
      `${path}: ${name} ends at byte ${end}, the file at ${size}; it is cut short, download it again`,
    );
  }
  if (byteOffset % alignment !== 0) {
    throw new ModelError(
      `${path}: ${name} starts at byte ${byteOffset}, not a multiple of ${alignment}; the header is damaged`,
    );
  }
  return { name, shape, type, byteOffset, rowBytes, rows, columns };
}
