/**
 * Fills what the engine's kernels write, before they write it: an op whose bits then change reads what nobody wrote, or leaves a
 * part of its output unwritten. Weights, ids, tables and uniforms come from the host and stay as they are.
 */
import type { Buffers } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { bindGroup } from "./kernels.ts";
import { flatGrid } from "./lowering.ts";
import { ARENAS } from "./plan.ts";
import type { ReadySegment } from "./ready-plan.ts";

/** `nan`: the bits 0x7fc00000; `noise`: a fixed pattern of finite floats. */
export const POISONS = ["nan", "noise"] as const;
export type PoisonPattern = (typeof POISONS)[number];

export class Poison {
  readonly #gpu: Gpu;
  readonly #buffers: Buffers;
  readonly #pipeline: GPUComputePipeline;
  readonly #width: number;
  readonly #pattern: PoisonPattern;

  /** `pipeline`: the kernel `poison`, for workgroups of `width` threads. */
  constructor(gpu: Gpu, buffers: Buffers, pipeline: GPUComputePipeline, width: number, pattern: PoisonPattern) {
    this.#gpu = gpu;
    this.#buffers = buffers;
    this.#pipeline = pipeline;
    this.#width = width;
    this.#pattern = pattern;
  }

  /** Everything at once: what the run before left is gone, also from cache rows that the next will not come to write. */
  everything(): void {
    const encoder = this.#gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const buffer of [...this.#buffers.caches(), ...this.#buffers.work()]) this.#fill(pass, buffer, 0, buffer.size);
    pass.end();
    this.#gpu.device.queue.submit([encoder.finish()]);
  }

  /** What a segment's ops are about to write, in each arena; what they read of the segment before lies in the other half. */
  outputs(pass: GPUComputePassEncoder, { half, ops }: ReadySegment, halfBytes: number): void {
    for (let arena = 0; arena < ARENAS; arena++) {
      const places = ops.map(({ place }) => place).filter((place) => place.arena === arena);
      const used = Math.max(0, ...places.map(({ offsetInHalf, byteLength }) => offsetInHalf + byteLength));
      const start = half * halfBytes;
      if (used > 0) this.#fill(pass, this.#buffers.arena(arena, halfBytes), start, start + used);
    }
  }

  /** Bytes `from` up to `to`, in ranges that can be bound. */
  #fill(pass: GPUComputePassEncoder, buffer: GPUBuffer, from: number, to: number): void {
    const { maxStorageBufferBindingSize: most, minStorageBufferOffsetAlignment: alignment } = this.#gpu.limits;
    const bound = most - (most % alignment);
    pass.setPipeline(this.#pipeline);
    for (let offset = from - (from % alignment); offset < to; offset += bound) {
      const size = Math.min(bound, buffer.size - offset);
      const first = Math.max(0, from - offset) / 4;
      const end = Math.min(size, to - offset) / 4;
      const uniform = { buffer: this.#buffers.uniform([first, end, this.#pattern === "noise" ? 1 : 0]) };
      pass.setBindGroup(0, bindGroup(this.#gpu, this.#pipeline, { 0: uniform, 1: { buffer, offset, size } }));
      pass.dispatchWorkgroups(...flatGrid(Math.ceil((end - first) / this.#width)));
    }
  }
}
