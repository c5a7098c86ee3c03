/** One element with its operands is what the oracle gives for the whole op: every element of every op, prefill and decode. */
import { expect, it } from "vitest";
import { elementFacts } from "../../src/oracle/element.ts";
import { opCase } from "../../src/oracle/op-case.ts";
import { evaluate } from "../../src/oracle/ops.ts";
import { OracleWeights } from "../../src/oracle/oracle.ts";
import { OracleRunner } from "../../src/oracle/runner.ts";
import { FULL, syntheticModel } from "../support/engine.ts";

it("has the value of the whole op, and sums that add up", async () => {
  const model = await syntheticModel({ layers: 1, vocab: 260, biases: true });
  const steps = [
    { posStart: 0, tokens: [11, 48, 85] },
    { posStart: 3, tokens: [7] },
  ];
  const oracle = new OracleRunner(model);
  const values = new Map<string, Float32Array>();
  for (const [step, { posStart, tokens }] of steps.entries()) {
    for (const record of (await oracle.step(posStart, tokens, FULL)).records(step))
      values.set(`${step} ${record.tap}`, record.values ?? new Float32Array(0));
  }
  const run = { steps, values: async (step: number, tap: string) => values.get(`${step} ${tap}`) ?? null };
  const weights = new OracleWeights(model);
  const kinds = new Set<string>();
  for (const step of steps.keys()) {
    for (const node of model.graph) {
      const of = await opCase(model, run, step, node, (name, ids) => weights.get(name, ids));
      const { columns, data } = evaluate(node.op, of.inputs, of.context);
      const wrong: string[] = [];
      for (let i = 0; i < data.length; i++) {
        const { right, sum, notFinite } = elementFacts(of, Math.floor(i / columns), i % columns);
        const [e, scale] = [data[i] as number, sum === null ? 0 : sum.positive - sum.negative];
        if (!(Math.abs(right - e) <= 1e-12 * (Math.abs(e) + scale)) || notFinite.length > 0)
          wrong.push(`${i}: ${right}, ${e}`);
        if (sum !== null && !(Math.abs(sum.positive + sum.negative - sum.value) <= 1e-12 * scale))
          wrong.push(`${i}: sum`);
      }
      expect([step, node.op.tap, wrong]).toEqual([step, node.op.tap, []]);
      kinds.add(node.op.kind);
    }
  }
  expect(kinds.size).toBe(9);
});
