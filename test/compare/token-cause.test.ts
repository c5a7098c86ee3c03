/** Causes of a token sequence, from the two sequences alone. */
import { describe, expect, it } from "vitest";
import { tokenCause } from "../../src/compare/token-cause.ts";
import { alignTokens } from "../../src/compare/tokens.ts";

/** Pieces of the ids used here. */
const PIECES: Readonly<Record<number, string>> = {
  0: "<s>",
  5: "Hello",
  6: " Hello",
  7: " world",
  8: "!",
  9: " there",
};
const sequence = (...ids: number[]) => ({
  ids,
  pieces: ids.map((id) => PIECES[id] ?? "?"),
  firstSteps: ids.map(() => 0),
});
const cause = (expected: number[], actual: number[]) =>
  tokenCause(alignTokens(sequence(...expected), sequence(...actual)))?.hypothesis ?? null;

describe("the cause of a token difference", () => {
  it("is a BOS too many, or one too few", () => {
    expect(cause([0, 5, 7], [0, 0, 5, 7])).toBe("token.extra-bos");
    expect(cause([0, 5, 7], [5, 7])).toBe("token.missing-bos");
  });

  it("is a space before the text", () => {
    expect(cause([0, 5, 7], [0, 6, 7])).toBe("token.space-prefix");
    expect(cause([0, 6, 7], [0, 5, 7])).toBe("token.space-prefix");
  });

  it("is not known where another token stands, and none where nothing differs", () => {
    expect(cause([0, 5, 7], [0, 5, 9])).toBe(null);
    expect(cause([0, 5, 7], [0, 8, 7])).toBe(null);
    expect(cause([0, 5, 7], [0, 5, 7])).toBe(null);
    // A sequence that starts with the same token twice on both sides has none too many.
    expect(cause([5, 5, 7], [5, 5, 9])).toBe(null);
  });
});
