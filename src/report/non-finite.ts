/** NaN and Inf in words: where they began, from what, why, how far they went, and what hid them. */
import type { Absorbed, Absorption } from "../compare/absorbed.ts";
import type { FirstNonFinite, NonFiniteOp, NonFiniteStory } from "../compare/non-finite.ts";
import type { NonFiniteElement } from "../compare/non-finite-element.ts";
import type { Reason } from "../compare/non-finite-reason.ts";
import { short } from "./numbers.ts";

type Said<K extends Reason["kind"]> = Extract<Reason, { kind: K }>;

const limit = ({ format, largest }: { format: string | null; largest: number }) =>
  format === null
    ? `${short(largest)}, the most that it keeps`
    : `${largest < 1e5 ? largest : short(largest)}, the largest ${format}`;
const unlessDeclared = (certain: boolean, what: string) => (certain ? "" : `; ${what}`);

const REASONS: { readonly [K in Reason["kind"]]: (reason: Said<K>) => string } = {
  "sum-overflows": ({ of, size, certain, ...range }) =>
    of === "partial sums"
      ? `partial sums may pass ${limit(range)}: in some order of summing one comes to ${short(size)}`
      : `the right value ${short(size)} is beyond ${limit(range)}${unlessDeclared(certain, "the trace declares a wider format, but just the largest elements of the op are Inf")}`,
  "product-overflows": ({ a, b, size, ...range }) =>
    `the product ${short(a)} x ${short(b)} = ${short(size)} is beyond ${limit(range)}`,
  "exp-overflows": ({ argument, limit: most }) =>
    `exp(${short(argument)}) overflows in f32 (beyond ${short(most)}): exp is taken of a number that the formula keeps at 0 or below; a softmax must subtract its row's largest score. NaN stands at just the places where that gives it`,
  "zero-over-zero": ({ what, certain }) =>
    `0 / 0 in ${what}${unlessDeclared(certain, "every exp is 0 where the largest score is not subtracted")}`,
  "inf-over-inf": ({ what }) => `Inf / Inf in ${what}`,
  "inf-minus-inf": ({ what }) => `Inf - Inf: ${what}`,
  "zero-times-inf": ({ what }) => `0 x Inf: ${what}`,
  "empty-row": ({ keys }) =>
    `all ${keys} scores of its row are -Inf: a softmax without a key is 0 / 0; the mask hides every key`,
  "masked-key": ({ right }) =>
    `-Inf is what a mask writes; the model has no mask at this key, its score is ${short(right)}`,
  input: ({ input: { source, name, row, column, value } }) =>
    `its ${source} ${name} has ${short(value)} at row ${row}, column ${column}${source === "weight" ? " of the file" : ""}`,
  "not-explained": ({ right, half, limit: found }) =>
    [
      `not explained: inputs are finite and the right value is ${short(right)}; the memory was never written, or the kernel is wrong`,
      ...(half === null
        ? []
        : [`in half precision ${short(half.size)} would overflow, but the trace declares no such sums`]),
      ...(found === null
        ? []
        : [`a limit between ${short(found.kept)} and ${short(found.lost)} would do it: just the op's largest is Inf`]),
    ].join("; "),
  unknown: ({ why }) => `cannot be told: ${why}`,
};

export function reasonText(reason: Reason): string {
  const say = REASONS[reason.kind] as (reason: Reason) => string;
  return say(reason);
}

/** The whole story, a line each: first where, then operands, then why, then what became of it. */
export function nonFiniteText(story: NonFiniteStory): string[] {
  const { first, nan, ops, absorbed } = story;
  return [
    ...(first === null ? beginsSomewhere(ops[0]) : elementLines(first)),
    ...(nan === null ? [] : [`then ${whereText(nan)}: ${reasonText(nan.reason)}`]),
    ...spreadLines(story),
    ...absorbed
      .filter(({ kind }) => kind !== "right")
      .slice(0, SHOWN)
      .map(absorbedText),
  ];
}

