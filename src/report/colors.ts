/** Colours, on a terminal only: picocolors alone would also colour pipes where the environment says CI. NO_COLOR and FORCE_COLOR are honoured. */
import { stripVTControlCharacters } from "node:util";
import picocolors from "picocolors";

const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
const isForced = FORCE_COLOR !== undefined && FORCE_COLOR !== "" && FORCE_COLOR !== "0";

export const colors = picocolors.createColors(
  !NO_COLOR && (isForced || (Boolean(process.stdout.isTTY) && TERM !== "dumb")),
);

/** The text without colours, for a file. */
export const plain = (text: string) => stripVTControlCharacters(text);

/** What stands for a whole text: its first line, without colours. */
export const firstLine = (text: string) => plain(text.split("\n", 1)[0] ?? "");

/** The pattern of a code that these colours are made of: no other, such as one that hides what follows, is printed. */
export const COLOUR_CODE = `${String.fromCharCode(27)}\\[(?:1|2|22|3[1-3]|39)m`;
