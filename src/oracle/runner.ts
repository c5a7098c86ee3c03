/** The oracle as a runner of steps: the same trace, computed in f64 on the CPU. */
import { setImmediate } from "node:timers/promises";
import { type GraphNode, recordPlan } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import type { Recording } from "../trace/capture.ts";
import { recordFromValues, type TraceRecord } from "../trace/record.ts";
import { Oracle } from "./oracle.ts";

export class OracleRunner {
  readonly #model: Model;
  readonly #oracle: Oracle;
  readonly #nodes: ReadonlyMap<string, GraphNode>;

  constructor(model: Model) {
    this.#model = model;
    this.#oracle = new Oracle(model);
    this.#nodes = new Map(model.graph.map((node) => [node.op.tap, node]));
  }

  /** See StepRunner in src/engine/steps.ts. Values are rounded once, to the f32 of the trace. */
  async step(posStart: number, tokens: readonly number[], recording?: Recording) {
    // A step holds the thread; between two of them Ctrl-C is heard.
    await setImmediate();
    const sizes = this.#model.axes(tokens.length, posStart + tokens.length);
    const outputs: { node: GraphNode; values: Float32Array }[] = [];
    const logits = this.#oracle.step(posStart, tokens, (op, output) => {
      const node = this.#nodes.get(op.tap);
      if (node !== undefined && recording?.wants(op.tap))
        outputs.push({ node, values: Float32Array.from(output.data) });
    });
    const keep = { sketch: recording?.level !== "stats", values: recording?.level === "full" };
    return {
      logits,
      records: (stepNumber: number): Omit<TraceRecord, "seq">[] =>
        outputs.map(({ node, values }) =>
          recordFromValues(recordPlan(node, stepNumber, posStart, sizes, "f64"), 0, values, keep),
        ),
    };
  }
}
