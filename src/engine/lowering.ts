/** Ops -> dispatches: one row of the table per kind of op. What is fixed becomes a constant, what changes by step a uniform. */

import type { TensorInfo } from "../model/gguf.ts";
import type { OpModel } from "../model/model.ts";
import type { Op, OpKind, OpOf } from "../model/ops.ts";
import { elementsOf, shapeOf } from "../trace/dims.ts";
import type { Binding, Constants, Edit, KernelName } from "./kernels.ts";
import type { GpuWeights } from "./weights.ts";

/** What changes from step to step. */
export interface StepShape {
  /** Rows of this pass. */
  readonly tokens: number;
  /** Position of the first row. */
  readonly posStart: number;
  /** Keys of a row of scores. */
  readonly keys: number;
}

export interface Dispatch {
  readonly kernel: KernelName;
  readonly constants: Constants;
  /** Changes of the kernel's source: planted faults only. */
  readonly edits?: readonly Edit[];
  /** By binding number, from 1 on; 0 is the uniform. Absent numbers are not used by the kernel. */
  readonly bindings: Readonly<Record<number, Binding>>;
  /** Words of the uniform; null where the kernel has none. */
  readonly uniform: ((step: StepShape) => readonly number[]) | null;
  /** Workgroups; where x is 0 it is left out of the step. */
  readonly grid: (step: StepShape) => readonly [x: number, y: number, z: number];
}

/** What the table may use. */
export interface LoweringContext {
  readonly model: OpModel;
  readonly weights: GpuWeights;
  /** Threads of a workgroup. */
  readonly width: number;
  /** True if kernels may share loads within a subgroup (Gpu.subgroups). Planted bugs are planted in kernels that do not. */
  readonly subgroups: boolean;
  readonly tokens: number;
  /** Token ids of this pass. */
  readonly ids: Binding;
  readonly cosines: Binding;
  readonly sines: Binding;
}

/** Rows of the matrix that a workgroup of `linear` takes. */
const LINEAR_ROWS = 16;

/** WebGPU's limit on workgroups in one dimension. */
export const GRID_LIMIT = 65535;

/** A grid of at least `groups` workgroups; kernels that use it compute their index from both dimensions. */
export function flatGrid(groups: number): readonly [number, number, number] {
  return groups <= GRID_LIMIT ? [groups, 1, 1] : [GRID_LIMIT, Math.ceil(groups / GRID_LIMIT), 1];
}

type Lower<K extends OpKind> = (
  op: OpOf<K>,
  inputs: readonly Binding[],
  output: Binding,
  context: LoweringContext,
) => readonly Dispatch[];

const attentionStep = ({ tokens, posStart, keys }: StepShape) => [tokens, posStart, keys];

function input(inputs: readonly Binding[], index: number): Binding {
  const binding = inputs[index];
  if (binding === undefined) throw new Error(`input ${index} of ${inputs.length}`);
  return binding;
}

function weightName(op: Op, index: number): string {
  const name = op.weights[index];
  if (name === undefined) throw new Error(`${op.tap}: weight ${index} of ${op.weights.length}`);
  return name;
}

const elementwise =
  <K extends "swiglu" | "add">(kernel: K): Lower<K> =>
  (op: Op, inputs, output, { model, width, tokens }) => {
    const count = elementsOf(shapeOf(op.dims, model.axes(tokens, 1)));
    return [
      {
        kernel,
        constants: { WIDTH: width },
        bindings: { 1: input(inputs, 0), 2: input(inputs, 1), 3: output },
        uniform: () => [count],
        grid: () => flatGrid(Math.ceil(count / width)),
      },
    ];
  };

