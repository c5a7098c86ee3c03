/** What `determinism` prints. */
import { z } from "zod";
import {
  CHECKS,
  type ChangedRange,
  type Check,
  type CheckName,
  type Difference,
  type Judgement,
} from "../compare/determinism.ts";
import { colors } from "./colors.ts";
import { seconds } from "./numbers.ts";
import { type TableData, table } from "./table.ts";

/** The elements of the first unstable op that change, and the tensor that they stand in. */
export interface Where extends ChangedRange {
  readonly shape: readonly [rows: number, columns: number];
  readonly dims: string;
}

export interface DeterminismFacts {
  readonly judgement: Judgement;
  readonly where: Where | null;
  readonly model: string;
  readonly device: string;
  readonly dtype: string;
  readonly tokens: readonly number[];
  readonly steps: number;
  readonly faults: readonly string[];
  readonly leftOut: readonly { readonly name: CheckName; readonly reason: string }[];
  readonly elapsedMs: number;
}

const differenceSchema = z.object({
  step: z.number().int(),
  tap: z.string(),
  op: z.string(),
  /** Ops after it in execution order, and how many of them differ too. */
  following: z.number().int(),
  differing: z.number().int(),
});
const range = z.tuple([z.number().int(), z.number().int()]);
const checkName = z.enum(Object.keys(CHECKS) as [CheckName, ...CheckName[]]);

export const determinismSchema = z.object({
  schema: z.literal("faultline.determinism/1"),
  verdict: z.enum(["deterministic", "unstable"]),
  cause: z.enum(["race", "memory", "observer", "unknown"]).nullable(),
  first: differenceSchema.nullable(),
  /** The first op at which runs over equal memory differ. */
  race: differenceSchema.nullable(),
  /** Elements of `first` that change, first and last of rows and columns, both included. */
  where: z
    .object({ rows: range, columns: range, changed: z.number().int(), shape: range, dims: z.string() })
    .nullable(),
  checks: z.array(
    z.object({
      check: checkName,
      what: z.string(),
      runs: z.number().int(),
      /** Hashes compared in each run. */
      ops: z.number().int(),
      result: z.enum(["same", "differs", "unjudged"]),
      first: differenceSchema.nullable(),
      /** The run of this check that differs first, from 1. */
      run: z.number().int().nullable(),
    }),
  ),
  left_out: z.array(z.object({ check: checkName, reason: z.string() })),
  model: z.string(),
  device: z.string(),
  dtype: z.string(),
  tokens: z.array(z.number().int()),
  steps: z.number().int(),
  faults: z.array(z.string()),
  elapsed_ms: z.number(),
});

const placeOf = (difference: Difference | null) => {
  if (difference === null) return null;
  const { index: _, ...place } = difference;
  return place;
};

export function determinismJson(facts: DeterminismFacts): z.infer<typeof determinismSchema> {
  const { judgement, where, leftOut, elapsedMs, ...rest } = facts;
  return determinismSchema.parse({
    schema: "faultline.determinism/1",
    ...{ verdict: judgement.verdict, cause: judgement.cause },
    ...{ first: placeOf(judgement.first), race: placeOf(judgement.race), where },
    checks: judgement.checks.map(({ name, runs, ops, result, first, run }) => ({
      ...{ check: name, what: CHECKS[name].what, runs, ops, result, first: placeOf(first), run },
    })),
    left_out: leftOut.map(({ name, reason }) => ({ check: name, reason })),
    ...rest,
    elapsed_ms: Math.round(elapsedMs),
  });
}

const CAUSES: Readonly<Record<NonNullable<Judgement["cause"]>, string>> = {
  race: "runs over the same memory differ, so it is a race: a lost write, a missing barrier, an order of sums that is not fixed",
  memory:
    "it follows what the memory held before, run for run: it reads what nobody wrote, or leaves a part of its output unwritten",
  observer: "it follows the trace, run for run: recording changes what is computed",
  unknown:
    "neither a race, nor memory, nor the trace could be shown to be the cause: it may show rarely; repeat with a larger -r",
};

export function determinismText(facts: DeterminismFacts): string {
  const { leftOut, model, device, dtype, tokens, steps, elapsedMs } = facts;
  const run = `${tokens.length} prompt token${tokens.length === 1 ? "" : "s"} and ${steps} decode step${steps === 1 ? "" : "s"}`;
  const checks = checksTable(facts);
  const left = leftOut.map(({ name, reason }) => `${name} was left out: ${reason}\n`);
  return [
    `${determinismVerdict(facts)}\n`,
    table(checks.columns, checks.rows),
    ...left,
    colors.dim(`${model}, ${run}, ${dtype}, ${seconds(elapsedMs)} on ${device}`),
    "\n",
  ].join("");
}

/** Every check with its result. */
export function checksTable({ judgement }: DeterminismFacts): TableData {
  return {
    columns: [
      { title: "check", align: "left" },
      { title: "what", align: "left", spare: 3 },
      { title: "runs", spare: 1 },
      { title: "ops", spare: 2 },
      { title: "result", align: "left" },
      { title: "first op", align: "left" },
    ],
    rows: judgement.checks.map((check) => [
      check.name,
      CHECKS[check.name].what,
      String(check.runs),
      String(check.ops),
      RESULTS[check.result](check.result),
      check.first === null ? "" : firstText(check),
    ]),
  };
}

const RESULTS: Readonly<Record<Check["result"], (text: string) => string>> = {
  same: colors.green,
  differs: colors.red,
  unjudged: colors.yellow,
};

/** The verdict with its cause and place; its first line says it all. */
export function determinismVerdict({ judgement, where }: DeterminismFacts): string {
  const { cause, first, race } = judgement;
  if (first === null || cause === null) {
    return `${colors.green("deterministic")}: every op has the same bits in every run`;
  }
  const lines = [
    `${colors.red("unstable")}: ${colors.bold(first.tap)} (step ${first.step}) is the first op whose bits are not the same in every run; ${CAUSES[cause]}`,
  ];
  if (where !== null) {
    const [rows, columns] = where.shape;
    lines.push(
      `${span("row", where.rows, rows)}, ${span("column", where.columns, columns)} change (${where.changed} of ${rows * columns} elements, ${where.dims})`,
    );
  }
  lines.push(`${first.differing} of ${first.following} ops after it differ too`);
  if (race !== null && race.index > first.index) {
    lines.push(`runs over the same memory differ as well, from ${race.tap} (step ${race.step}) on: a race`);
  }
  return lines.join("\n");
}

const span = (what: string, [first, last]: readonly [number, number], count: number) =>
  first === last ? `${what} ${first} of ${count}` : `${what}s ${first}-${last} of ${count}`;

function firstText({ name, first, run, result }: Check): string {
  if (first === null) return "";
  const against = name === "repeat" ? `run 1 and run ${run}` : `the base run and run ${run}`;
  const why = result === "unjudged" ? "; so do runs without it" : "";
  return `${first.tap} (step ${first.step}), between ${against}${why}`;
}
