/** The engine's own buffers: arenas for activations, the KV cache, and named work buffers that grow when a step needs more. */
import type { Gpu } from "./device.ts";
import type { Binding } from "./kernels.ts";

/** Whole vec4f, so that kernels may read any tensor as such. */
const aligned = (bytes: number) => Math.ceil(bytes / 256) * 256;

export class Buffers {
  readonly #gpu: Gpu;
  readonly #cacheBytes: number;
  readonly #caches = new Map<string, GPUBuffer>();
  readonly #named = new Map<string, GPUBuffer>();

  /** `cacheBytes`: of the cached keys, or the cached values, of one layer. */
  constructor(gpu: Gpu, cacheBytes: number) {
    this.#gpu = gpu;
    this.#cacheBytes = cacheBytes;
  }

  /** Arena number `index`, with two halves of `halfBytes`. Bind groups keep the buffer that they were made with. */
  arena(index: number, halfBytes: number): GPUBuffer {
    return this.named(
      `arena ${index} of ${halfBytes}`,
      2 * halfBytes,
      GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
    );
  }

  /** The cache that the rows of a tap are stored to. */
  cache(tap: string): Binding {
    let buffer = this.#caches.get(tap);
    if (buffer === undefined) {
      buffer = this.#gpu.device.createBuffer({
        label: `cache of ${tap}`,
        size: aligned(this.#cacheBytes),
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      });
      this.#caches.set(tap, buffer);
    }
    return { buffer };
  }

  /** Every cache so far. */
  caches(): Iterable<GPUBuffer> {
    return this.#caches.values();
  }

  /** Every other buffer so far that kernels alone write: the host can copy nothing into it. */
  work(): GPUBuffer[] {
    const { STORAGE, COPY_DST } = GPUBufferUsage;
    return [...this.#named.values()].filter(({ usage }) => (usage & (STORAGE | COPY_DST)) === STORAGE);
  }

  /** A work buffer of at least `bytes`; what it held is lost when it grows. */
  named(label: string, bytes: number, usage: number): GPUBuffer {
    const found = this.#named.get(label);
    if (found !== undefined && found.size >= bytes) return found;
    found?.destroy();
    const created = this.#gpu.device.createBuffer({ label, size: Math.max(256, aligned(bytes)), usage });
    this.#named.set(label, created);
    return created;
  }

  /** A storage buffer with these contents. */
  upload(label: string, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): Binding {
    const buffer = this.named(label, data.byteLength, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST);
    this.#gpu.device.queue.writeBuffer(buffer, 0, data);
    return { buffer };
  }

  /** Writes a buffer from its beginning on. */
  write(buffer: GPUBuffer, data: Uint8Array<ArrayBuffer>): void {
    this.#gpu.device.queue.writeBuffer(buffer, 0, data);
  }

  /** A uniform with these words; made once for each content, for these repeat from step to step. */
  uniform(words: readonly number[]): GPUBuffer {
    const label = `uniform ${words.join(" ")}`;
    const found = this.#named.get(label);
    if (found !== undefined) return found;
    const buffer = this.named(label, 32, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    this.#gpu.device.queue.writeBuffer(buffer, 0, Uint32Array.from(words));
    return buffer;
  }

  /** Gives all memory back. */
  close(): void {
    for (const buffer of [...this.#caches.values(), ...this.#named.values()]) buffer.destroy();
    this.#caches.clear();
    this.#named.clear();
  }
}
