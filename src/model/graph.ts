/** The graph of a model: every op in execution order with the taps that feed it. Recorded from the forward page itself. */
import { shapeOf, type AxisSizes } from "../trace/dims.ts";
import { layerOfTap } from "../trace/taps.ts";
import type { RecordPlan } from "../trace/record.ts";
import { type Op, Ops } from "./ops.ts";

export interface GraphNode {
  readonly op: Op;
  /** Taps of its inputs. Those of `cached` count: the rows of this step and of all earlier ones. */
  readonly inputs: readonly string[];
}

/** Runs a page without computing: T is the tap's name. */
export class GraphRecorder extends Ops<string> {
  readonly nodes: GraphNode[] = [];

  override run(op: Op, inputs: readonly string[]): string {
    this.nodes.push({ op, inputs });
    return op.tap;
  }

  override cached(rows: string): string {
    return rows;
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
    inputs,
    weights: op.weights,
  };
}
