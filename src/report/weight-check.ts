/** Decoded weights against an independent decoder, in words: one line where all agree, a table of what differs. */
import { z } from "zod";
import type { Spread } from "../compare/spread.ts";
import type { WeightAgreement } from "../compare/weight-check.ts";
import type { WeightDifference } from "../compare/weight-difference.ts";
import { apart, short } from "./numbers.ts";
import { type Column, table } from "./table.ts";

export interface WeightCheck {
  /** Who decoded independently: ggml. */
  readonly decoder: string;
  readonly agreement: WeightAgreement;
  /** Of the tensors that differ, those whose values were looked into. */
  readonly differences: readonly WeightDifference[];
}

const number = z.union([z.number(), z.enum(["NaN", "Inf", "-Inf"])]);
const spreadSchema = z.object({
  of: z.number().int(),
  count: z.number().int(),
  ranges: z.array(z.tuple([z.number().int(), z.number().int()])),
  /** True if there are more ranges than these. */
  more: z.boolean(),
});

export const weightCheckSchema = z.object({
  decoder: z.string(),
  same: z.number().int(),
  same_blocks: z.number().int(),
  differing: z.array(z.string()),
  unlike: z.array(z.object({ name: z.string(), engine: z.string(), independent: z.string() })),
  engine_only: z.array(z.string()),
  independent_only: z.array(z.string()),
  differences: z.array(
    z.object({
      ...{ name: z.string(), type: z.string(), block: z.number().int() },
      ...{ elements: z.number().int(), of: z.number().int(), blocks: z.number().int(), of_blocks: z.number().int() },
      first: z
        .object({
          row: z.number().int(),
          block: z.number().int(),
          columns: z.tuple([z.number().int(), z.number().int()]),
        })
        .nullable(),
      ...{ rows: spreadSchema, blocks_of_row: spreadSchema },
      places: spreadSchema.extend({ name: z.string().nullable() }),
      largest: z
        .object({
          ...{ row: z.number().int(), column: z.number().int() },
          ...{ engine: number, independent: number, own: number },
        })
        .nullable(),
      ...{ non_finite: z.number().int(), zero_signs: z.number().int() },
      /** Elements by who differs from the other two. */
      alone: z.object({
        ...{ engine: z.number().int(), independent: z.number().int() },
        ...{ own: z.number().int(), nobody: z.number().int() },
      }),
    }),
  ),
});
type Json = z.infer<typeof weightCheckSchema>;

const jsonOf = (value: number) => (Number.isFinite(value) ? value : (short(value) as "NaN" | "Inf" | "-Inf"));
const spreadJson = ({ of, count, ranges, more }: Spread) => ({
  ...{ of, count, more },
  ranges: ranges.map(([first, last]): [number, number] => [first, last]),
});

export function weightCheckJson({ decoder, agreement, differences }: WeightCheck): Json {
  return {
    ...{ decoder, same: agreement.same.length, same_blocks: agreement.sameBlocks },
    ...{ differing: [...agreement.differing], unlike: agreement.unlike.map((each) => ({ ...each })) },
    ...{ engine_only: [...agreement.engineOnly], independent_only: [...agreement.independentOnly] },
    differences: differences.map(({ first, largest, places, ofBlocks, nonFinite, zeroSigns, alone, ...rest }) => ({
      ...{ name: rest.name, type: rest.type, block: rest.block },
      ...{ elements: rest.elements, of: rest.of, blocks: rest.blocks, of_blocks: ofBlocks },
      first: first === null ? null : { ...first, columns: [...first.columns] },
      ...{ rows: spreadJson(rest.rows), blocks_of_row: spreadJson(rest.blocksOfRow) },
      places: { ...spreadJson(places), name: places.name },
      largest:
        largest === null
          ? null
          : {
              ...{ row: largest.row, column: largest.column, engine: jsonOf(largest.engine) },
              ...{ independent: jsonOf(largest.independent), own: jsonOf(largest.own) },
            },
      ...{ non_finite: nonFinite, zero_signs: zeroSigns, alone: { ...alone } },
    })),
  };
}

