/** Tables without frames, as wide as the terminal at most: columns line up, numbers to the right. */
import Table from "cli-table3";
import { clipped, LONGEST_NAME, widthOf } from "./clip.ts";
import { colors } from "./colors.ts";
import { terminalWidth } from "./terminal.ts";

const NO_FRAME = Object.fromEntries(
  ["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left", "bottom-right"]
    .concat(["left", "left-mid", "mid", "mid-mid", "right", "right-mid"])
    .map((part) => [part, ""]),
);

/** Between columns. */
const GAP = "  ";
/** What is left of a text that is shortened, at least. */
const SHORTEST = 8;

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

/**
 * Lines of a table, ending with a newline. Where `width` has no room, columns that can be spared go, and a line names them; if that is
 * not enough, texts are shortened in the middle. Numbers never are: a part of one is another number.
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width = terminalWidth(),
): string {
  const cells = rows.map((row) => row.map((cell) => clipped(oneLine(cell), LONGEST_NAME)));
  const widths = columns.map(({ title }, i) =>
    cells.reduce((most, row) => Math.max(most, widthOf(row[i] ?? "")), widthOf(title)),
  );
  const kept = keptColumns(columns, widths, width);
  const room = shortened(columns, widths, kept, width);
  const drawn = draw(
    kept.map((i) => ({ ...columns[i], title: clipped(columns[i]?.title ?? "", room[i] ?? 0) })),
    cells.map((row) => kept.map((i) => clipped(row[i] ?? "", room[i] ?? 0))),
    kept.map((i) => room[i] ?? 0),
  );
  const left = spared(columns).flatMap((i) => (kept.includes(i) ? [] : (columns[i]?.title ?? [])));
  return left.length === 0 ? drawn : `${drawn}${colors.dim(`a wider terminal shows ${left.join(", ")}`)}\n`;
}

const oneLine = (cell: string) => cell.replaceAll("\n", "\\n");
const total = (widths: readonly number[]) => widths.reduce((sum, each) => sum + each + GAP.length, -GAP.length);

/** Columns that can be spared, the first to go first. */
function spared(columns: readonly Column[]): number[] {
  const spare = (i: number) => columns[i]?.spare ?? 0;
  return [...columns.keys()].filter((i) => columns[i]?.spare !== undefined).sort((a, b) => spare(b) - spare(a));
}

/** Columns that stay, a text that fills more than half the terminal counting as half of it. */
function keptColumns(columns: readonly Column[], widths: readonly number[], width: number): number[] {
  const least = widths.map((each, i) => (columns[i]?.align === "left" ? Math.min(each, width / 2) : each));
  let kept = [...columns.keys()];
  for (const i of spared(columns)) {
    if (total(kept.map((each) => least[each] ?? 0)) <= width) break;
    kept = kept.filter((each) => each !== i);
  }
  return kept;
}

/** Widths of all columns, the widest texts of those kept made narrower until the line fits. */
function shortened(columns: readonly Column[], widths: readonly number[], kept: readonly number[], width: number) {
  const room = [...widths];
  const texts = kept.filter((i) => columns[i]?.align === "left");
  const at = (i: number) => room[i] ?? 0;
  for (let over = total(kept.map(at)) - width; over > 0; over--) {
    const widest = texts.reduce((a, b) => (at(b) > at(a) ? b : a), texts[0] ?? -1);
    if (at(widest) <= SHORTEST) break;
    room[widest] = at(widest) - 1;
  }
  return room;
}

/** Rows that are laid out at once: the layout compares each row with every other. */
const BLOCK = 64;

/** Lines of columns of these widths. */
function draw(columns: readonly Column[], rows: readonly (readonly string[])[], widths: readonly number[]): string {
  const head = columns.map(({ title }) => (title === "" ? "" : colors.dim(title)));
  const all = [head, ...rows];
  const lines: string[] = [];
  for (let from = 0; from < all.length; from += BLOCK) {
    const block = new Table({
      colAligns: columns.map((column) => column.align ?? "right"),
      colWidths: [...widths],
      chars: { ...NO_FRAME, middle: GAP },
      style: { border: [], "padding-left": 0, "padding-right": 0 },
    });
    block.push(...all.slice(from, from + BLOCK).map((row) => [...row]));
    lines.push(...block.toString().split("\n"));
  }
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}
