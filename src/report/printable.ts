/** A report as it is printed: what comes of a trace, a dump or a file may be of any length, and hold anything. */
import { clipped, LONGEST_NAME } from "./clip.ts";
import { COLOUR_CODE } from "./colors.ts";

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

const shortWord = (text: string) => (text.length > LONGEST_NAME ? clipped(text, LONGEST_NAME) : text);
const shortLine = (text: string) =>
  text.length > LONGEST_LINE ? `${text.slice(0, LONGEST_LINE / 2)}…${text.slice(-LONGEST_LINE / 2)}` : text;