/** Tensors of a list named at most. */
const NAMED = 5;
const listed = (names: readonly string[]) =>
  `${names.slice(0, NAMED).join(", ")}${names.length > NAMED ? ` and ${names.length - NAMED} more` : ""}`;
const tensors = (count: number) => `${count} tensor${count === 1 ? "" : "s"}`;

/** A line where all agree; else what differs, a row each. What was not compared is said in a line each. */
export function weightCheckText(check: WeightCheck): string {
  const { decoder, agreement, differences } = check;
  const { differing, unlike, engineOnly, independentOnly } = agreement;
  const shown = new Set(differences.map(({ name }) => name));
  const rest = differing.filter((name) => !shown.has(name));
  const line = (names: readonly string[], what: string) => (names.length === 0 ? [] : [`${what}: ${listed(names)}`]);
  return [
    headLine(check),
    ...(differences.length === 0 ? [] : [table(columnsOf(decoder), differences.map(rowOf(decoder))).trimEnd()]),
    ...differences.flatMap(({ name, elements }) =>
      elements === 0 ? [`${name}: no number differs; NaNs of other bits, or hashes of another tensor`] : [],
    ),
    ...line(rest, "differing, not looked into"),
    ...unlike.map(
      ({ name, engine, independent }) => `${name}: not compared, ${engine} here and ${independent} in ${decoder}`,
    ),
    ...line(engineOnly, `not in ${decoder}'s file`),
    ...line(independentOnly, "not recorded"),
    "",
  ].join("\n");
}

function headLine({ decoder, agreement: { same, sameBlocks, differing, unlike } }: WeightCheck): string {
  if (differing.length === 0 && unlike.length === 0) {
    return `${tensors(same.length)}, ${sameBlocks} blocks decoded as ${decoder} decodes them, to the bit`;
  }
  const compared = same.length + differing.length;
  if (differing.length === 0)
    return `${tensors(same.length)} decoded as ${decoder} decodes them; ${unlike.length} not comparable`;
  return `${differing.length} of ${tensors(compared)} not decoded as ${decoder} decodes them; first: ${differing[0]}`;
}

const columnsOf = (decoder: string): Column[] => [
  { title: "tensor", align: "left" },
  { title: "type", align: "left", spare: 1 },
  { title: "blocks" },
  { title: "first", align: "left", spare: 2 },
  { title: "places in a block", align: "left", spare: 3 },
  { title: "blocks of a row", align: "left", spare: 8 },
  { title: "largest at", align: "left", spare: 7 },
  { title: "here", align: "left", spare: 5 },
  { title: decoder, align: "left", spare: 6 },
  { title: "alone", align: "left", spare: 4 },
];

const rowOf = (decoder: string) => (found: WeightDifference) => {
  const { name, type, blocks, ofBlocks, first, places, blocksOfRow, largest } = found;
  return [
    ...[name, type, `${blocks} of ${ofBlocks}`],
    first === null ? "" : `row ${first.row}, columns ${first.columns.join(" to ")}`,
    places.of === 1 ? "" : (places.name ?? spreadText(places)),
    spreadText(blocksOfRow),
    ...(largest === null
      ? ["", "", ""]
      : [`row ${largest.row}, column ${largest.column}`, ...apart(largest.engine, largest.independent)]),
    aloneText(found, decoder),
  ];
};

/** Ranges of a set written out at most. */
const WRITTEN = 4;

/** `1 to 30 of 32`. */
function spreadText({ of, count, ranges, more }: Spread): string {
  if (count === 0) return "";
  if (count === of) return `all ${of}`;
  if (more || ranges.length > WRITTEN) return `${count} of ${of}`;
  return `${ranges.map(([first, last]) => (first === last ? `${first}` : `${first} to ${last}`)).join(", ")} of ${of}`;
}

/** Whose decoder differs from the two others. */
function aloneText({ alone }: WeightDifference, decoder: string): string {
  const voices: readonly (readonly [string, number])[] = [
    ["here", alone.engine],
    [decoder, alone.independent],
    ["own on the CPU", alone.own],
    ["no two agree", alone.nobody],
  ];
  const some = voices.filter(([, count]) => count > 0);
  return some.length === 1 ? (some[0]?.[0] ?? "") : some.map(([who, count]) => `${who} ${count}`).join(", ");
}
