/** One op of a run in memory, for the oracle. */
import type { Model } from "../../src/model/model.ts";
import type { Hypothesis, Prediction, Seen } from "../../src/oracle/hypotheses/hypothesis.ts";
import { HYPOTHESES, hypothesesFor } from "../../src/oracle/hypotheses/table.ts";
import { type OpCase, opCase } from "../../src/oracle/op-case.ts";
import { evaluate, type Matrix, matrix } from "../../src/oracle/ops.ts";
import { OracleWeights } from "../../src/oracle/oracle.ts";
import type { StepValues } from "./recompute.ts";

/** What is known where the values of a run are. */
export type Known = Seen & { readonly actual: Matrix };

/** The op that makes a tap in a step of a run, with what it should have given and what it gave. */
export async function caseOf(
  model: Model,
  steps: readonly StepValues[],
  step: number,
  tap: string,
): Promise<{ op: OpCase; seen: Known }> {
  const node = model.graph.find((each) => each.op.tap === tap);
  if (node === undefined) throw new Error(`no tap ${tap}`);
  const weights = new OracleWeights(model);
  const values = async (at: number, name: string) => steps[at]?.values.get(name) ?? null;
  const op = await opCase(model, { steps, values }, step, node, (name, ids) => weights.get(name, ids));
  const expected = evaluate(node.op, op.inputs, op.context);
  const actual = steps[step]?.values.get(tap) ?? new Float32Array(0);
  return { op, seen: { expected, actual: matrix(expected.rows, expected.columns, Float64Array.from(actual)) } };
}

export function hypothesis(id: string): Hypothesis {
  const found = HYPOTHESES.find((each) => each.id === id);
  if (found === undefined) throw new Error(`no hypothesis ${id}`);
  return found;
}

/** What a hypothesis predicts of an op; nothing where it cannot befall it. */
export async function predictionsOf(id: string, op: OpCase, seen: Seen): Promise<readonly Prediction[]> {
  const row = hypothesis(id);
  return hypothesesFor(op).includes(row) ? row.predict(op, seen) : [];
}
