/** Weights in memory as single ops take them: what bounds need of a model, without a file. */
import { BLOCK_TYPES, decodeBlocks } from "../../src/model/blocks.ts";
import type { TensorInfo } from "../../src/model/gguf.ts";
import type { LlamaParameters } from "../../src/model/llama-parameters.ts";
import type { OpModel } from "../../src/model/model.ts";
import type { RopeParameters } from "../../src/model/rope.ts";
import { matrix, type OracleContext } from "../../src/oracle/ops.ts";
import { OracleWeights, oracleContext } from "../../src/oracle/oracle.ts";

export interface MemoryWeight {
  readonly type: string;
  readonly rows: number;
  readonly columns: number;
  readonly bytes: Uint8Array;
}

export const f32Weight = (rows: number, values: Float32Array): MemoryWeight => ({
  type: "F32",
  rows,
  columns: values.length / rows,
  bytes: new Uint8Array(values.slice().buffer),
});

export const NO_ROPE: RopeParameters = { base: 10000, dimensions: 2, scaling: { type: "none" }, factors: null };

/** A model of these weights. */
export function memoryModel(weights: Readonly<Record<string, MemoryWeight>>, rope: RopeParameters = NO_ROPE): OpModel {
  const ones = { embd: 1, heads: 1, kvHeads: 1, headDim: 1, ffn: 1, vocab: 1, context: 1, eps: 0, layers: 0 };
  const parameters: LlamaParameters = { ...ones, rope };
  const bytesOf = (name: string) => weights[name]?.bytes ?? new Uint8Array(0);
  const tensor = (name: string): TensorInfo => {
    const weight = weights[name];
    const type = BLOCK_TYPES.find((each) => each.name === weight?.type);
    if (weight === undefined || type === undefined) throw new Error(`no weight ${name}`);
    const { rows, columns } = weight;
    const rowBytes = (columns / type.elements) * type.bytes;
    return { name, shape: [rows, columns], type, byteOffset: 0, rowBytes, rows, columns };
  };
  const readRows = ({ name, rowBytes, rows }: TensorInfo, first = 0, count = rows) =>
    bytesOf(name).slice(first * rowBytes, (first + count) * rowBytes);
  const decodeRows = (of: TensorInfo, first = 0, count = of.rows) => decodeBlocks(of.type, readRows(of, first, count));
  return {
    file: { name: "memory", tensor, readRows, decodeRows },
    parameters,
    layers: [],
    graph: [],
    axes: () => ({}),
  };
}

/** The context of a step of such a model. */
export const contextOf = (model: OpModel, posStart: number, tokens: readonly number[]): OracleContext =>
  oracleContext(model, new OracleWeights(model), posStart, tokens);

export const matrixOf = (rows: number, values: ArrayLike<number>) =>
  matrix(rows, values.length / rows, Float64Array.from(values));
