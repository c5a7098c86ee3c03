/** --dtype f16: each op's output is the nearest half of what f32 sums give. */
import { expect, it } from "vitest";
import { roundToHalf } from "../../src/model/half.ts";
import { executorOf, runFull, someTokens, syntheticModel } from "../support/engine.ts";
import { recompute, relativeL2 } from "../support/recompute.ts";

it("every value is a half, within half a unit of the oracle's, and decoding repeats the prefill's bits", async () => {
  const model = await syntheticModel();
  const run = await runFull(await executorOf(model, { dtype: "f16" }), [someTokens(9), [4]]);
  for (const { node, expected, actual } of recompute(model, run)) {
    expect(actual, node.op.tap).toEqual(Float32Array.from(actual, roundToHalf));
    // Half a unit in the last place of a half is 2^-11 of the value at most.
    expect(relativeL2(expected, actual), node.op.tap).toBeLessThan(2 ** -11);
    // Where f32's error (a few 2^-24) crosses the middle between two halves, a value falls to the neighbour, 2^-10 away: about
    // one in 2^11, so 2^-5.5 * 2^-10 in the L2 norm; 2^-13 leaves room for small tensors.
    expect(relativeL2(Array.from(expected, roundToHalf), actual), node.op.tap).toBeLessThan(2 ** -13);
  }
  expect(run[0]?.records[0]?.dtype).toBe("f16");
  const alone = await runFull(
    await executorOf(model, { dtype: "f16" }),
    someTokens(9).map((token) => [token]),
  );
  expect(alone.flatMap((step) => [...(step.values.get("logits") ?? [])])).toEqual([
    ...(run[0]?.values.get("logits") ?? []),
  ]);
});
