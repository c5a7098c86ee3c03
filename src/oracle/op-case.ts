/** One op of one step of a run with all that it was computed from: what bounds, hypotheses and repro bundles work on. */
import type { BlockType } from "../model/blocks.ts";
import type { GraphNode } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import { ropeTable } from "../model/rope.ts";
import { rowsAndColumns, shapeOf } from "../trace/dims.ts";
import { type Matrix, matrix, type OracleContext } from "./ops.ts";

/** The tokens of one step of a run, and the position of the first. */
export interface StepTokens {
  readonly posStart: number;
  readonly tokens: readonly number[];
}

/** The values of a run by step and tap: a trace, or a run in memory. */
export interface RunValues {
  readonly steps: readonly StepTokens[];
  /** Null where the run has no values of that tap in that step. */
  values(step: number, tap: string): Promise<Float32Array | null>;
}

/** A weight as it stands in the file. */
export interface RawWeight {
  readonly type: BlockType;
  readonly bytes: Uint8Array;
  readonly rows: number;
  readonly columns: number;
}

export interface OpCase {
  readonly model: Model;
  readonly node: GraphNode;
  readonly step: number;
  /** All steps of the run, this one and later ones included. */
  readonly steps: readonly StepTokens[];
  /** As `evaluate` takes them: rows of this step; for cached inputs the rows of all steps so far, oldest first. */
  readonly inputs: readonly Matrix[];
  readonly context: OracleContext;
  /** Output rows of the weights that are looked at, where the op's output is narrowed to some of its columns; null for all. */
  readonly kept: readonly number[] | null;
  /** The blocks of a weight's kept rows. */
  raw(name: string): RawWeight;
  /** Another tap of this run, in this step unless told; null where the run has no values of it. */
  values(tap: string, step?: number): Promise<Matrix | null>;
}

/** Weights as the oracle's context wants them: decoded rows in f64. */
export type WeightSource = (name: string, ids?: readonly number[]) => Matrix;

/** Taps of an op's inputs in a step that the run has no values of: `[step, tap]`. Empty where the op can be recomputed. */
export async function missingInputs(run: RunValues, step: number, node: GraphNode): Promise<[number, string][]> {
  const missing: [number, string][] = [];
  for (const { tap, cached } of node.inputs) {
    for (const at of cached ? earlierSteps(run, step) : [step]) {
      if ((await run.values(at, tap)) === null) missing.push([at, tap]);
    }
  }
  return missing;
}

/** The steps whose rows are in the cache at `step`: those after the last that started at position 0, this one included. */
export function earlierSteps({ steps }: Pick<RunValues, "steps">, step: number): number[] {
  const first = steps.slice(0, step + 1).findLastIndex(({ posStart }) => posStart === 0);
  return Array.from({ length: step + 1 - Math.max(0, first) }, (_, i) => Math.max(0, first) + i);
}

/** An op of a run with its inputs. Throws where values are missing: ask `missingInputs` first. */
export async function opCase(
  model: Model,
  run: RunValues,
  step: number,
  node: GraphNode,
  weight: WeightSource,
): Promise<OpCase> {
  const shapeAt = (tap: string, at: number) => {
    const here = run.steps[at];
    const producer = model.graph.find(({ op }) => op.tap === tap);
    if (here === undefined || producer === undefined) return null;
    return rowsAndColumns(
      shapeOf(producer.op.dims, model.axes(here.tokens.length, here.posStart + here.tokens.length)),
    );
  };
  const values = async (tap: string, at = step): Promise<Matrix | null> => {
    const shape = shapeAt(tap, at);
    const found = shape === null ? null : await run.values(at, tap);
    return found === null || shape === null ? null : matrix(shape.rows, shape.columns, Float64Array.from(found));
  };
  const input = async (tap: string, at: number) => {
    const found = await values(tap, at);
    if (found === null) throw new Error(`step ${at} has no values of ${tap}`);
    return found;
  };
  const inputs: Matrix[] = [];
  for (const { tap, cached } of node.inputs) {
    if (!cached) inputs.push(await input(tap, step));
    else inputs.push(await cachedRows(run, step, (at) => input(tap, at)));
  }
  const { posStart, tokens } = run.steps[step] ?? { posStart: 0, tokens: [] };
  const { cos, sin } = ropeTable(model.parameters.rope, posStart, tokens.length);
  return {
    ...{ model, node, step, steps: run.steps, inputs, kept: null, values },
    context: { tokens, posStart, cos, sin, weight },
    raw: (name) => {
      const tensor = model.file.tensor(name);
      const { type, rows, columns } = tensor;
      return { type, rows, columns, bytes: model.file.readRows(tensor) };
    },
  };
}

/** Rows of a tap of all steps so far, each at its position; of steps that were taken back, those before the keys of this one. */
async function cachedRows(run: RunValues, step: number, rowsOf: (step: number) => Promise<Matrix>): Promise<Matrix> {
  const here = run.steps[step];
  const keys = (here?.posStart ?? 0) + (here?.tokens.length ?? 0);
  let all: Matrix | undefined;
  for (const at of earlierSteps(run, step)) {
    const { columns, data } = await rowsOf(at);
    all ??= matrix(keys, columns);
    const first = run.steps[at]?.posStart ?? 0;
    if (first < keys) all.data.set(data.subarray(0, (keys - first) * columns), first * columns);
  }
  return all ?? matrix(keys, 0);
}

/**
 * The same op with only some output columns, for ops with weights of many rows: `kept` are rows of its first weight. What
 * `context.weight` and `raw` give of that weight and of its bias is narrowed alike; inputs stay whole.
 */
export function narrowed(of: OpCase, kept: readonly number[]): OpCase {
  const { weights } = of.node.op;
  const { context } = of;
  const weight: WeightSource = (name, ids) => {
    if (ids !== undefined) return context.weight(name, ids);
    const rows = of.model.file.tensor(name).rows;
    if (weights[1] === name || rows === 1) {
      const bias = context.weight(name);
      return matrix(
        1,
        kept.length,
        Float64Array.from(kept, (row) => bias.data[row] ?? Number.NaN),
      );
    }
    return context.weight(name, kept);
  };
  const raw = (name: string): RawWeight => {
    const tensor = of.model.file.tensor(name);
    const bytes = new Uint8Array(kept.length * tensor.rowBytes);
    for (const [i, row] of kept.entries()) bytes.set(of.model.file.readRows(tensor, row, 1), i * tensor.rowBytes);
    return { type: tensor.type, rows: kept.length, columns: tensor.columns, bytes };
  };
  return { ...of, kept, context: { ...context, weight }, raw };
}
