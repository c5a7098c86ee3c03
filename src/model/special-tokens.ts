// Finds special tokens written out in text. llama.cpp looks for one token after the other, the longest first, over
// all that is still text; a leftmost-longest search, as other libraries do, cuts overlapping tokens elsewhere.
import { TokenFlag } from "./token-flags.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** A stretch of text, or the id of a special token. */
export type Fragment = string | number;

interface SpecialToken {
  readonly id: number;
  readonly text: string;
  readonly onlyWhenParsing: boolean;
  readonly stripsRight: boolean;
}

export type SpecialSplitter = (text: string, parseSpecial: boolean) => Fragment[];

/** Prepares the search: user-defined tokens are always found, control tokens only where asked for. */
export function specialSplitter(vocabulary: Vocabulary): SpecialSplitter {
  const special = TokenFlag.control | TokenFlag.userDefined | TokenFlag.unknown;
  const tokens: SpecialToken[] = [];
  for (const [id, flags] of vocabulary.flags.entries()) {
    const text = vocabulary.texts[id];
    if ((flags & special) === 0 || text === undefined) continue;
    tokens.push({
      id,
      text,
      onlyWhenParsing: (flags & (TokenFlag.control | TokenFlag.unknown)) !== 0,
      stripsRight: (flags & TokenFlag.stripsRight) !== 0,
    });
  }
  tokens.sort((a, b) => Buffer.byteLength(b.text) - Buffer.byteLength(a.text));

  return (text, parseSpecial) => {
    let fragments: Fragment[] = text === "" ? [] : [text];
    for (const token of tokens) {
      if (token.onlyWhenParsing && !parseSpecial) continue;
      if (!text.includes(token.text)) continue;
      fragments = fragments.flatMap((fragment) => (typeof fragment === "string" ? cut(fragment, token) : [fragment]));
    }
    return fragments;
  };
}

function cut(text: string, token: SpecialToken): Fragment[] {
  const parts = text.split(token.text);
  return parts.flatMap((part, index): Fragment[] => {
    // C's isspace: the reference works on bytes and knows no other white space here.
    const kept = index > 0 && token.stripsRight ? part.replace(/^[ \t\n\v\f\r]+/, "") : part;
    const piece = kept === "" ? [] : [kept];
    return index === 0 ? piece : [token.id, ...piece];
  });
}
