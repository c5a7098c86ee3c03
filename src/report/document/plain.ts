/** Reports that are tables and curves: a headline, facts, sections. */
import type { BlindSpot } from "../../compare/blind-spots.ts";
import { plain } from "../colors.ts";
import type { TableData } from "../table.ts";
import { blindSpotsOf } from "./blind-spots.ts";
import { type Report, type ReportSection, reportSchema } from "./schema.ts";
import { beginning, figure, worded } from "./wording.ts";

/** What the program says of itself and of the moment. */
export interface Made {
  readonly version: string;
  /** ISO 8601. */
  readonly created: string;
}

export interface PlainReport extends Made {
  readonly verdict: Report["verdict"];
  /** The verdict in the words of the command. */
  readonly finding: string;
  readonly sentence: string;
  readonly facts: readonly (readonly [label: string, value: string])[];
  readonly warnings?: readonly string[];
  readonly blindSpots?: readonly BlindSpot[];
  readonly sections: readonly ReportSection[];
}

/** The document: no map of ops, for there is no pair of traces. */
export function plainReport({
  verdict,
  finding,
  sentence,
  facts,
  warnings,
  blindSpots,
  sections,
  version,
  created,
}: PlainReport): Report {
  return reportSchema.parse({
    ...{ schema: "faultline.report/1", verdict, finding, proof: null, version, created },
    sentence: worded(plain(sentence)),
    facts: facts.map(([label, value]) => [label, worded(plain(value))]),
    warnings: (warnings ?? []).map((warning) => worded(plain(warning))),
    sections: [...sections],
    ...{
      blindSpots: blindSpotsOf(blindSpots ?? []),
      sides: { expected: null, actual: "", envelope: null },
      steps: [],
      columns: [],
      taps: [],
      ops: [],
    },
    ...{ findings: [], details: [], logits: [] },
    tokens: { expected: null, actual: [], prompt: 0, firstDifference: null },
  } satisfies Report);
}

export interface SectionParts {
  readonly id: string;
  readonly title: string;
  readonly intro: string;
  readonly lines?: readonly string[];
  /** `mark`: index of the row that matters most. */
  readonly tables?: readonly (readonly [caption: string, table: TableData, mark?: number | null])[];
  readonly curves?: readonly CurveParts[];
}

export interface CurveParts {
  readonly label: string;
  readonly x: string;
  readonly y: string;
  readonly series: readonly { readonly name: string; readonly values: readonly (number | null)[] }[];
  /** Name of each place along x. */
  readonly names: readonly string[];
}

/** Rows of a table that a report shows; its caption says which. */
const ROWS = 2000;

const cell = (text: string) => worded(plain(beginning(text)));

/** The part of a long table that its marked row is in, or its beginning. */
function shownRows(rows: TableData["rows"], mark: number | null) {
  const first = rows.length <= ROWS || mark === null ? 0 : Math.max(0, Math.min(mark - ROWS / 2, rows.length - ROWS));
  const shown = rows.slice(first, first + ROWS);
  const cut = shown.length === rows.length ? "" : `: rows ${first + 1} to ${first + shown.length} of ${rows.length}`;
  return { rows: shown.map((row) => row.map(cell)), mark: mark === null ? null : mark - first, cut };
}

/** A section from a terminal's tables, and curves over what the rows are. */
export function sectionOf({ id, title, intro, lines = [], tables = [], curves = [] }: SectionParts): ReportSection {
  return {
    ...{ id, title, intro },
    lines: lines.map((line) => worded(plain(line))),
    tables: tables.map(([caption, { columns, rows }, mark]) => {
      const { cut, ...shown } = shownRows(rows, mark ?? null);
      return {
        caption: worded(`${caption}${cut}`),
        columns: columns.map((column) => ({ title: worded(column.title), isNumber: column.align !== "left" })),
        ...shown,
      };
    }),
    curves: curves.map(({ label, x, y, series, names }) => ({
      ...{ label, x, y },
      points: series.flatMap(({ name, values }) =>
        values.map((value, i) => ({ x: i, y: figure(value), series: worded(name), name: worded(names[i] ?? "") })),
      ),
    })),
  };
}
