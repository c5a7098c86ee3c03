/** Causes of a token sequence, from the two sequences alone: each is named where it holds, and withheld where it nearly does. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { promptCause, TOKEN_CAUSES, tokenCause } from "../../src/compare/token-cause.ts";
import { alignTokens } from "../../src/compare/tokens.ts";

/** A vocabulary made as it is needed: every piece has one id, so that sequences can be written as pieces. */
const vocabulary = new Map<string, number>();
const idOf = (piece: string) => {
  const id = vocabulary.get(piece) ?? vocabulary.size;
  vocabulary.set(piece, id);
  return id;
};
const sequence = (pieces: readonly string[]) => ({ ids: pieces.map(idOf), pieces });
const aligned = (expected: readonly string[], actual: readonly string[]) =>
  alignTokens(sequence(expected), sequence(actual));
const cause = (expected: readonly string[], actual: readonly string[]) =>
  promptCause(aligned(expected, actual))?.hypothesis ?? null;

/** Expected, actual; what is named. */
const HOLDS: readonly [name: string, expected: readonly string[], actual: readonly string[]][] = [
  ["token.extra-bos", ["<s>", "Hello", " world"], ["<s>", "<s>", "Hello", " world"]],
  ["token.extra-bos", ["<|im", "_start", "|>", "user"], ["<s>", "<|im", "_start", "|>", "user"]],
  ["token.missing-bos", ["<s>", "Hello", " world"], ["Hello", " world"]],
  ["token.missing-bos", ["<|begin_of_text|>", "Hello", " world"], ["Hello", " world"]],
  ["token.extra-eos", ["<s>", "Hello"], ["<s>", "Hello", "</s>"]],
  ["token.extra-eos", ["Hello", "!"], ["Hello", "!", "<|endoftext|>"]],
  ["token.missing-eos", ["<s>", "Hello", "</s>"], ["<s>", "Hello"]],
  ["token.special-split", ["<|im_start|>", "user"], ["<", "|", "im", "_start", "|>", "user"]],
  ["token.special-split", ["a", "</", "s", ">\n", "b"], ["a", "</s>", "\n", "b"]],
  ["token.space-prefix", ["<s>", "Hello", "!"], ["<s>", " Hello", "!"]],
  ["token.space-prefix", ["<s>", "▁Hello", "!"], ["<s>", "Hel", "lo", "!"]],
  ["token.space-prefix", ["Hello", "!"], ["ĠHello", "!"]],
  ["token.space-prefix", ["user", "</s>", "▁", "\n"], ["user", "</s>", "\n"]],
  ["token.newline", ["assistant", "\n"], ["assistant"]],
  ["token.newline", ["a", "\n\n", "b"], ["a", "\n", "\n", "b"]],
  ["token.newline", ["a", "?\n", "b"], ["a", "?\n\n", "b"]],
  ["token.normaliser", ["caf", "é", "!"], ["caf", "e\u0301", "!"]],
  ["token.normaliser", ["x", "ﬁ", "ne"], ["x", "fi", "ne"]],
  ["token.normaliser", ["Hello", "!"], ["hello", "!"]],
  ["token.normaliser", ["a", "  ", "b"], ["a", " ", "b"]],
  ["token.normaliser", ["a", " ", "b", " ", "c"], ["a", " ", "b", " ", " ", "c"]],
  ["token.other-cut", ["un", "believ", "able"], ["unbe", "liev", "able"]],
  // "a" is common to both, at other places of the text.
  ["token.other-cut", ["ab", "a", "bc"], ["a", "bab", "c"]],
  ["token.other-text", ["Hello", " world"], ["Hello", " there"]],
  ["token.other-text", ["a", " b", " c"], ["a", " b", " x", " c"]],
];

