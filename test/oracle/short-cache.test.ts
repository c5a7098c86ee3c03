/** A cache kept shorter than the trace declares is named, and never where it is kept as declared. */
import { describe, expect, it } from "vitest";
import { diagnose } from "../../src/compare/diagnose.ts";
import { roundToBfloat16, roundToHalf } from "../../src/model/half.ts";
import { evaluate, type Matrix, matrix } from "../../src/oracle/ops.ts";
import { Oracle } from "../../src/oracle/oracle.ts";
import { someTokens, syntheticModel } from "../support/engine.ts";
import { caseOf } from "../support/op-cases.ts";
import type { StepValues } from "../support/recompute.ts";

const model = await syntheticModel({ layers: 2, embd: 128 });
const steps: StepValues[] = [];
const oracle = new Oracle(model);
for (const [posStart, tokens] of [
  [0, someTokens(6)],
  [6, [7]],
] as const) {
  const values = new Map<string, Float32Array>();
  oracle.step(posStart, tokens, (op, output) => values.set(op.tap, Float32Array.from(output.data)));
  steps.push({ posStart, tokens, values });
}

const each = (round: (x: number) => number) => (m: Matrix) => matrix(m.rows, m.columns, m.data.map(round));

/** Q8_0 as a quantiser that goes by bytes would have it: whole numbers of a half's steps. */
function byBytes(m: Matrix): Matrix {
  const y = matrix(m.rows, m.columns);
  for (let block = 0; block < m.data.length / 32; block++) {
    const at = [...m.data.subarray(block * 32, block * 32 + 32)];
    const step = Math.fround(Math.max(...at.map(Math.abs)) / 127);
    const bytes = Int8Array.from(at, (x) => Math.sign(x) * Math.round(Math.abs(x) / step));
    for (const [i, byte] of bytes.entries()) y.data[block * 32 + i] = byte * roundToHalf(step);
  }
  return y;
}

describe.each(["blk.1.attn_scores", "blk.1.attn_ctx"])("%s", (tap) => {
  const caused = async (step: number, other: (m: Matrix) => Matrix, cache: (m: Matrix) => Matrix) => {
    const { op, seen } = await caseOf(model, steps, step, tap);
    const [x, kept] = op.inputs as [Matrix, Matrix];
    const output = evaluate(op.node.op, [other(x), cache(kept)], op.context);
    const actual = matrix(output.rows, output.columns, Float64Array.from(Float32Array.from(output.data)));
    const evidence = { op, expected: seen.expected, actual, sketch: null, tolerance: 1e-6, isFault: true };
    const { causes } = await diagnose([evidence]);
    return causes.map(({ hypothesis, parameter }) => [hypothesis, parameter].filter(Boolean).join(": "));
  };
  const same = (m: Matrix) => m;
  const named = tap.endsWith("scores") ? "the queries too" : "the probabilities too";

  it.each([0, 1])("step %i", async (step) => {
    const [half, brief] = [each(roundToHalf), each((x) => roundToBfloat16(Math.fround(x)))];
    expect(await caused(step, same, half)).toEqual(["kv.undeclared-f16: the cache alone"]);
    expect(await caused(step, half, half)).toEqual([`kv.undeclared-f16: ${named}`]);
    expect(await caused(step, same, brief)).toEqual(["kv.undeclared-bf16: the cache alone"]);
    expect(await caused(step, same, byBytes)).toEqual(["kv.q8_0"]);
    expect(await caused(step, same, same)).toEqual([]);
  });
});