/** Lines of one kind shown at most. */
const SHOWN = 5;

function elementLines(element: NonFiniteElement): string[] {
  const { extent, operands, reason } = element;
  const { elements, of, first, last } = extent;
  const together = elements > 1 && last - first + 1 === elements ? ", all together" : "";
  return [
    `first ${whereText(element)}; ${elements} of ${of} elements there are not finite${together}`,
    ...(operands.length === 0
      ? []
      : [`made of: ${operands.map(({ name, value }) => `${name} = ${short(value)}`).join(", ")}`]),
    `why: ${reasonText(reason)}`,
  ];
}

function whereText({ value, tap, step, place, tokenId }: NonFiniteElement): string {
  const { row, token, position, head, column, masked } = place;
  const parts = [
    `step ${step}`,
    token === null ? `row ${row}` : `row ${token} (token ${tokenId} at position ${position})`,
    ...(head === null ? [] : [`head ${head}`]),
    `column ${column}`,
    ...(masked ? ["a masked place"] : []),
  ];
  return `${value}: ${tap}, ${parts.join(", ")}`;
}

const beginsSomewhere = (op: NonFiniteOp | undefined) =>
  op === undefined
    ? []
    : [
        `first not finite: ${op.tap}, step ${op.step}, ${op.nan} NaN and ${op.inf} Inf of ${op.of}; the trace has no values of it, so neither element nor reason can be told`,
      ];

function spreadLines({ ops, opsAfter, logits, alsoBorn }: NonFiniteStory): string[] {
  if (ops.length === 0) return [];
  const positions = [...new Set(ops.flatMap((op) => op.positions ?? []))].sort((a, b) => a - b);
  const rows = positions.length === 0 ? "" : `, at ${counted(positions.length, "position")} (${listed(positions)})`;
  const reached =
    logits === null
      ? "the logits stay finite"
      : `logits from step ${logits.step} on${logits.positions === null ? "" : `, position ${logits.positions[0]}`}: ${logits.nan + logits.inf} of ${logits.of} are not finite`;
  return [
    `spread: ${ops.length} of ${counted(opsAfter, "op")} from there on${rows}; ${reached}`,
    ...(alsoBorn.length === 0
      ? []
      : [
          `also by themselves: ${alsoBorn
            .slice(0, SHOWN)
            .map(({ step, tap }) => `${tap} (step ${step})`)
            .join(", ")}${alsoBorn.length > SHOWN ? ` and ${alsoBorn.length - SHOWN} more` : ""}`,
        ]),
  ];
}

const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;
const listed = (numbers: readonly number[]) =>
  numbers.length <= SHOWN ? numbers.join(", ") : `${numbers[0]} to ${numbers.at(-1)}`;

const ABSORBED: Readonly<Record<Absorption, string>> = {
  right: "finite as they should be",
  hidden: "a norm's row with an Inf has scale 0: its finite elements are now 0 and mean nothing",
  lost: "finite although what they are made of is not",
  inside: "Inf arose inside the op and became 0: its rows are all 0, and no count of NaN or Inf shows it",
};

const absorbedText = ({ step, tap, kind, count, at }: Absorbed) =>
  `absorbed: ${tap}, step ${step}, ${counted(count, "element")} from row ${at.token ?? at.row}${at.head === null ? "" : `, head ${at.head}`}, column ${at.column} on: ${ABSORBED[kind]}`;

/** What can be said of a trace by its counts alone. */
export function firstNonFiniteText({ step, tap, nan, inf, of, wholeRows, rows, hasValues }: FirstNonFinite): string {
  const where =
    wholeRows.length > 0 ? `, ${wholeRows.length} of ${counted(rows, "row")} wholly (${listed(wholeRows)})` : "";
  const more = hasValues
    ? "faultline audit names the element and the reason"
    : "counts alone do not tell which element or why; trace with --capture full";
  return `first not finite: ${tap}, step ${step}, ${nan} NaN and ${inf} Inf of ${of}${where}; ${more}`;
}