/** What looks like a cause and is none: the other one that holds instead, or nothing. */
const WITHHELD: readonly [
  not: string,
  instead: string | null,
  expected: readonly string[],
  actual: readonly string[],
][] = [
  ["token.extra-bos", "token.other-text", ["the", " cat"], ["the", "the", " cat"]],
  ["token.extra-bos", "token.other-text", ["<s>", "a", "b"], ["<s>", "<s>", "c", "b"]],
  ["token.missing-bos", "token.other-text", ["Hello", " world", "!"], [" world", "!"]],
  ["token.extra-eos", "token.other-text", ["<s>", "Hello"], ["<s>", "Hello", "!"]],
  ["token.extra-eos", "token.other-text", ["<s>", "Hello"], ["<s>", "Hello", "<s>"]],
  ["token.extra-eos", "token.other-text", ["<s>", "Hello"], ["<s>", "Hello", "<|end_header_id|>"]],
  ["token.missing-eos", "token.other-text", ["<s>", "Hello", "<|im_start|>"], ["<s>", "Hello"]],
  ["token.special-split", "token.other-cut", ["<div>", "x"], ["<", "div", ">", "x"]],
  ["token.special-split", "token.other-text", ["<|im_end|>", "x"], ["<", "|", "im", "|>", "x"]],
  ["token.space-prefix", "token.normaliser", ["a", " b"], ["a", " ", " b"]],
  ["token.space-prefix", "token.other-text", ["a", "b"], ["a", " ", "b"]],
  ["token.space-prefix", "token.other-text", ["Hello", "!"], [" Jello", "!"]],
  ["token.newline", "token.other-text", ["a", "\n", "b"], ["a", "c", "b"]],
  ["token.newline", "token.normaliser", ["a", " ", "b"], ["a", "\t", "b"]],
  ["token.normaliser", "token.other-text", ["é"], ["e"]],
  ["token.other-cut", "token.other-text", ["un", "do"], ["und", "oo"]],
  // A part of a character, or a trace without pieces: nothing is known of the text.
  ["token.other-text", null, ["a", "\uFFFD"], ["a", "é"]],
  ["token.other-text", null, [`<${idOf("<0>")}>`, "a"], ["b", "a"]],
];

describe("the cause of a token difference", () => {
  it.each(HOLDS)("%s: %j, actual %j", (name, expected, actual) => {
    expect(cause(expected, actual)).toBe(name);
  });

  it.each(WITHHELD)("not %s but %s: %j, actual %j", (_, instead, expected, actual) => {
    expect(cause(expected, actual)).toBe(instead);
  });

  it("every cause has a case in which it holds", () => {
    expect([...new Set(HOLDS.map(([name]) => name))].sort()).toEqual([...TOKEN_CAUSES].sort());
  });

  it("says what differs", () => {
    const what = (expected: string[], actual: string[]) => promptCause(aligned(expected, actual))?.what;
    expect(what(["Hello", " world"], ["Hello", " there"])).toBe('the texts differ: expected "world", actual "there"');
    expect(what(["a", "\n"], ["a"])).toBe('line feeds differ, 1 expected and 0 there: expected "\\n", actual nothing');
    expect(what(["ﬁ", "x"], ["fi", "x"])).toMatch(/NFKC .* expected "ﬁ", actual "fi"$/);
    expect(what(["ab", "a", "bc"], ["a", "bab", "c"])).toMatch(/^the same text "ababc" is cut into 3 pieces, actual 3/);
  });

  it("is none where nothing differs, and of the texts only where they do", () => {
    const piece = fc.constantFrom("a", "b", "ab", " a", "\n", "\n\n", "<s>", "</s>", "A", " ");
    const side = fc.array(piece, { maxLength: 8 });
    fc.assert(
      fc.property(side, side, (e, a) => {
        const named = cause(e, a);
        const [eText, aText] = [e.join(""), a.join("")];
        expect(named === null).toBe(e.join("|") === a.join("|"));
        if (named === "token.other-text" || named === "token.normaliser") expect(eText).not.toBe(aText);
        if (named === "token.other-cut" || named === "token.special-split")
          expect(e.length + a.length).toBeGreaterThan(2);
        if (eText === aText && named !== null)
          expect(["token.other-cut", "token.special-split", "token.newline"]).toContain(named);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("the cause in two runs", () => {
  const inRuns = (expected: string[], actual: string[], isPrompt?: boolean) =>
    tokenCause(aligned(expected, actual), isPrompt)?.hypothesis ?? null;

  it("says nothing of tokens that the runs chose but for how the sequences begin", () => {
    expect(inRuns(["<s>", "a", "Hello"], ["<s>", "a", "hello"], false)).toBe(null);
    expect(inRuns(["<s>", "a", "Hello"], ["<s>", "a", "hello"], true)).toBe("token.normaliser");
    expect(inRuns(["<s>", "a", "b"], ["<s>", "<s>", "a", "b"], false)).toBe("token.extra-bos");
  });

  it("is not that one ends earlier, nor that another token stands there", () => {
    expect(inRuns(["<s>", "a", "</s>"], ["<s>", "a"])).toBe(null);
    expect(inRuns(["<s>", "a", "b"], ["<s>", "a", "c"])).toBe(null);
  });
});
