/** A report as it is printed: what comes of a trace, a dump or a file may be of any length, and hold anything. */
import { COLOUR_CODE } from "./colors.ts";

/** Characters of a word that are printed at most: a path is whole, for the longest that Linux takes has 4096 bytes. */
const LONGEST_WORD = 4096;
/** Characters of a line that are printed at most: the token ids of a long prompt are whole. */
const LONGEST_LINE = 100_000;

/** Control characters but line feeds and the codes of colours, and what turns the direction of a text. */
const CONTROLS = new RegExp(`(?!\\n|${COLOUR_CODE})[\\p{Cc}\\p{Bidi_Control}]`, "gu");

/** The text with words and lines of any length shortened to "…" in their middle, and what would steer a terminal as escapes. */
export const printable = (text: string) =>
  text
    .replaceAll(CONTROLS, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
    .split("\n")
    .map((line) => shortLine(line.split(" ").map(shortWord).join(" ")))
    .join("\n");

const shortWord = (text: string) => shortened(text, LONGEST_WORD);
const shortLine = (text: string) => shortened(text, LONGEST_LINE);

/** Its two ends; a character of two units that the cut would halve is left out. */
function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const [head, tail] = [text.slice(0, most / 2), text.slice(-most / 2)];
  return `${head.replace(/[\uD800-\uDBFF]$/, "")}…${tail.replace(/^[\uDC00-\uDFFF]/, "")}`;
}
