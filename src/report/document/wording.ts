/** Text and numbers as a page may show them: bounded, on one line, nothing that acts on what stands beside it. */
import type { RecordSummary } from "../../trace/reader.ts";
import { visible } from "../numbers.ts";
import type { Figure, SideStatistics } from "./schema.ts";

/** Characters shown of one text. */
const LONGEST = 2000;

/** A text from anywhere: control characters and marks of direction as escapes, cut where it is too long. */
export function worded(text: string): string {
  const cut = text.length <= LONGEST ? text : text.slice(0, LONGEST);
  const line = visible(cut.replaceAll("\n", NEWLINE));
  return cut === text ? line : `${line}… (${text.length} characters)`;
}

/** Characters shown of a text that is one of many, as in a table. */
const LONGEST_CELL = 300;

/** The beginning of a text that is one of many, and how long it is. */
export const beginning = (text: string): string =>
  text.length <= LONGEST_CELL ? text : `${text.slice(0, LONGEST_CELL)}\u2026 (${text.length} characters)`;

/** The sign of a line's end, which prompts are full of. */
const NEWLINE = "\u21b5";

/** A number with four digits; what is not finite by name. */
export function figure(value: number | null): Figure {
  if (value === null) return null;
  if (Number.isFinite(value)) return Number(value.toPrecision(4));
  return Number.isNaN(value) ? "NaN" : value > 0 ? "Inf" : "-Inf";
}

export function statisticsOf({ statistics: of }: RecordSummary): SideStatistics {
  return {
    count: of.count,
    rms: figure(of.rms),
    mean: figure(of.mean),
    min: figure(of.min),
    max: figure(of.max),
    maxAbs: figure(of.maxAbs),
    zeros: of.zeroCount,
    nan: of.nanCount,
    inf: of.infCount,
  };
}
