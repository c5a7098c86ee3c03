/** Tables and texts as they are printed: as wide as the terminal at most, no name of any length, whole in a pipe. */
import { describe, expect, it } from "vitest";
import { clipped, widthOf } from "../../src/report/clip.ts";
import { plain } from "../../src/report/colors.ts";
import { printable } from "../../src/report/printable.ts";
import { type Column, table } from "../../src/report/table.ts";
import { atWidth, terminalWidth } from "../../src/report/terminal.ts";

const COLUMNS: readonly Column[] = [
  { title: "tap", align: "left" },
  { title: "relL2" },
  { title: "allowed", spare: 1 },
  { title: "at", align: "left", spare: 2 },
];
const row = (tap: string, at = `${tap}, step 0`) => [tap, "1.234e-5", "9.876e-5", at];
const linesOf = (rows: readonly string[][], width: number) =>
  plain(atWidth(width, () => table(COLUMNS, rows)))
    .trimEnd()
    .split("\n");

describe("a table", () => {
  it("fits every width from its numbers on, and is whole in a pipe", () => {
    const rows = [row("blk.12.attn_norm"), row("日本語".repeat(30)), row("x".repeat(150))];
    for (let width = 22; width < 400; width++) {
      for (const line of linesOf(rows, width).filter((each) => !each.startsWith("a wider terminal shows")))
        expect(widthOf(line), `${width}: ${line}`).toBeLessThanOrEqual(width);
    }
    const whole = linesOf(rows, Number.POSITIVE_INFINITY).join("\n");
    for (const cell of rows.flat()) expect(whole).toContain(cell);
  });

  it("spares columns before it shortens texts, names these, and never shortens a number", () => {
    const lines = linesOf([row("blk.12.attn_norm")], 40);
    expect(lines[0]).toBe("tap                  relL2   allowed");
    expect(lines[2]).toBe("a wider terminal shows at");
    expect(linesOf([row("blk.12.attn_norm")], 20).slice(1)).toEqual([
      "blk.1…norm  1.234e-5",
      "a wider terminal shows at, allowed",
    ]);
    expect(linesOf([row("blk.12.attn_norm")], 10)[1]).toContain("1.234e-5");
  });

  it("one long name does not cost the columns that there is room for", () => {
    const [head, short, long] = linesOf([row("embed", ""), row("y".repeat(150), "")], 80);
    expect(head).toMatch(/^tap +relL2 +allowed +at$/);
    expect(short).toMatch(/^embed +1\.234e-5 +9\.876e-5$/);
    expect(long).toMatch(/^y+…y+ {2}1\.234e-5 {2}9\.876e-5$/);
  });

  it("holds a name of ten million characters, and one with line feeds, to one short line", () => {
    const lines = linesOf([row("x".repeat(1e7), ""), row("a\nb", "")], Number.POSITIVE_INFINITY);
    expect(lines).toHaveLength(3);
    expect(lines[1]).toMatch(/^x{100}…x{99} {2}/);
    expect(lines[2]).toMatch(/^a\\nb /);
  });
});

describe("a text", () => {
  it("has no code but those of our colours: what hides, moves or turns is an escape", () => {
    const [hidden, turned] = ["x\u001b[8mhidden\u001b[2K\r", "blk.0.\u202eabc"];
    expect(printable(hidden)).toBe("x\\u{1b}[8mhidden\\u{1b}[2K\\u{d}");
    expect(printable(turned)).toBe("blk.0.\\u{202e}abc");
    for (const code of [1, 2, 22, 31, 32, 33, 39]) expect(printable(`\u001b[${code}mx`)).toBe(`\u001b[${code}mx`);
  });

  it("is shortened in the middle, its colour kept, characters of two columns counted as two", () => {
    expect(clipped("abcdefgh", 8)).toBe("abcdefgh");
    expect(clipped("abcdefghi", 8)).toBe("abcd…ghi");
    expect(clipped("\u001b[31mabcdefghi\u001b[39m", 8)).toBe("\u001b[31mabcd…ghi\u001b[39m");
    expect(clipped("日本語日本語", 8)).toBe("日本…語");
    expect(widthOf(clipped(`e${"\u0301".repeat(1000)}`.repeat(50), 8))).toBeLessThanOrEqual(8);
  });

  it("is printed with its long words shortened, and nothing that steers a terminal but colours", () => {
    const text = `divergent: ${"x".repeat(1e7)} (step 0)\n\u001b[31mred\u001b[39m\u001b]0;title\u0007\u001b[2J\r\n`;
    const printed = printable(text);
    expect(printed.length).toBeLessThan(4096 + 200);
    const [first = "", second] = printed.split("\n");
    expect(first).toMatch(/^divergent: x+…x+ \(step 0\)$/);
    expect(second).toBe("\u001b[31mred\u001b[39m\\u{1b}]0;title\\u{7}\\u{1b}[2J\\u{d}");
    expect(printable("word ".repeat(1e6)).length).toBeLessThan(200_000);
    const path = `/${"folder/".repeat(500)}run.arrow`;
    expect(printable(`look inside: faultline inspect ${path}`)).toBe(`look inside: faultline inspect ${path}`);
    expect(printable("😀".repeat(5000)).isWellFormed()).toBe(true);
  });
});

it("outside a terminal no width is known, and nothing is left out", () => {
  expect(terminalWidth()).toBe(Number.POSITIVE_INFINITY);
  expect(atWidth(60, terminalWidth)).toBe(60);
  expect(terminalWidth()).toBe(Number.POSITIVE_INFINITY);
});
