/** Dispatches with their buffers on the GPU, to be run alone, as often as one likes. */
import type { Buffers } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import { bindGroup, type Pipelines } from "./kernels.ts";
import type { Dispatch, StepShape } from "./lowering.ts";

/** The buffer that dispatches write to: `border` bytes, `bytes` of output, and at least `border` bytes that the kernel may reach. */
export interface PreparedOutput {
  readonly buffer: GPUBuffer;
  readonly border: number;
  readonly bytes: number;
  /** Words of the output that are to be written; the others count as border. */
  readonly written: { readonly first: number; readonly count: number };
  /** What stands in the output before, for kernels that work in place; null where nothing is read. */
  readonly initial: Uint32Array<ArrayBuffer> | null;
}

export interface PreparedKernel {
  readonly output: PreparedOutput;
  /** Runs it `times` times, one after the other in one submission. */
  submit(times?: number): Promise<void>;
  /** The output, once all that was submitted is done. */
  read(): Promise<Float32Array>;
  /** The whole buffer, borders included. */
  readAll(): Promise<Float32Array>;
  close(): void;
}

/** A dispatch with everything bound. */
export interface BoundDispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly groups: readonly [number, number, number];
}

interface Surroundings {
  readonly buffers: Buffers;
  readonly output: PreparedOutput;
  /** Gives back what was uploaded. */
  readonly close: () => void;
}

/** Compiles and binds. */
export async function prepareDispatches(
  gpu: Gpu,
  pipelines: Pipelines,
  dispatches: readonly Dispatch[],
  step: StepShape,
  around: Surroundings,
): Promise<PreparedKernel> {
  return prepared(gpu, await boundDispatches(gpu, pipelines, dispatches, step, around.buffers), around);
}

/** Compiles and binds; dispatches that have nothing to do in this step are left out. */
export async function boundDispatches(
  gpu: Gpu,
  pipelines: Pipelines,
  dispatches: readonly Dispatch[],
  step: StepShape,
  buffers: Buffers,
): Promise<BoundDispatch[]> {
  const bound: BoundDispatch[] = [];
  for (const { kernel, constants, edits, bindings, uniform, grid } of dispatches) {
    const groups = grid(step);
    if (groups[0] === 0) continue;
    const pipeline = await pipelines.get(kernel, constants, edits);
    const words = uniform === null ? {} : { 0: { buffer: buffers.uniform(uniform(step)) } };
    bound.push({ pipeline, group: bindGroup(gpu, pipeline, { ...words, ...bindings }), groups });
  }
  await gpu.compiled(bound);
  return bound;
}

/** Dispatches that are bound, to be run. */
export function prepared(
  gpu: Gpu,
  dispatches: readonly BoundDispatch[],
  { buffers, output, close }: Surroundings,
): PreparedKernel {
  const { buffer, border, bytes } = output;
  return {
    output,
    submit: async (times = 1) => {
      const encoder = gpu.device.createCommandEncoder();
      for (let i = 0; i < times; i++) {
        for (const { pipeline, group, groups } of dispatches) {
          const pass = encoder.beginComputePass();
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          pass.dispatchWorkgroups(...groups);
          pass.end();
        }
      }
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.finished();
    },
    read: () => readBuffer(gpu, buffers, buffer, border, bytes),
    readAll: () => readBuffer(gpu, buffers, buffer, 0, buffer.size),
    close,
  };
}

/** A range of a buffer as floats, their bits as they stand. */
async function readBuffer(gpu: Gpu, buffers: Buffers, buffer: GPUBuffer, offset: number, bytes: number) {
  const staging = buffers.named("staging", bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  const encoder = gpu.device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes);
  gpu.device.queue.submit([encoder.finish()]);
  const values = new Float32Array(await gpu.mapped(staging, bytes)).slice();
  staging.unmap();
  return values;
}

/** A buffer for an output between borders, and the binding of the output: the kernel sees the border after it. */
export function borderedOutput(buffers: Buffers, bytes: number, border: number) {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = buffers.named("output", border + bytes + border, usage);
  return { buffer, binding: border === 0 ? { buffer } : { buffer, offset: border } };
}