const LOWER: { readonly [K in OpKind]: Lower<K> } = {
  embed: (op, _inputs, output, context) =>
    getRows(weightName(op, 0), { ids: context.ids, output, tokens: context.tokens }, context),

  rms_norm: (op, inputs, output, { model, weights, width, tokens }) => [
    {
      kernel: "rms_norm",
      constants: { EMBD: model.parameters.embd, EPS: op.eps, WIDTH: width },
      bindings: { 1: input(inputs, 0), 2: { buffer: weights.vector(weightName(op, 0)) }, 3: output },
      uniform: null,
      grid: () => [tokens, 1, 1],
    },
  ],

  linear: (op, inputs, output, { weights, width, subgroups, tokens }) => {
    const { tensor, rowWords, slices } = weights.matrix(weightName(op, 0));
    const bias = op.weights[1];
    const tile = tokens === 1 ? 1 : 4;
    const constants = { ...blockConstants(tensor), WIDTH: width, TILE: tile };
    const rowsOfThread = tile === 1 ? 2 : 4;
    const rowsOfGroup = subgroups ? rowsOfThread * width : LINEAR_ROWS;
    return slices.map(({ buffer, firstRow, rows }) => ({
      ...(subgroups
        ? { kernel: "linear_subgroup", constants: { ...constants, ROWS_OF_THREAD: rowsOfThread } }
        : { kernel: "linear", constants: { ...constants, ROWS: LINEAR_ROWS } }),
      bindings: {
        1: { buffer },
        2: input(inputs, 0),
        // Without a bias the kernel reads nothing here, but a binding must stand.
        3: { buffer: bias === undefined ? buffer : weights.vector(bias) },
        4: output,
      },
      uniform: () => [tokens, rows, firstRow, tensor.rows, bias === undefined ? 0 : 1, tensor.columns, rowWords],
      grid: () => [Math.ceil(rows / rowsOfGroup), Math.ceil(tokens / tile), 1],
    }));
  },

  rope: (op, inputs, output, { model, width, tokens, cosines, sines }) => {
    const columns = shapeOf(op.dims, model.axes(1, 1))[1] ?? 0;
    return [
      {
        kernel: "rope",
        constants: { HEAD_DIM: op.headDim, COLUMNS: columns, WIDTH: width },
        bindings: { 1: input(inputs, 0), 2: cosines, 3: sines, 4: output },
        uniform: ({ posStart }) => [tokens, posStart],
        grid: () => [Math.ceil(columns / 2 / width), tokens, 1],
      },
    ];
  },

  attn_scores: (op, inputs, output, { width, tokens }) => [
    {
      kernel: "attn_scores",
      constants: { HEADS: op.heads, GROUP: op.heads / op.kvHeads, HEAD_DIM: op.headDim, SCALE: op.scale, WIDTH: width },
      bindings: { 1: input(inputs, 0), 2: input(inputs, 1), 3: output },
      uniform: attentionStep,
      grid: ({ keys }) => [Math.ceil(keys / width), tokens, op.heads],
    },
  ],

  causal_softmax: (_op, inputs, output, { model, width, tokens }) => [
    {
      kernel: "causal_softmax",
      constants: { WIDTH: width },
      bindings: { 1: input(inputs, 0), 2: output },
      uniform: attentionStep,
      grid: () => [tokens, model.parameters.heads, 1],
    },
  ],

  attn_ctx: (op, inputs, output, { width, tokens }) => [
    {
      kernel: "attn_ctx",
      constants: { HEADS: op.heads, GROUP: op.heads / op.kvHeads, HEAD_DIM: op.headDim, WIDTH: width },
      bindings: { 1: input(inputs, 0), 2: input(inputs, 1), 3: output },
      uniform: attentionStep,
      grid: () => [Math.ceil((op.heads * Math.ceil(op.headDim / 4)) / width), tokens, 1],
    },
  ],

  swiglu: elementwise("swiglu"),
  add: elementwise("add"),
};

/** The dispatches of one op. */
export function lower<K extends OpKind>(
  op: OpOf<K>,
  inputs: readonly Binding[],
  output: Binding,
  context: LoweringContext,
): readonly Dispatch[] {
  const row = LOWER[op.kind as K] as Lower<K>;
  return row(op, inputs, output, context);
}

/** What the weight kernels are compiled for. */
function blockConstants({ type, columns }: TensorInfo): Constants {
  return { BLOCK_TYPE: type.id, ALIGNED: columns % 32 === 0 ? 1 : 0 };
}

/** Decoded rows of a matrix, by number: the embedding, and weights as taps. */
export function getRows(
  matrix: string,
  io: { ids: Binding; output: Binding; tokens: number },
  { weights, width }: Pick<LoweringContext, "weights" | "width">,
): readonly Dispatch[] {
  const { tensor, rowWords, slices } = weights.matrix(matrix);
  return slices.map(({ buffer, firstRow, rows }) => ({
    kernel: "get_rows",
    constants: { ...blockConstants(tensor), WIDTH: width },
    bindings: { 1: { buffer }, 2: io.ids, 4: io.output },
    uniform: () => [io.tokens, rows, firstRow, tensor.rows, 0, tensor.columns, rowWords],
    grid: () => [Math.ceil(tensor.columns / 32 / width), io.tokens, 1],
  }));
}

/** Rounds an output in place to half precision. */
export function roundHalf(output: Binding, count: number, width: number): Dispatch {
  return {
    kernel: "round_half",
    constants: { WIDTH: width },
    bindings: { 1: output },
    uniform: () => [count],
    grid: () => flatGrid(Math.ceil(count / width)),
  };
}

/** Stores rows to the KV cache. */
export function storeRows(rows: Binding, cache: Binding, columns: number, tokens: number, width: number): Dispatch {
  return {
    kernel: "kv_store",
    constants: { COLUMNS: columns, WIDTH: width },
    bindings: { 1: rows, 2: cache },
    uniform: ({ posStart }) => [tokens, posStart],
    grid: () => [Math.ceil(columns / width), tokens, 1],
  };
}
