import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { argmax, createSampler, GREEDY } from "../../src/engine/sampler.ts";

const logits = fc.array(fc.float({ noNaN: true, min: -20, max: 20 }), { minLength: 1, maxLength: 50 });

describe("the sampler", () => {
  it("is greedy at temperature 0, and of equals takes the lowest id", () => {
    expect(argmax([1, 3, 3, 2])).toBe(1);
    expect(createSampler(GREEDY)([0, -1, 5, 5])).toBe(2);
    expect(argmax([Number.NaN, 1, Number.NaN])).toBe(1);
    expect(argmax([Number.NaN, Number.NaN])).toBe(0);
  });

  it("gives the same tokens for the same seed", () => {
    fc.assert(
      fc.property(logits, fc.nat(), (list, seed) => {
        const settings = { temperature: 0.9, topK: 0, topP: 0.95, seed };
        const draw = () => {
          const sample = createSampler(settings);
          return Array.from({ length: 8 }, () => sample(list));
        };
        expect(draw()).toEqual(draw());
      }),
    );
  });

  it("top-k 1, a tiny top-p and a tiny temperature are greedy", () => {
    fc.assert(
      fc.property(logits, fc.nat(), (list, seed) => {
        const best = list[argmax(list)];
        for (const part of [{ topK: 1 }, { topP: 0 }]) {
          const id = createSampler({ temperature: 1, topK: 0, topP: 1, seed, ...part })(list);
          expect(list[id]).toBe(best);
        }
      }),
    );
  });

  it("never leaves the k most likely tokens, nor draws NaN", () => {
    const list = [5, Number.NaN, 4, 3, 2, 1];
    const sample = createSampler({ temperature: 5, topK: 3, topP: 1, seed: 1 });
    const seen = new Set(Array.from({ length: 300 }, () => sample(list)));
    expect([...seen].sort()).toEqual([0, 2, 3]);
  });

  it("draws as often as the probabilities say", () => {
    const list = [Math.log(0.7), Math.log(0.2), Math.log(0.1)];
    const sample = createSampler({ temperature: 1, topK: 0, topP: 1, seed: 3 });
    const counts = [0, 0, 0];
    for (let i = 0; i < 20000; i++) {
      const id = sample(list);
      counts[id] = (counts[id] ?? 0) + 1;
    }
    // Four standard deviations of a binomial share at 20000 draws.
    for (const [i, p] of [0.7, 0.2, 0.1].entries()) {
      expect(Math.abs((counts[i] ?? 0) / 20000 - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / 20000));
    }
  });
});
