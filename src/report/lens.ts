/** What `lens` prints. */
import { z } from "zod";
import type { Lens, LensRow } from "../compare/lens.ts";
import { colors } from "./colors.ts";
import { figure, short, visible } from "./numbers.ts";
import { type Column, type TableData, table } from "./table.ts";

/** A run under the lens. */
export interface LensRun {
  /** `f32`, `oracle`, or the trace's path. */
  readonly name: string;
  readonly lens: Lens;
  /** KL(this run || the first), one a row of the first's; empty for the first itself. */
  readonly away: readonly (number | null)[];
}

export interface LensFacts {
  readonly model: string;
  readonly tokens: readonly number[];
  readonly layers: readonly number[];
  /** The first is the run that was asked for, the others stand beside it. */
  readonly runs: readonly [LensRun, ...LensRun[]];
  readonly piece: (id: number) => string;
}

const rowSchema = z.object({
  tap: z.string(),
  layer: z.number().int().nullable(),
  top: z.array(z.object({ id: z.number().int(), piece: z.string(), logit: z.number(), probability: z.number() })),
  low: z.number().nullable(),
  high: z.number().nullable(),
  entropy: z.number().nullable(),
  kl_to_last: z.number().nullable(),
  is_flat: z.boolean(),
  non_finite: z.number().int(),
});

export const lensSchema = z.object({
  schema: z.literal("faultline.lens/1"),
  model: z.string(),
  tokens: z.array(z.number().int()),
  layers: z.array(z.number().int()),
  /** ln(vocabulary): the entropy of logits that tell nothing apart. */
  uniform_entropy: z.number(),
  sentence: z.string(),
  runs: z.array(
    z.object({
      name: z.string(),
      collapse: z.string().nullable(),
      rows: z.array(rowSchema),
      /** KL(this run || the first), one a row of the first. */
      kl_from_first: z.array(z.number().nullable()),
    }),
  ),
});

export function lensJson(facts: LensFacts): z.infer<typeof lensSchema> {
  const { model, tokens, layers, runs, piece } = facts;
  const row = ({ tap, layer, top, low, high, entropy, kl, isFlat, nonFinite }: LensRow) => ({
    ...{ tap, layer, low, high, entropy, kl_to_last: kl, is_flat: isFlat, non_finite: nonFinite },
    top: top.map((token) => ({ ...token, piece: piece(token.id) })),
  });
  return lensSchema.parse({
    schema: "faultline.lens/1",
    ...{ model, tokens, layers, uniform_entropy: runs[0].lens.uniform, sentence: lensSentence(facts) },
    runs: runs.map(({ name, lens, away }) => ({
      ...{ name, collapse: lens.collapse?.tap ?? null, rows: lens.rows.map(row), kl_from_first: away },
    })),
  });
}

const collapsed = ({ collapse, uniform }: Lens) =>
  collapse === null
    ? null
    : collapse.nonFinite > 0
      ? `${collapse.tap} is the first after which logits are not finite (${collapse.nonFinite} of them)`
      : `the logits collapse at ${collapse.tap}: they span ${figure(collapse.low)} to ${figure(collapse.high)}, entropy ${figure(collapse.entropy)} of at most ${short(uniform)} nats: no token is told from another`;

/** Where the first run's logits collapse, and whether those beside it do too. */
export function lensSentence({ runs: [first, ...others] }: LensFacts): string {
  const here = collapsed(first.lens);
  const said = others.map(({ name, lens }) =>
    lens.collapse === null
      ? `${name} does not collapse`
      : lens.collapse.tap === first.lens.collapse?.tap
        ? `${name} collapses there too`
        : `${name} collapses at ${lens.collapse.tap}`,
  );
  const beside = here === null ? said.filter((words) => !words.endsWith("does not collapse")) : said;
  return [here ?? "no collapse: after every layer some tokens stand out", ...beside].join("; ");
}

/** Every layer's likeliest tokens and the shape of its logits, beside other runs. */
export function lensTable({ runs, piece }: LensFacts): TableData {
  const [first, ...others] = runs;
  const word = (id: number | undefined) => (id === undefined ? "?" : `"${visible(piece(id))}"`);
  const columns: readonly Column[] = [
    { title: "after", align: "left" },
    { title: first.name, align: "left" },
    { title: "logits from", spare: 4 },
    { title: "to", spare: 3 },
    { title: "entropy", spare: 1 },
    { title: "KL to last", spare: 2 },
    ...others.flatMap(({ name }) => [{ title: name, align: "left" as const }, { title: "KL" }]),
    { title: "", align: "left" },
  ];
  const rows = first.lens.rows.map((row, i) => [
    row.tap,
    row.top.map(({ id }) => word(id)).join(" "),
    ...[row.low, row.high, row.entropy, row.kl].map(figure),
    ...others.flatMap(({ lens, away }) => {
      const other = lens.rows.find(({ tap }) => tap === row.tap);
      return [word(other?.top[0]?.id), figure(away[i] ?? null)];
    }),
    row.nonFinite > 0 ? colors.red(`${row.nonFinite} NaN/Inf`) : row.isFlat ? colors.red("flat") : "",
  ]);
  return { columns, rows };
}

export function lensText(facts: LensFacts): string {
  const { model, tokens, runs } = facts;
  const [first] = runs;
  const { columns, rows } = lensTable(facts);
  const verdict = lensSentence(facts);
  const line = first.lens.collapse === null ? verdict : colors.red(colors.bold(verdict));
  return `${line}\n${model}, the last of ${tokens.length} tokens\n\n${table(columns, rows)}`;
}
