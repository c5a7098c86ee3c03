/** Two tokenisations side by side: the verdict, the first difference and its cause, what still aligns. */
import { z } from "zod";
import type { PromptComparison, PromptSide } from "../compare/prompts.ts";
import type { Edit } from "../compare/token-edits.ts";
import { differAt, differFrom } from "../compare/token-text.ts";
import { visible } from "./numbers.ts";
import { type Column, table } from "./table.ts";

const sideSchema = z.object({ name: z.string(), ids: z.array(z.number().int()), pieces: z.array(z.string()) });

export const againstSchema = z.object({
  verdict: z.enum(["alike", "divergent"]),
  sentence: z.string(),
  expected: sideSchema,
  actual: sideSchema,
  /** Null where only one side rendered a chat, or none. */
  template: z.object({ alike: z.boolean(), expected: z.string(), actual: z.string() }).nullable(),
  first_difference: z.number().int().nullable(),
  cause: z.object({ hypothesis: z.string(), what: z.string() }).nullable(),
  /** Runs that differ: [from, to) of each side's positions; one of them may be empty. */
  edits: z.array(z.object({ expected: z.tuple([z.int(), z.int()]), actual: z.tuple([z.int(), z.int()]) })),
  /** Actual positions that belong to an expected one, of all. */
  aligned: z.number().int(),
  positions: z.number().int(),
});

export function againstJson(comparison: PromptComparison): z.infer<typeof againstSchema> {
  const { alignment, isAlike, cause, aligned } = comparison;
  const side = ({ name, ids, pieces }: PromptSide) => ({ name, ids: [...ids], pieces: [...pieces] });
  const [expected, actual] = [comparison.expected.rendered, comparison.actual.rendered];
  return {
    verdict: isAlike ? "alike" : "divergent",
    sentence: sentenceOf(comparison),
    expected: side(comparison.expected),
    actual: side(comparison.actual),
    template: expected === null || actual === null ? null : { alike: expected === actual, expected, actual },
    first_difference: alignment.edits[0]?.expectedFrom ?? null,
    cause: cause === null ? null : { ...cause },
    edits: alignment.edits.map((edit) => ({
      expected: [edit.expectedFrom, edit.expectedTo],
      actual: [edit.actualFrom, edit.actualTo],
    })),
    aligned,
    positions: alignment.actual.length,
  };
}

/** The verdict in a line: the templates before the tokens, the first difference, its cause. */
export function sentenceOf({ expected, actual, alignment, cause }: PromptComparison): string {
  const [first, ...others] = alignment.edits;
  const template = templateDifference(expected, actual);
  if (first === undefined) return `${counted(alignment.actual.length, "token")}`;
  const more = others.length === 0 ? "" : `; and ${counted(others.length, "more difference")} after it`;
  const why = cause === null ? "" : `; ${cause.what} (${cause.hypothesis})`;
  return `${template === null ? "" : `the rendered chats differ ${template}; `}the tokens differ at position ${first.expectedFrom}: ${visible(`${describe(first, expected, actual)}${why}`)}${more}`;
}

/** Where and how two rendered chats differ; null where they do not. */
function templateDifference({ rendered: e }: PromptSide, { rendered: a }: PromptSide): string | null {
  if (e === null || a === null || e === a) return null;
  const [of, to] = differAt(e, a);
  return visible(`from character ${differFrom(e, a)} on: expected ${of}, actual ${to}`);
}

const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;

/** Tokens named in a sentence. */
const NAMED = 4;

/** What one edit does, in words. */
function describe({ expectedFrom, expectedTo, actualFrom, actualTo }: Edit, e: PromptSide, a: PromptSide): string {
  const named = ({ ids, pieces }: PromptSide, from: number, to: number) => {
    const all = ids.slice(from, to).map((id, i) => `${id} ${JSON.stringify(pieces[from + i] ?? "")}`);
    return all.slice(0, NAMED).join(", ") + (all.length > NAMED ? ", ..." : "");
  };
  const [missing, added] = [expectedTo - expectedFrom, actualTo - actualFrom];
  if (missing === 0) return `${counted(added, "token")} more, ${named(a, actualFrom, actualTo)}`;
  if (added === 0) return `${counted(missing, "token")} fewer, ${named(e, expectedFrom, expectedTo)}`;
  return `expected ${named(e, expectedFrom, expectedTo)}, actual ${named(a, actualFrom, actualTo)}`;
}

