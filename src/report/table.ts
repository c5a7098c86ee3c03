/** Tables for the terminal, without frames: columns line up, numbers to the right. */
import Table from "cli-table3";
import { colors, plain } from "./colors.ts";

const NO_FRAME = Object.fromEntries(
  ["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left", "bottom-right"]
    .concat(["left", "left-mid", "mid", "mid-mid", "right", "right-mid"])
    .map((part) => [part, ""]),
);

/** Between columns. */
const GAP = "  ";

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Where the terminal is too narrow, columns with the largest go first; without one a column stays. */
  readonly spare?: number;
}

/** A table before it is drawn: in a terminal, or in a report. Cells may hold colours. */
export interface TableData {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
}

/** A table without the columns that a terminal of `width` characters has no room for, and a line that names these. */
export function fitted(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): string {
  const widths = columns.map(({ title }, i) =>
    Math.max(title.length, ...rows.map((row) => plain(row[i] ?? "").length)),
  );
  const kept = new Set(columns.keys());
  const needed = () => [...kept].reduce((sum, i) => sum + (widths[i] ?? 0) + GAP.length, -GAP.length);
  const spare = [...kept].filter((i) => columns[i]?.spare !== undefined);
  spare.sort((a, b) => (columns[b]?.spare ?? 0) - (columns[a]?.spare ?? 0));
  const left: string[] = [];
  for (const i of spare) {
    if (needed() <= width) break;
    kept.delete(i);
    left.push(columns[i]?.title ?? "");
  }
  const isKept = (_: unknown, i: number) => kept.has(i);
  const text = table(
    columns.filter(isKept),
    rows.map((row) => row.filter(isKept)),
  );
  return left.length === 0 ? text : `${text}${colors.dim(`a wider terminal shows ${left.join(", ")}`)}\n`;
}

/** Lines of a table, ending with a newline. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const plain = new Table({
    head: columns.map((column) => colors.dim(column.title)),
    colAligns: columns.map((column) => column.align ?? "right"),
    chars: { ...NO_FRAME, middle: GAP },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  plain.push(...rows.map((row) => [...row]));
  return `${plain
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")}\n`;
}
