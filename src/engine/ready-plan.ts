/** A plan with everything made that does not change from step to step: pipelines, bind groups, places of uniforms. */

import type { Model } from "../model/model.ts";
import { rowsAndColumns, shapeOf } from "../trace/dims.ts";
import type { Buffers } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import type { Plant } from "./faults/plant.ts";
import { type Binding, bindGroup, type Pipelines } from "./kernels.ts";
import { type Dispatch, type LoweringContext, lower, roundHalf, storeRows } from "./lowering.ts";
import type { Place, Plan, PlannedOp, Segment } from "./plan.ts";

/** Bytes between uniforms: WebGPU's default minUniformBufferOffsetAlignment. */
export const UNIFORM_STRIDE = 256;
/** Bytes of the largest uniform, rounded up. */
const UNIFORM_BYTES = 32;

export interface ReadyDispatch {
  readonly dispatch: Dispatch;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  /** Byte offset of its uniform. */
  readonly uniformAt: number;
}

export interface ReadySegment extends Segment {
  readonly dispatches: readonly ReadyDispatch[];
}

export interface ReadyPlan {
  readonly plan: Plan;
  readonly segments: readonly ReadySegment[];
  readonly uniforms: GPUBuffer;
  readonly words: Uint32Array<ArrayBuffer>;
}

/** Makes a plan ready, with `plant`'s faults in it. Throws a DeviceError naming the kernel where the driver refuses one. */
export async function makeReady(
  gpu: Gpu,
  pipelines: Pipelines,
  buffers: Buffers,
  model: Model,
  plan: Plan,
  context: LoweringContext,
  dtype: "f32" | "f16",
  plant?: Plant,
): Promise<ReadyPlan> {
  const dispatches = plan.segments.map((segment) =>
    segment.ops.flatMap((planned) => dispatchesOf(planned, plan, buffers, model, context, dtype, plant)),
  );
  const count = dispatches.flat().length;
  const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
  const uniforms = gpu.device.createBuffer({ label: "uniforms", size: count * UNIFORM_STRIDE, usage });
  let next = 0;
  const segments = await Promise.all(
    plan.segments.map(async (segment, index) => ({
      ...segment,
      dispatches: await Promise.all(
        (dispatches[index] ?? []).map(async (dispatch) => {
          const uniformAt = UNIFORM_STRIDE * next++;
          const pipeline = await pipelines.get(dispatch.kernel, dispatch.constants, dispatch.edits);
          const uniform =
            dispatch.uniform === null ? {} : { 0: { buffer: uniforms, offset: uniformAt, size: UNIFORM_BYTES } };
          return {
            dispatch,
            pipeline,
            group: bindGroup(gpu, pipeline, { ...uniform, ...dispatch.bindings }),
            uniformAt,
          };
        }),
      ),
    })),
  );
  return { plan, segments, uniforms, words: new Uint32Array((count * UNIFORM_STRIDE) / 4) };
}

function dispatchesOf(
  planned: PlannedOp,
  plan: Plan,
  buffers: Buffers,
  model: Model,
  context: LoweringContext,
  dtype: "f32" | "f16",
  plant: Plant | undefined,
): readonly Dispatch[] {
  const at = (place: Place): Binding => ({
    buffer: buffers.arena(place.arena, plan.halfBytes),
    offset: place.byteOffset,
    size: place.byteLength,
  });
  const bindingOf = (producer: PlannedOp, cached: boolean) =>
    cached ? buffers.cache(producer.op.tap) : at(producer.place);
  const { op, inputs, place, stored } = planned;
  const output = at(place);
  const sources = inputs.map(({ producer, cached }) => bindingOf(producer, cached));
  const clean = lower(op, sources, output, context);
  const site = { planned, plan, buffers, context, bindingOf };
  const dispatches = [...(plant?.compute(site, clean) ?? clean)];
  if (dtype === "f16") dispatches.push(roundHalf(output, place.byteLength / 4, context.width));
  if (stored) {
    const { columns } = rowsAndColumns(shapeOf(op.dims, model.axes(plan.tokens, 1)));
    const store = storeRows(output, buffers.cache(op.tap), columns, plan.tokens, context.width);
    dispatches.push(...(plant?.store(site, store) ?? [store]));
  }
  return dispatches;
}
