/** One op alone on the GPU: its inputs in, its output back. No plan, no cache, no records. */
import type { OpModel } from "../model/model.ts";
import type { Op } from "../model/ops.ts";
import { ropeTable } from "../model/rope.ts";
import { elementsOf, shapeOf } from "../trace/dims.ts";
import { InputError } from "../trace/errors.ts";
import { Buffers } from "./buffers.ts";
import type { Gpu } from "./device.ts";
import type { Fault } from "./faults/fault.ts";
import { Site } from "./faults/site.ts";
import { type Binding, Pipelines } from "./kernels.ts";
import { type Dispatch, type LoweringContext, lower, roundHalf } from "./lowering.ts";
import type { PlannedOp } from "./plan.ts";
import { borderedOutput, type PreparedKernel, prepareDispatches } from "./prepared.ts";
import { GpuWeights } from "./weights.ts";

export interface SingleOp {
  /** Its graph is this op alone; its file holds the op's weights. */
  readonly model: OpModel;
  readonly op: Op;
  readonly tokens: readonly number[];
  readonly posStart: number;
  /** Flat row-major; cached inputs are the rows of all positions up to now. */
  readonly inputs: readonly Float32Array[];
  /** What the output is stored in. */
  readonly dtype: "f32" | "f16";
  readonly fault?: Fault;
  /** By the kernel for every adapter, where this one has another (LoweringContext.subgroups). */
  readonly portable?: boolean;
}

/** Runs the op and gives its output, flat row-major. Throws DeviceError, and InputError for a fault that needs other ops. */
export async function runSingleOp(gpu: Gpu, single: SingleOp): Promise<Float32Array> {
  const prepared = await prepareSingleOp(gpu, single, new Pipelines(gpu), 0);
  try {
    return await gpu.guarded(`${single.op.tap} alone`, async () => {
      await prepared.submit();
      return prepared.read();
    });
  } finally {
    prepared.close();
  }
}

/** Uploads and compiles; `border`: bytes of the output's buffer before and after it, a multiple of 256. */
export async function prepareSingleOp(
  gpu: Gpu,
  single: SingleOp,
  pipelines: Pipelines,
  border: number,
): Promise<PreparedKernel> {
  const { model, op, tokens, posStart, inputs, dtype } = single;
  const keys = posStart + tokens.length;
  const weights = await GpuWeights.load(gpu, model.file, op.weights);
  const buffers = new Buffers(gpu, 0);
  const { cos, sin } = ropeTable(model.parameters.rope, 0, op.kind === "rope" ? keys : 0);
  const context: LoweringContext = {
    ...{ model, weights, width: gpu.width, tokens: tokens.length },
    subgroups: pipelines.subgroups && single.fault === undefined && single.portable !== true,
    ids: buffers.upload("token ids", Uint32Array.from(tokens)),
    cosines: buffers.upload("rope.cos", Float32Array.from(cos)),
    sines: buffers.upload("rope.sin", Float32Array.from(sin)),
  };
  const bytes = 4 * elementsOf(shapeOf(op.dims, model.axes(tokens.length, keys)));
  const { buffer, binding: output } = borderedOutput(buffers, bytes, border);
  const sources = inputs.map((input, i) => buffers.upload(`input ${i}`, Float32Array.from(input)));
  const clean = lower(op, sources, output, context);
  const dispatches = [...planted(single, clean, { buffers, context, output, sources }, bytes)];
  if (dtype === "f16") dispatches.push(roundHalf(output, bytes / 4, gpu.width));
  const step = { tokens: tokens.length, posStart, keys };
  return prepareDispatches(gpu, pipelines, dispatches, step, {
    buffers,
    output: { buffer, border, bytes, written: { first: 0, count: bytes / 4 }, initial: null },
    close: () => {
      buffers.close();
      weights.close();
    },
  });
}

interface Surroundings {
  readonly buffers: Buffers;
  readonly context: LoweringContext;
  readonly output: Binding;
  readonly sources: readonly Binding[];
}

/** The dispatches with the fault in them. */
function planted(
  { model, op, tokens, posStart, fault }: SingleOp,
  clean: readonly Dispatch[],
  { buffers, context, output, sources }: Surroundings,
  byteLength: number,
): readonly Dispatch[] {
  if (fault === undefined) return clean;
  const needsMore = new InputError(
    `${fault.text}: needs other ops than ${op.tap}, which runs alone; plant it in a whole run with 'faultline trace'`,
  );
  if (fault.kind.compute === undefined) throw needsMore;
  const place = { arena: 0, byteOffset: 0, offsetInHalf: 0, byteLength };
  // What made the inputs is not known here beyond its tap; its dims and inputs are nobody's business.
  const producers = (model.graph[0]?.inputs ?? []).map(
    ({ tap, cached }): PlannedOp => ({
      ...{ op: { kind: "add", tap, dims: op.dims, weights: [] }, inputs: [], place, stored: cached },
    }),
  );
  const inputs = producers.map((producer) => ({ producer, cached: producer.stored }));
  const alone: PlannedOp = { op, inputs, place, stored: false };
  const plan = { tokens: tokens.length, segments: [{ half: 0 as const, ops: [alone] }], halfBytes: place.byteLength };
  const bindingOf = (producer: PlannedOp) => {
    const found = producer === alone ? output : sources[producers.indexOf(producer)];
    if (found === undefined) throw needsMore;
    return found;
  };
  try {
    const site = new Site({ planned: alone, plan, buffers, context, bindingOf }, posStart + tokens.length);
    return fault.kind.compute(site, clean, fault.parameter);
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw needsMore;
  }
}
