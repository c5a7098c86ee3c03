/**
 * Weights on the GPU. Matrices keep their blocks, each padded to whole u32 words so that kernels load words; a matrix larger
 * than the adapter's binding limit is cut into slices of rows. Gains and biases are decoded to f32. Rows stream from the file.
 */
import type { TensorInfo, WeightFile } from "../model/gguf.ts";
import type { Gpu } from "./device.ts";
import { GpuOutOfMemoryError } from "./errors.ts";

/** Bytes read and uploaded at a time. */
const CHUNK_BYTES = 16 << 20;
/** Uploads in flight before the queue is drained: Dawn keeps a copy of each until then. */
const FLIGHT_BYTES = 64 << 20;

/**
 * Where two zero bytes go into a block, for the types whose blocks are not whole words: after the f16 scale in front, or at the
 * end. The kernel weight_blocks.wgsl reads this layout.
 */
const PADDING_AT: Readonly<Record<string, number>> = { Q4_0: 2, Q5_0: 2, Q8_0: 2, IQ4_NL: 2, Q3_K: 110, Q6_K: 210 };

export interface WeightSlice {
  readonly buffer: GPUBuffer;
  readonly firstRow: number;
  readonly rows: number;
}

/** A matrix: rows of blocks. */
export interface GpuMatrix {
  readonly tensor: TensorInfo;
  readonly rowWords: number;
  readonly slices: readonly WeightSlice[];
}

/** Words that a row takes on the GPU. */
export function gpuRowWords(tensor: TensorInfo): number {
  const blocks = tensor.columns / tensor.type.elements;
  const padded = tensor.type.bytes + (PADDING_AT[tensor.type.name] === undefined ? 0 : 2);
  return Math.ceil((blocks * padded) / 4);
}

/** Rows as the file has them -> rows as the kernel reads them. */
export function packRows(tensor: TensorInfo, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const rowBytes = gpuRowWords(tensor) * 4;
  const rows = bytes.length / tensor.rowBytes;
  if (rowBytes === tensor.rowBytes) return bytes as Uint8Array<ArrayBuffer>;
  const packed = new Uint8Array(rows * rowBytes);
  const at = PADDING_AT[tensor.type.name];
  if (at === undefined) {
    for (let row = 0; row < rows; row++) {
      packed.set(bytes.subarray(row * tensor.rowBytes, (row + 1) * tensor.rowBytes), row * rowBytes);
    }
    return packed;
  }
  const size = tensor.type.bytes;
  const blocks = bytes.length / size;
  for (let block = 0; block < blocks; block++) {
    const from = block * size;
    const to = block * (size + 2);
    for (let i = 0; i < at; i++) packed[to + i] = bytes[from + i] as number;
    for (let i = at; i < size; i++) packed[to + 2 + i] = bytes[from + i] as number;
  }
  return packed;
}

export class GpuWeights {
  readonly #matrices = new Map<string, GpuMatrix>();
  readonly #vectors = new Map<string, GPUBuffer>();

  private constructor() {}

  /**
   * Uploads the named tensors: matrices as blocks, vectors as f32. `progress` is told the bytes done and the bytes in all.
   * `bindingLimit` stands in for the adapter's, for tests.
   */
  static async load(
    gpu: Gpu,
    file: WeightFile,
    names: Iterable<string>,
    options: { progress?: (done: number, total: number) => void; bindingLimit?: number } = {},
  ): Promise<GpuWeights> {
    const weights = new GpuWeights();
    const tensors = [...new Set(names)].map((name) => file.tensor(name));
    const total = tensors.reduce((sum, tensor) => sum + tensor.rows * tensor.rowBytes, 0);
    const uploader = new Uploader(gpu, (done) => options.progress?.(done, total));
    const limit = Math.min(options.bindingLimit ?? Number.POSITIVE_INFINITY, gpu.limits.maxStorageBufferBindingSize);
    await gpu.guarded(`${file.name}: loading ${(total / 2 ** 20).toFixed(0)} MiB of weights`, async () => {
      for (const tensor of tensors) {
        if (tensor.shape.length === 1) weights.#vectors.set(tensor.name, await uploader.vector(file, tensor));
        else weights.#matrices.set(tensor.name, await uploader.matrix(file, tensor, limit));
      }
      await uploader.drain();
    });
    return weights;
  }

  matrix(name: string): GpuMatrix {
    const matrix = this.#matrices.get(name);
    if (matrix === undefined) throw new Error(`matrix ${name} is not loaded`);
    return matrix;
  }

  vector(name: string): GPUBuffer {
    const vector = this.#vectors.get(name);
    if (vector === undefined) throw new Error(`vector ${name} is not loaded`);
    return vector;
  }

  /** Gives all memory back. */
  close(): void {
    for (const { slices } of this.#matrices.values()) for (const { buffer } of slices) buffer.destroy();
    for (const buffer of this.#vectors.values()) buffer.destroy();
  }
}

class Uploader {
  readonly #gpu: Gpu;
  readonly #progress: (done: number) => void;
  #done = 0;
  #inFlight = 0;

  constructor(gpu: Gpu, progress: (done: number) => void) {
    this.#gpu = gpu;
    this.#progress = progress;
  }

  async vector(file: WeightFile, tensor: TensorInfo): Promise<GPUBuffer> {
    const values = file.decodeRows(tensor);
    const buffer = this.#buffer(tensor.name, values.byteLength);
    await this.#write(buffer, 0, new Uint8Array(values.buffer as ArrayBuffer), tensor.rowBytes);
    return buffer;
  }

  async matrix(file: WeightFile, tensor: TensorInfo, limit: number): Promise<GpuMatrix> {
    const rowWords = gpuRowWords(tensor);
    const rowsOfSlice = Math.floor(limit / (rowWords * 4));
    if (rowsOfSlice < 1) {
      throw new GpuOutOfMemoryError(
        `${tensor.name}: a row takes ${rowWords * 4} bytes, the adapter binds at most ${limit}`,
      );
    }
    const slices: WeightSlice[] = [];
    for (let firstRow = 0; firstRow < tensor.rows; firstRow += rowsOfSlice) {
      const rows = Math.min(rowsOfSlice, tensor.rows - firstRow);
      const buffer = this.#buffer(tensor.name, rows * rowWords * 4);
      const step = Math.max(1, Math.floor(CHUNK_BYTES / tensor.rowBytes));
      for (let row = 0; row < rows; row += step) {
        const count = Math.min(step, rows - row);
        const packed = packRows(tensor, file.readRows(tensor, firstRow + row, count));
        await this.#write(buffer, row * rowWords * 4, packed, count * tensor.rowBytes);
      }
      slices.push({ buffer, firstRow, rows });
    }
    return { tensor, rowWords, slices };
  }

  async drain(): Promise<void> {
    this.#gpu.device.queue.submit([]);
    await this.#gpu.finished();
    this.#inFlight = 0;
  }

  #buffer(label: string, size: number): GPUBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    return this.#gpu.device.createBuffer({ label, size: Math.max(16, size), usage });
  }

  async #write(buffer: GPUBuffer, offset: number, bytes: Uint8Array<ArrayBuffer>, fileBytes: number): Promise<void> {
    this.#gpu.device.queue.writeBuffer(buffer, offset, bytes);
    this.#inFlight += bytes.length;
    this.#done += fileBytes;
    if (this.#inFlight >= FLIGHT_BYTES) await this.drain();
    this.#progress(this.#done);
  }
}
