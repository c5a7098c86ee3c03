/** Tables for the terminal, without frames: columns line up, numbers to the right. */
import Table from "cli-table3";
import { colors } from "./colors.ts";

const NO_FRAME = Object.fromEntries(
  ["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left", "bottom-right"]
    .concat(["left", "left-mid", "mid", "mid-mid", "right", "right-mid"])
    .map((part) => [part, ""]),
);

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** Lines of a table, ending with a newline. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const plain = new Table({
    head: columns.map((column) => colors.dim(column.title)),
    colAligns: columns.map((column) => column.align ?? "right"),
    chars: { ...NO_FRAME, middle: "  " },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  plain.push(...rows.map((row) => [...row]));
  return `${plain
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")}\n`;
}
