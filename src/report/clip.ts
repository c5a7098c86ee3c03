/** Texts shortened in their middle: names of a trace may be of any length. */
import stringWidth from "string-width";
import { COLOUR_CODE } from "./colors.ts";

/** Characters of a name that are printed at most, in a pipe too. */
export const LONGEST_NAME = 200;
const LEFT_OUT = "…";
/** Units of a character, marks stacked on it included, beyond which it is not one to be printed. */
const LONGEST_CHARACTER = 16;

/** Columns of a terminal that a text takes; colours take none. */
export const widthOf = (text: string) => stringWidth(text);

/** A text of at most `most` columns, its middle replaced by "…" where it has more; a colour of the whole stays. */
export function clipped(text: string, most: number): string {
  if (text.length <= LONGEST_CHARACTER * most && widthOf(text) <= most) return text;
  const before = COLOURED_FROM.exec(text.slice(0, LONGEST_COLOUR))?.[0] ?? "";
  const after = COLOURED_TO.exec(text.slice(-LONGEST_COLOUR))?.[0] ?? "";
  const body = text.slice(before.length, text.length - after.length);
  const half = Math.max(0, most - LEFT_OUT.length) / 2;
  const head = fill(characters(body.slice(0, LONGEST_CHARACTER * most)), Math.ceil(half));
  const tail = fill(characters(body.slice(-LONGEST_CHARACTER * most)).reverse(), Math.floor(half));
  return `${before}${head.join("")}${LEFT_OUT}${tail.reverse().join("")}${after}`;
}

/** Units of the codes at one end of a text, at most. */
const LONGEST_COLOUR = 64;
const COLOURED_FROM = new RegExp(`^(?:${COLOUR_CODE})*`);
const COLOURED_TO = new RegExp(`(?:${COLOUR_CODE})*$`);
const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const characters = (text: string) => [...segmenter.segment(text)].map(({ segment }) => segment);

/** As many of the first as fit. */
function fill(from: readonly string[], columns: number): string[] {
  const taken: string[] = [];
  let used = 0;
  for (const character of from) {
    used += widthOf(character);
    if (used > columns || character.length > LONGEST_CHARACTER) break;
    taken.push(character);
  }
  return taken;
}
