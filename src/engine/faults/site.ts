/** Where a fault is planted: one op of a plan, with what a plant may use: its buffers, its neighbours, another lowering. */
import type { OpModel } from "../../model/model.ts";
import type { Op } from "../../model/ops.ts";
import { rowsAndColumns, shapeOf } from "../../trace/dims.ts";
import { layerOfTap, layerTap } from "../../trace/taps.ts";
import type { Buffers } from "../buffers.ts";
import type { Binding, Edit, KernelName } from "../kernels.ts";
import { type Dispatch, flatGrid, type LoweringContext, lower, type StepShape } from "../lowering.ts";
import type { Plan, PlannedOp } from "../plan.ts";

/** What the engine knows of an op when it is lowered. */
export interface Place {
  readonly planned: PlannedOp;
  readonly plan: Plan;
  readonly buffers: Buffers;
  readonly context: LoweringContext;
  readonly bindingOf: (producer: PlannedOp, cached: boolean) => Binding;
}

interface Changes {
  readonly op?: Op;
  readonly inputs?: readonly Binding[];
  readonly output?: Binding;
  readonly context?: Partial<LoweringContext>;
}

export class Site {
  readonly op: Op;
  readonly planned: PlannedOp;
  readonly tokens: number;
  readonly capacity: number;
  readonly context: LoweringContext;
  readonly #place: Place;

  constructor(place: Place, capacity: number) {
    this.#place = place;
    this.planned = place.planned;
    this.op = place.planned.op;
    this.tokens = place.plan.tokens;
    this.context = place.context;
    this.capacity = capacity;
  }

  get model(): OpModel {
    return this.context.model;
  }

  get output(): Binding {
    return this.of(this.planned);
  }

  get inputs(): readonly Binding[] {
    return this.planned.inputs.map(({ producer, cached }) => this.of(producer, cached));
  }

  input(index: number): Binding {
    return this.of(this.producer(index), this.planned.inputs[index]?.cached);
  }

  /** The op that makes an input. */
  producer(index: number): PlannedOp {
    const input = this.planned.inputs[index];
    if (input === undefined) throw new Error(`${this.op.tap}: input ${index} of ${this.planned.inputs.length}`);
    return input.producer;
  }

  /** What an op of this pass writes, or (cached) the cache that its rows go to. */
  of(producer: PlannedOp, cached = false): Binding {
    return this.#place.bindingOf(producer, cached);
  }

  /** The site of another op of the pass. */
  at(planned: PlannedOp): Site {
    return new Site({ ...this.#place, planned }, this.capacity);
  }

  /** The op that makes a tap; undefined where the pass has none of that name. */
  find(tap: string): PlannedOp | undefined {
    return this.#place.plan.segments.flatMap((segment) => segment.ops).find(({ op }) => op.tap === tap);
  }

  /** The ops of this op's layer that come before it, latest first. */
  before(): PlannedOp[] {
    const ops = this.#place.plan.segments.flatMap((segment) => segment.ops);
    const layer = layerOfTap(this.op.tap);
    return ops
      .slice(0, ops.indexOf(this.planned))
      .filter(({ op }) => layerOfTap(op.tap) === layer)
      .reverse();
  }

  /** The op `name` of another layer. */
  inLayer(layer: number, name: string): PlannedOp {
    const found = this.find(layerTap(layer, name));
    if (found === undefined) throw new Error(`${layerTap(layer, name)} is not in the pass`);
    return found;
  }

  /** The op's dispatches with something changed. */
  lower({ op = this.op, inputs = this.inputs, output = this.output, context = {} }: Changes): readonly Dispatch[] {
    return lower(op, inputs, output, { ...this.context, ...context });
  }

  /** Rows and columns of an op's output; key axes at the cache's capacity. */
  shape(op: Op = this.op): { rows: number; columns: number } {
    return rowsAndColumns(shapeOf(op.dims, this.model.axes(this.tokens, this.capacity)));
  }

  /** A buffer of the fault's own. Its size follows from the tap and the pass, so that it never grows under a bind group. */
  scratch(use: string, bytes: number): Binding {
    const usage = GPUBufferUsage.STORAGE;
    return { buffer: this.#place.buffers.named(`fault ${use} of ${this.op.tap}, ${bytes} bytes`, bytes, usage) };
  }

  /** A table of the fault's own. */
  upload(use: string, values: ArrayLike<number>): Binding {
    return this.#place.buffers.upload(`fault ${use} of ${this.op.tap}`, Float32Array.from(values));
  }

  /** Copies a tensor of `rows` by `columns`; the buffers must differ. */
  copy(from: Binding, to: Binding, { rows, columns } = this.shape()): Dispatch {
    return {
      kernel: "kv_store",
      constants: { COLUMNS: columns, WIDTH: this.context.width },
      bindings: { 1: from, 2: to },
      uniform: () => [rows, 0],
      grid: () => [Math.ceil(columns / this.context.width), rows, 1],
    };
  }

  /** A pass in place over the op's output. `statement` is WGSL: `x` holds bits, `i` is the element, `size.count` the uniform. */
  inPlace(statement: string, uniform?: (step: StepShape) => number): Dispatch {
    const { rows, columns } = this.shape();
    const count = rows * columns;
    return {
      kernel: "round_half",
      constants: { WIDTH: this.context.width },
      edits: [
        [
          "if (i < size.count) { x[i] = rounded(x[i]); }",
          `if (i < ${count}u) { ${statement} } else { _ = size.count; }`,
        ],
      ],
      bindings: { 1: this.output },
      uniform: (step) => [uniform?.(step) ?? 0],
      grid: () => flatGrid(Math.ceil(count / this.context.width)),
    };
  }
}

/** What a fault of the store may use. */
export type StoreSite = Pick<Site, "tokens" | "input">;

/** Dispatches whose kernel's source is edited. */
export function edit(dispatches: readonly Dispatch[], kernel: KernelName, ...edits: Edit[]): readonly Dispatch[] {
  return dispatches.map((dispatch) =>
    dispatch.kernel === kernel ? { ...dispatch, edits: [...(dispatch.edits ?? []), ...edits] } : dispatch,
  );
}

/** True in a decode step: one row over a cache that holds earlier ones. */
export const isDecoding = ({ tokens, posStart }: StepShape) => tokens === 1 && posStart > 0;

/** `clean` in the prefill, `faulty` in decode steps. */
export function inDecoding(
  site: StoreSite,
  clean: readonly Dispatch[],
  faulty: readonly Dispatch[],
): readonly Dispatch[] {
  if (site.tokens > 1) return clean;
  const only = (decoding: boolean) => (dispatch: Dispatch) => ({
    ...dispatch,
    grid: (step: StepShape) => (isDecoding(step) === decoding ? dispatch.grid(step) : ([0, 0, 0] as const)),
  });
  return [...clean.map(only(false)), ...faulty.map(only(true))];
}

/** A number as a WGSL literal of type f32. */
export const f32 = (value: number) => `${value}f`;
