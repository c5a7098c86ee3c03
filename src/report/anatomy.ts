/** The shape of an error in words, one line a fact. */
import type {
  Anatomy,
  AnatomyFact,
  FitFact,
  GrowthFact,
  PeriodFact,
  PlaceFact,
  ValueFact,
} from "../compare/anatomy.ts";
import { nearOne, short } from "./numbers.ts";

const percent = (share: number) => `${Number((100 * share).toPrecision(3))} %`;

/** One line a fact, the most telling first; one that says how many elements are off where the error has no shape. */
export function anatomyText({ facts, wrong, count }: Anatomy): string[] {
  if (facts.length === 0) {
    return [
      `${wrong} of ${count} elements are off by more than rounding explains, without a pattern of places or values`,
    ];
  }
  const [place] = facts.filter((fact): fact is PlaceFact => "part" in fact);
  const constant = facts.find((fact): fact is ValueFact => fact.kind === "constant");
  // A place that all holds one number is one sentence.
  if (place === undefined || constant?.share !== 1) return facts.map(lineOf);
  const line = `${placed(place)} ${place.members.length === 1 ? "holds" : "hold"} ${short(constant.value)}`;
  return facts.filter((fact) => fact !== constant).map((fact) => (fact === place ? line : lineOf(fact)));
}

function lineOf(fact: AnatomyFact): string {
  switch (fact.kind) {
    case "tokens":
    case "heads":
    case "columns":
      return `${placed(fact)} ${fact.members.length === 1 ? "is" : "are"} wrong${rest(fact)}`;
    case "factor":
    case "row-factor":
    case "offset":
    case "column-offset":
      return FITS[fact.kind](fact);
    case "period":
    case "blocks":
      return REPEATED[fact.kind](fact);
    case "growth":
      return growing(fact);
    default:
      return VALUES[fact.kind](fact);
  }
}

/** Members of at most so many are listed. */
const LISTED = 8;
const NAMES = { tokens: "row", heads: "head", columns: "column" } as const;

function placed({ kind, part, members, of }: PlaceFact): string {
  const name = NAMES[kind];
  if (part === "even" || part === "odd") return `${part} ${name}s of ${of}`;
  if (part === "first-half" || part === "second-half") return `columns ${range(members)} of each head's ${of}`;
  return `${name}${members.length === 1 ? "" : "s"} ${range(members)} of ${of}`;
}

function range(members: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const each of members) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === each - 1) last[1] = each;
    else runs.push([each, each]);
  }
  const text = runs.slice(0, LISTED).map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`));
  return text.join(", ") + (runs.length > LISTED ? `, ... (${members.length} in all)` : "");
}

/** The right ones, where they are one. */
function rest({ kind, part, members, of }: PlaceFact): string {
  const right = Array.from({ length: of }, (_, i) => i).filter((i) => !members.includes(i));
  if (members.length !== of - 1 || part.endsWith("half")) return "";
  return `, ${NAMES[kind]} ${right[0]} is right`;
}

const FITS: Readonly<Record<FitFact["kind"], (fact: FitFact) => string>> = {
  factor: ({ value, r2 }) => `all are ${times(value)} what they should be (this explains ${percent(r2)} of the error)`,
  "row-factor": ({ value, most, r2 }) =>
    `each row has a factor of its own, ${times(value)} to ${times(most)} (this explains ${percent(r2)})`,
  offset: ({ value, r2 }) => `${short(value)} is added to all (this explains ${percent(r2)})`,
  "column-offset": ({ value, r2 }) =>
    `each column is off by the same in all rows, ${short(value)} at most (this explains ${percent(r2)})`,
};

/** Factors near 1 need more digits than others. */
const times = (factor: number) => {
  const text = nearOne(factor);
  return `${text.includes(" ") ? `(${text})` : text} times`;
};

const REPEATED: Readonly<Record<PeriodFact["kind"], (fact: PeriodFact) => string>> = {
  period: ({ size, r2 }) => `the error repeats every ${size} columns (this explains ${percent(r2)} of its variance)`,
  blocks: ({ size, r2 }) =>
    `the error goes by blocks of ${size} columns (this explains ${percent(r2)} of its variance)`,
};

const growing = ({ slope, first, last, at }: GrowthFact) =>
  `grows with the row: ${short(first)} at ${at[0]}, ${short(last)} at ${at[1]}, as its power ${Number(slope.toFixed(1))}`;

/** `all 8 wrong elements hold`, `3 wrong elements (60 % of them) hold`. */
const wrongOnes = ({ count, share }: ValueFact, one: string, many: string) =>
  count === 1
    ? `${share === 1 ? "the" : "1"} wrong element ${one}`
    : share === 1
      ? `all ${count} wrong elements ${many}`
      : `${count} wrong elements (${percent(share)} of them) ${many}`;

const VALUES: Readonly<Record<ValueFact["kind"], (fact: ValueFact) => string>> = {
  "non-finite": (fact) => `${wrongOnes(fact, "is", "are")} ${Number.isNaN(fact.value) ? "NaN" : "Inf"}`,
  constant: (fact) => `${wrongOnes(fact, "holds", "hold")} ${short(fact.value)}`,
  sign: (fact) => `${wrongOnes(fact, "has", "have")} the wrong sign and the right size`,
  "all-or-nothing": ({ share, value }) =>
    `elements are right or wholly wrong: ${percent(share)} are off by ${short(value)} of themselves, the others by nothing`,
  "f16-grid": ({ count }) => `all ${count} values are halves (f16)`,
  "bf16-grid": ({ count }) => `all ${count} values are bfloat16`,
  concentrated: ({ count, share }) =>
    `${count} element${count === 1 ? " holds" : "s hold"} ${percent(share)} of the error`,
};
