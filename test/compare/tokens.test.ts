/** Sequences: where they part, and what still belongs together. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { alignTokens, traceSequence } from "../../src/compare/tokens.ts";
import { recordOf, traceFrom } from "../support/traces.ts";

const sequence = (ids: readonly number[]) => ({ ids, pieces: ids.map((id) => `<${id}>`) });
const align = (e: readonly number[], a: readonly number[]) => alignTokens(sequence(e), sequence(a));

describe("traceSequence", () => {
  const logitsAt = (step: number, posStart: number) =>
    recordOf("logits", "token vocab", [1, 4], new Float32Array(4), { step, posStart });
  it("a record of a step's last row moves no token", async () => {
    const trace = await traceFrom([logitsAt(0, 2), logitsAt(1, 3)], [[5, 6, 7], [8]]);
    expect(traceSequence(trace)).toMatchObject({ ids: [5, 6, 7, 8], firstSteps: [0, 0, 0, 1] });
  });
  it("a step far behind the tokens before it is refused", async () => {
    const trace = await traceFrom([logitsAt(0, 2), logitsAt(1, 4_000_000_000)], [[5, 6, 7], [8]]);
    expect(() => traceSequence(trace)).toThrow(/step 1 begins at position 4000000000, and 3 tokens come before it/);
  });
});

describe("alignTokens", () => {
  it("finds equal sequences alike, and one that ends early", () => {
    expect(align([1, 2, 3], [1, 2, 3])).toMatchObject({ difference: null, shift: null });
    expect(align([1, 2, 3], [1, 2])).toMatchObject({ difference: null });
  });

  it("sees an extra and a missing BOS as a shift", () => {
    const words = [11, 12, 13, 14];
    const extra = align(words, [1, ...words]);
    expect(extra).toMatchObject({ shift: 1, difference: { position: 0, expected: 11, actual: 1 } });
    expect([0, 1, 4].map((position) => extra.of(position))).toEqual([null, 0, 3]);
    const missing = align([1, ...words], words);
    expect(missing.shift).toBe(-1);
    expect(missing.of(0)).toBe(1);
  });

  it("keeps what follows one other token, and drops what follows another sequence", () => {
    const replaced = align([1, 2, 3, 4, 5], [1, 9, 3, 4, 5]);
    expect(replaced).toMatchObject({ shift: 0, difference: { position: 1, expectedPiece: "<2>", actualPiece: "<9>" } });
    expect([0, 1, 2].map((position) => replaced.of(position))).toEqual([0, null, 2]);
    expect(align([1, 2, 3, 4, 5], [1, 9, 8, 7, 6])).toMatchObject({ shift: null });
  });

  it("follows several differences, and as many tokens more as there are", () => {
    const words = Array.from({ length: 60 }, (_, i) => 100 + i);
    const several = align(words, [...words.slice(0, 10), 7, ...words.slice(10, 30), ...words.slice(32), 8]);
    expect([5, 10, 11, 30, 31, 58, 59].map((position) => several.of(position))).toEqual([
      5,
      null,
      10,
      29,
      32,
      59,
      null,
    ]);
    const head = Array.from({ length: 25 }, (_, i) => i);
    expect(align(words, [...head, ...words])).toMatchObject({ shift: 25, edits: [{ actualFrom: 0, actualTo: 25 }] });
  });

  it("never pairs positions that hold other tokens", () => {
    const ids = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 12 });
    fc.assert(
      fc.property(ids, ids, (e, a) => {
        const { of } = align(e, a);
        for (let position = 0; position < a.length; position++) {
          const other = of(position);
          if (other !== null && other < e.length) expect(e[other]).toBe(a[position]);
        }
      }),
    );
  });
});
