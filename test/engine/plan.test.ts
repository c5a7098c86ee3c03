/** Plans by metadata alone: nothing is overwritten while it is needed, and no op reads and writes one arena. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PlannedOp, planPass, tokensPerPass } from "../../src/engine/plan.ts";
import { openModel } from "../../src/model/model.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";

const overlaps = (a: PlannedOp, b: PlannedOp) =>
  a.place.arena === b.place.arena &&
  a.place.byteOffset < b.place.byteOffset + b.place.byteLength &&
  b.place.byteOffset < a.place.byteOffset + a.place.byteLength;

describe("plans", () => {
  it("keep every tensor until its last reader and the end of its segment", async () => {
    const shapes = [
      {},
      { embd: 256, heads: 4, ffn: 8 },
      { embd: 8, heads: 2, ffn: 300 },
      { layers: 6, vocab: 257, embd: 128 },
    ];
    const models = await Promise.all(shapes.map((shape) => openModel(syntheticLlamaFile(shape))));
    fc.assert(
      fc.property(
        fc.constantFrom(...models),
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 1, max: 1 << 20 }),
        (model, tokens, least) => {
          const plan = planPass(model, tokens, 64, least);
          const ops = plan.segments.flatMap((segment, number) => segment.ops.map((planned) => ({ planned, number })));
          expect(ops.map(({ planned }) => planned.op.tap)).toEqual(model.graph.map((node) => node.op.tap));
          for (const [i, { planned, number }] of ops.entries()) {
            const { place, inputs } = planned;
            expect(place.byteOffset % 256).toBe(0);
            expect(place.offsetInHalf + place.byteLength).toBeLessThanOrEqual(plan.halfBytes);
            const direct = inputs.filter((input) => !input.cached).map((input) => input.producer);
            for (const producer of direct) {
              expect(producer.place.arena).not.toBe(place.arena);
              const made = ops.findIndex((each) => each.planned === producer);
              // Whatever ran since must have left it alone.
              for (const between of ops.slice(made + 1, i)) expect(overlaps(between.planned, producer)).toBe(false);
            }
            // Statistics are taken when the segment is over.
            for (const later of ops.slice(i + 1)) {
              if (later.number === number) expect(overlaps(later.planned, planned)).toBe(false);
            }
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it("fit their passes into the limits given", async () => {
    const model = await openModel(syntheticLlamaFile({ context: 4096 }));
    const unlimited = { tensorBytes: 1 << 30, halfBytes: 1 << 30 };
    expect(tokensPerPass(model, 4096, 256, unlimited)).toBe(256);
    // Scores of a token take 4 heads x 4096 keys x 4 bytes.
    expect(tokensPerPass(model, 4096, 256, { ...unlimited, tensorBytes: 10 * 65536 })).toBe(10);
    const tokens = tokensPerPass(model, 4096, 256, { ...unlimited, halfBytes: 9 << 20 });
    expect(tokens).toBeLessThan(256);
    expect(planPass(model, tokens, 4096).halfBytes).toBeLessThanOrEqual(9 << 20);
    expect(tokensPerPass(model, 4096, 256, { tensorBytes: 1, halfBytes: 1 })).toBe(1);
  });
});
