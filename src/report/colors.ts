/** Colours, on a terminal only: picocolors alone would also colour pipes where the environment says CI. NO_COLOR is honoured. */
import { stripVTControlCharacters } from "node:util";
import picocolors from "picocolors";

const { NO_COLOR, TERM } = process.env;

export const colors = picocolors.createColors(Boolean(process.stdout.isTTY) && !NO_COLOR && TERM !== "dumb");

/** The text without colours, for a file. */
export const plain = (text: string) => stripVTControlCharacters(text);

/** What stands for a whole text: its first line, without colours. */
export const firstLine = (text: string) => plain(text.split("\n", 1)[0] ?? "");
