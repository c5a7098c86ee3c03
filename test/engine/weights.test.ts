/** Weights as the kernels decode them: the CPU decoder's bits, for every type, whole or in slices. */
import { describe, expect, it } from "vitest";
import { weightRecords } from "../../src/engine/weight-taps.ts";
import { GpuWeights, packRows } from "../../src/engine/weights.ts";
import { BLOCK_TYPES } from "../../src/model/blocks.ts";
import { hashOf } from "../../src/trace/sketch.ts";
import { FULL, syntheticModel, testGpu } from "../support/engine.ts";

/** Where two lists part, to the bit; null where they are the same. Quick where toEqual takes seconds. */
function firstOtherBits(actual: Float32Array, expected: Float32Array): number | null {
  const [a, b] = [actual, expected].map(
    ({ buffer, byteOffset, length }) => new Uint32Array(buffer, byteOffset, length),
  );
  const at = b?.findIndex((bits, i) => bits !== a?.[i]) ?? 0;
  return at >= 0 ? at : a?.length === b?.length ? null : expected.length;
}

describe("decoded weights", () => {
  it.each(BLOCK_TYPES.map((type) => type.name))("%s: the kernel's values are the CPU decoder's", async (type) => {
    const gpu = await testGpu();
    const model = await syntheticModel({ type, embd: 256, heads: 4, ffn: 512, layers: 1, biases: true });
    // 5000 bytes: a few rows a slice.
    for (const bindingLimit of [1 << 27, 5000]) {
      const weights = await GpuWeights.load(gpu, model.file, model.weights.keys(), { bindingLimit });
      let compared = 0;
      for await (const record of weightRecords(gpu, model, weights, FULL)) {
        const expected = model.file.decodeRows(model.file.tensor(record.weights[0] ?? ""));
        expect(firstOtherBits(record.values ?? new Float32Array(0), expected), record.tap).toBeNull();
        expect(record.hash, record.tap).toBe(hashOf(expected));
        compared++;
      }
      expect(compared).toBe(model.weights.size);
    }
  });

  it("packing leaves every byte of a block in place around its padding", async () => {
    const model = await syntheticModel({ type: "Q6_K", embd: 256, heads: 4, ffn: 256, layers: 1 });
    const tensor = model.file.tensor("blk.0.ffn_up.weight");
    const bytes = model.file.readRows(tensor, 3, 2);
    const packed = packRows(tensor, bytes);
    expect(packed.length).toBe(2 * 212);
    expect([...packed.subarray(0, 210)]).toEqual([...bytes.subarray(0, 210)]);
    expect([...packed.subarray(210, 212)]).toEqual([0, 0]);
    expect([...packed.subarray(212, 422)]).toEqual([...bytes.subarray(210)]);
  });
});
