/** The graph of a model: every op in execution order with the taps that feed it. Recorded from the forward page itself. */
import { type AxisSizes, shapeOf } from "../trace/dims.ts";
import type { RecordPlan } from "../trace/record.ts";
import { layerOfTap } from "../trace/taps.ts";
import { type Op, Ops } from "./ops.ts";

/** An input of an op: a tap of this step, or (cached) the rows of that tap in this step and all earlier ones. */
export interface GraphInput {
  readonly tap: string;
  readonly cached: boolean;
}

export interface GraphNode {
  readonly op: Op;
  readonly inputs: readonly GraphInput[];
}

/** Runs a page without computing. */
export class GraphRecorder extends Ops<GraphInput> {
  readonly nodes: GraphNode[] = [];

  override run(op: Op, inputs: readonly GraphInput[]): GraphInput {
    this.nodes.push({ op, inputs });
    return { tap: op.tap, cached: false };
  }

  override cached(rows: GraphInput): GraphInput {
    return { ...rows, cached: true };
  }
}

/** What a trace says of a node in one step, before any data. */
export function recordPlan(
  node: GraphNode,
  step: number,
  posStart: number,
  sizes: AxisSizes,
  dtype: string,
): RecordPlan {
  const { op, inputs } = node;
  return {
    step,
    posStart,
    tap: op.tap,
    op: op.kind,
    dtype,
    dims: op.dims,
    layer: layerOfTap(op.tap),
    shape: shapeOf(op.dims, sizes),
    inputs: inputs.map((input) => input.tap),
    weights: op.weights,
  };
}