export function againstText(comparison: PromptComparison, all: boolean): string {
  const { expected, actual, alignment, isAlike, aligned } = comparison;
  const side = (label: string, { name, ids }: PromptSide) => `${label} ${name}: ${counted(ids.length, "token")}`;
  const lines = [
    `${isAlike ? "alike" : "divergent"}: ${sentenceOf(comparison)}`,
    side("expected", expected),
    side("actual  ", actual),
  ];
  if (expected.rendered !== null && actual.rendered !== null) {
    const difference = templateDifference(expected, actual);
    lines.push(
      difference === null
        ? `rendered chat: alike, ${counted([...actual.rendered].length, "character")}`
        : `rendered chat: differs ${difference}`,
    );
  }
  if (!isAlike) {
    lines.push(
      aligned === 0
        ? `none of ${counted(alignment.actual.length, "position")} aligns: runs over these cannot be compared`
        : `${aligned} of ${counted(alignment.actual.length, "position")} align; faultline compare goes on over these`,
    );
  }
  const rows = rowsOf(comparison);
  const shown = all || rows.length <= SHORT ? rows : surroundings(rows);
  const left = rows.length - shown.length;
  const omitted = left === 0 ? "" : `${counted(left, "row")} without a difference nearby left out; --all shows them\n`;
  return `${lines.join("\n")}\n${shown.length === 0 ? "" : `\n${table(COLUMNS, shown.map(cellsOf))}`}${omitted}`;
}

/** Rows up to which all are shown. */
const SHORT = 60;
/** Rows shown before and after a difference. */
const NEARBY = 3;

const COLUMNS: readonly Column[] = [
  { title: "position" },
  { title: "id" },
  { title: "expected", align: "left" },
  { title: "position", spare: 1 },
  { title: "id" },
  { title: "actual", align: "left" },
  { title: "", align: "left" },
];

interface Cell {
  readonly position: number;
  readonly id: number;
  readonly piece: string;
}

interface Row {
  /** Null for a gap: the other side has a token more here. */
  readonly expected: Cell | null;
  readonly actual: Cell | null;
  readonly differs: boolean;
}

/** Both sequences as rows: every position of either stands in one, in order. */
export function rowsOf({ expected, actual, alignment }: Pick<PromptComparison, "expected" | "actual" | "alignment">) {
  const cell = ({ ids, pieces }: PromptSide, position: number, to: number): Cell | null =>
    position < to ? { position, id: ids[position] ?? -1, piece: pieces[position] ?? "" } : null;
  const rows: Row[] = [];
  let [e, a] = [0, 0];
  const pass = (expectedTo: number, actualTo: number, differs: boolean) => {
    for (; e < expectedTo || a < actualTo; e++, a++)
      rows.push({ expected: cell(expected, e, expectedTo), actual: cell(actual, a, actualTo), differs });
    [e, a] = [expectedTo, actualTo];
  };
  for (const { expectedFrom, expectedTo, actualFrom, actualTo } of alignment.edits) {
    pass(expectedFrom, actualFrom, false);
    pass(expectedTo, actualTo, true);
  }
  pass(expected.ids.length, actual.ids.length, false);
  return rows;
}

function surroundings(rows: readonly Row[]): Row[] {
  const near = new Set<number>();
  rows.forEach(({ differs }, i) => {
    for (let n = i - NEARBY; differs && n <= i + NEARBY; n++) near.add(n);
  });
  return rows.filter((_, i) => near.has(i));
}

function cellsOf({ expected, actual, differs }: Row): string[] {
  const cells = (cell: Cell | null) =>
    cell === null ? ["", "", ""] : [String(cell.position), String(cell.id), `"${visible(cell.piece)}"`];
  const mark = !differs ? "" : expected === null ? "more" : actual === null ? "fewer" : "other";
  return [...cells(expected), ...cells(actual), mark];
}
