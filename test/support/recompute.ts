/** Each op of a run again, from the run's own inputs: what it should have given, beside what it gave. */

import type { GraphNode } from "../../src/model/graph.ts";
import type { Model } from "../../src/model/model.ts";
import { evaluate, type Matrix, matrix } from "../../src/oracle/ops.ts";
import { OracleWeights, oracleContext } from "../../src/oracle/oracle.ts";
import { rowsAndColumns, shapeOf } from "../../src/trace/dims.ts";

/** One step of a run with the values of every op. */
export interface StepValues {
  readonly posStart: number;
  readonly tokens: readonly number[];
  readonly values: ReadonlyMap<string, Float32Array>;
}

export interface Recomputed {
  readonly step: number;
  readonly node: GraphNode;
  /** What the oracle gives for the op's actual inputs. */
  readonly expected: Float64Array;
  readonly actual: Float32Array;
}

/** Recomputes every op of every step, in order. Throws where a tap's values are missing. */
export function* recompute(model: Model, steps: readonly StepValues[]): Generator<Recomputed> {
  const weights = new OracleWeights(model);
  for (const [step, { posStart, tokens, values }] of steps.entries()) {
    const context = oracleContext(model, weights, posStart, tokens);
    const sizes = model.axes(tokens.length, posStart + tokens.length);
    const valuesOf = (from: StepValues, tap: string): Float32Array => {
      const found = from.values.get(tap);
      if (found === undefined) throw new Error(`step ${step} has no values of ${tap}`);
      return found;
    };
    for (const node of model.graph) {
      const inputs = node.inputs.map(({ tap, cached }): Matrix => {
        const producer = model.graph.find((each) => each.op.tap === tap);
        if (producer === undefined) throw new Error(`${node.op.tap} reads ${tap}, which no op makes`);
        const { rows, columns } = rowsAndColumns(shapeOf(producer.op.dims, sizes));
        if (!cached) return matrix(rows, columns, Float64Array.from(valuesOf({ posStart, tokens, values }, tap)));
        const all = matrix(posStart + rows, columns);
        for (const earlier of steps.slice(0, step + 1))
          all.data.set(valuesOf(earlier, tap), earlier.posStart * columns);
        return all;
      });
      const expected = evaluate(node.op, inputs, context).data;
      yield { step, node, expected, actual: valuesOf({ posStart, tokens, values }, node.op.tap) };
    }
  }
}

/** Relative L2 error: ||actual - expected|| / ||expected||; 0 where both are zero, NaN where a value is not finite. */
export function relativeL2(expected: ArrayLike<number>, actual: ArrayLike<number>): number {
  let difference = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    const e = expected[i] as number;
    difference += ((actual[i] as number) - e) ** 2;
    scale += e * e;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / scale);
}
