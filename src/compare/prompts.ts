/** Two tokenisations of one prompt: the rendered texts where there are two, then the sequences. */
import { promptCause, type TokenCause } from "./token-cause.ts";
import { alignTokens, type TokenAlignment } from "./tokens.ts";

export interface PromptSide {
  /** Who tokenised. */
  readonly name: string;
  readonly ids: readonly number[];
  readonly pieces: readonly string[];
  /** The chat as this side rendered it; null where there is none of its own. */
  readonly rendered: string | null;
}

export interface PromptComparison {
  readonly expected: PromptSide;
  readonly actual: PromptSide;
  readonly alignment: TokenAlignment;
  readonly isAlike: boolean;
  readonly cause: TokenCause | null;
  /** Actual positions to which an expected one belongs: those that a comparison of runs goes on over. */
  readonly aligned: number;
}

/** Holds two tokenisations against one another: alike only if every id is the same, to the end of both. */
export function comparePrompts(expected: PromptSide, actual: PromptSide): PromptComparison {
  const alignment = alignTokens(expected, actual);
  return {
    ...{ expected, actual, alignment },
    isAlike: alignment.edits.length === 0,
    cause: promptCause(alignment),
    aligned: actual.ids.filter((_, position) => alignment.of(position) !== null).length,
  };
}
