/** What `quant` prints: per type what quantised weights explain and what the engine added, and what it does to the text. */
import { z } from "zod";
import type { QuantFacts, QuantisedModel, SplitOp } from "../compare/quantisation.ts";
import { nameInLayer } from "../trace/taps.ts";
import { faultSentence } from "./audit-facts.ts";
import { colors } from "./colors.ts";
import { diagnosisJson, diagnosisSchema } from "./diagnosis.ts";
import { headline } from "./headline.ts";
import { short } from "./numbers.ts";
import { type Column, type TableData, table } from "./table.ts";
import { weightCheckJson, weightCheckSchema, weightCheckText } from "./weight-check.ts";

const figure = z.number().nullable();
const count = z.number().int();

const modelSchema = z.object({
  name: z.string(),
  file: z.string(),
  bytes: count,
  bits_per_weight: z.number(),
  /** Matrices that did not get the type that was asked for. */
  fallen_back: z.array(z.object({ name: z.string(), type: z.string(), columns: count, block: count.nullable() })),
  engine: z.object({
    verdict: z.enum(["match", "divergent"]),
    /** The op at which it adds most, and how much. */
    worst: z.object({ tap: z.string(), relL2: figure, allowed: figure }).nullable(),
    first: z.object({ tap: z.string(), relL2: figure, allowed: figure }).nullable(),
    faults: z.array(z.object({ tap: z.string(), sentence: z.string(), diagnosis: diagnosisSchema.nullable() })),
  }),
  ops: z.array(z.object({ tap: z.string(), total: figure, weights: figure, engine: figure, allowed: figure })),
  weights: weightCheckSchema.nullable(),
  weights_left_out: z.string().nullable(),
  text: z.object({
    predicted: count,
    perplexity: figure,
    perplexity_ratio: figure,
    mean_kl: figure,
    worst_kl: figure,
    same_top: figure,
    top5_overlap: figure,
  }),
  not_planted: z.array(z.string()),
});

export const quantSchema = z.object({
  schema: z.literal("faultline.quant/1"),
  verdict: z.enum(["match", "divergent"]),
  sentence: z.string(),
  requantised: z.boolean(),
  tokens: z.array(count),
  text_tokens: count,
  base: modelSchema,
  models: z.array(modelSchema),
});

/** True where the engine, not the quantisation, is at fault. */
const isEngine = ({ first, faults, weights }: QuantisedModel) =>
  first !== null || faults.length > 0 || (weights?.agreement.differing.length ?? 0) > 0;

const all = ({ base, models }: QuantFacts) => [base, ...models];

export const quantVerdict = (facts: QuantFacts): "match" | "divergent" =>
  all(facts).some(isEngine) ? "divergent" : "match";

/** True if `a` is the worse figure; NaN is the worst. */
const isWorse = (a: number, b: number) => a > b || (Number.isNaN(a) && !Number.isNaN(b));
const worstOf = (ops: readonly SplitOp[]) =>
  ops.reduce<SplitOp | null>((worst, op) => (worst === null || isWorse(op.engine, worst.engine) ? op : worst), null);

/** What is wrong with one type's run on the engine. */
function engineParts(model: QuantisedModel): string[] {
  const { name, first, faults, ops, weights } = model;
  const own = ops.find(({ tap }) => tap === first?.tap);
  const [fault] = faults;
  const differing = weights?.agreement.differing ?? [];
  const parts = [
    ...(first === null
      ? []
      : [
          `in ${name} ${first.tap} is the first op where the engine, not the quantisation, is at fault`,
          `it adds relL2 ${short(first.judgement.relL2)}, rounding explains ${short(first.judgement.allowed)}, and the weights alone account for ${short(own?.weights ?? null)}`,
        ]),
    ...(fault === undefined ? [] : [first === null ? `in ${name} ${faultSentence(fault)}` : faultSentence(fault)]),
    ...(differing.length === 0
      ? []
      : [
          `${first === null && fault === undefined ? `in ${name} ` : ""}${differing[0]} is not decoded as ggml decodes it${differing.length > 1 ? `, nor are ${differing.length - 1} more` : ""}`,
        ]),
  ];
  return parts;
}

/** One sentence: the engine's part, or that it has none. */
export const quantSentence = (facts: QuantFacts): string => sentenceParts(facts).join("; ");

function sentenceParts(facts: QuantFacts): string[] {
  const models = all(facts);
  const guilty = models.filter(isEngine);
  if (guilty.length > 0) {
    const others = guilty.slice(1).map(({ name }) => name);
    const first = guilty[0] === undefined ? [] : engineParts(guilty[0]);
    return others.length === 0 ? first : [...first, `and in ${others.join(", ")} too`];
  }
  const worst = models
    .map((model) => ({ model, op: worstOf(model.ops) }))
    .reduce((a, b) => (isWorse(b.op?.engine ?? 0, a.op?.engine ?? 0) ? b : a));
  const logits = ({ ops }: QuantisedModel) => ops.find(({ tap }) => tap === "logits")?.weights ?? Number.NaN;
  const ordered = [...facts.models].sort((a, b) => logits(a) - logits(b));
  const [least, most] = [ordered[0], ordered.at(-1)];
  const range =
    least === undefined || most === undefined
      ? []
      : least === most
        ? [`the weights move the logits by ${short(logits(least))}`]
        : [
            `the weights move the logits by ${short(logits(least))} (${least.name}) to ${short(logits(most))} (${most.name})`,
          ];
  return [
    `in none of ${models.length} files does the engine add more than rounding explains: relL2 ${short(worst.op?.engine ?? null)} at most (${worst.op?.tap} of ${worst.model.name}, ${short(worst.op?.allowed ?? null)} allowed)`,
    ...range,
  ];
}

const finite = (value: number | null | undefined) => (value != null && Number.isFinite(value) ? value : null);

function modelJson(model: QuantisedModel): z.infer<typeof modelSchema> {
  const { name, file, bytes, bitsPerWeight, fallen, first, faults, ops, weights, text } = model;
  const worst = worstOf(ops);
  const { logits } = text;
  return {
    ...{ name, file, bytes, bits_per_weight: bitsPerWeight, fallen_back: fallen.map((each) => ({ ...each })) },
    engine: {
      verdict: isEngine(model) ? "divergent" : "match",
      worst: worst === null ? null : { tap: worst.tap, relL2: finite(worst.engine), allowed: finite(worst.allowed) },
      first:
        first === null
          ? null
          : { tap: first.tap, relL2: finite(first.judgement.relL2), allowed: finite(first.judgement.allowed) },
      faults: faults.map((fault) => ({
        ...{ tap: fault.tap, sentence: faultSentence(fault) },
        diagnosis: fault.diagnosis === null ? null : diagnosisJson(fault.diagnosis),
      })),
    },
    ops: ops.map(({ tap, total, weights: explained, engine, allowed }) => ({
      ...{ tap, total: finite(total), weights: finite(explained), engine: finite(engine), allowed: finite(allowed) },
    })),
    weights: weights === null ? null : weightCheckJson({ decoder: "ggml", ...weights }),
    weights_left_out: model.weightsLeftOut,
    text: {
      ...{ predicted: text.predicted, perplexity: finite(text.perplexity) },
      perplexity_ratio: finite(text.perplexity / text.basePerplexity),
      ...{ mean_kl: finite(logits?.meanKl), worst_kl: finite(logits?.worstKl) },
      same_top: logits === null ? null : logits.sameTop / logits.rows,
      top5_overlap: finite(logits?.overlap),
    },
    not_planted: [...model.notPlanted],
  };
}

/** The document of `quant --json`. */
export function quantJson(facts: QuantFacts): z.infer<typeof quantSchema> {
  const { base, models, isRequantised, tokens, textTokens } = facts;
  return quantSchema.parse({
    schema: "faultline.quant/1",
    ...{ verdict: quantVerdict(facts), sentence: quantSentence(facts), requantised: isRequantised },
    ...{ tokens: [...tokens], text_tokens: textTokens, base: modelJson(base), models: models.map(modelJson) },
  });
}

const TYPE_COLUMNS: readonly Column[] = [
  { title: "type", align: "left" },
  { title: "MB", spare: 5 },
  { title: "bits/weight", spare: 4 },
  { title: "logits by weights" },
  { title: "engine adds" },
  { title: "perplexity", spare: 2 },
  { title: "KL", spare: 1 },
  { title: "top 1", spare: 3 },
  { title: "top 5", spare: 6 },
  { title: "engine", align: "left" },
];

const percent = (share: number) => `${Number((100 * share).toPrecision(3))} %`;

function typeRow(model: QuantisedModel): string[] {
  const { name, bytes, bitsPerWeight, ops, text } = model;
  const { logits } = text;
  const worst = worstOf(ops);
  return [
    name,
    (bytes / 1e6).toFixed(1),
    bitsPerWeight.toFixed(2),
    short(ops.find(({ tap }) => tap === "logits")?.weights ?? null),
    short(worst?.engine ?? null),
    short(text.perplexity),
    logits === null ? "" : short(logits.meanKl),
    logits === null ? "" : percent(logits.sameTop / logits.rows),
    logits === null ? "" : percent(logits.overlap),
    isEngine(model) ? colors.red("at fault") : "clean",
  ];
}

/** The types side by side: size, what their weights do to the logits, what the engine adds, how well the text is predicted. */
export const typesTable = (facts: QuantFacts): TableData => ({ columns: TYPE_COLUMNS, rows: all(facts).map(typeRow) });

/** Taps of all layers under one name: the largest of each part. */
export function kindsTable({ models }: QuantFacts): TableData {
  const kinds = [...new Set(models[0]?.ops.map(({ tap }) => nameInLayer(tap)) ?? [])];
  const largest = ({ ops }: QuantisedModel, kind: string, part: "weights" | "engine") =>
    ops
      .filter(({ tap }) => nameInLayer(tap) === kind)
      .reduce((most, op) => (isWorse(op[part], most) ? op[part] : most), 0);
  const columns: Column[] = [
    { title: "op, worst layer", align: "left" },
    ...models.map(({ name }, i) => (i === 0 ? { title: name } : { title: name, spare: i })),
    { title: "engine, worst file" },
  ];
  const rows = kinds.map((kind) => [
    kind,
    ...models.map((model) => short(largest(model, kind, "weights"))),
    short(models.map((model) => largest(model, kind, "engine")).reduce((a, b) => (isWorse(b, a) ? b : a))),
  ]);
  return { columns, rows };
}

function fallenLine({ name, fallen }: QuantisedModel): string[] {
  if (fallen.length === 0) return [];
  const columns = [...new Set(fallen.map((each) => each.columns))].join(", ");
  const types = new Map<string, number>();
  for (const { type } of fallen) types.set(type, (types.get(type) ?? 0) + 1);
  const got = [...types].map(([type, times]) => `${times} to ${type}`).join(", ");
  const [first] = fallen;
  const why = first?.block == null ? "" : `: rows of ${columns} are no multiple of ${first.block}`;
  const names = fallen.slice(0, 3).map((each) => each.name);
  return [
    `${name}: ${fallen.length} matrices fell back (${got})${why}; ${names.join(", ")}${fallen.length > 3 ? ", ..." : ""}`,
  ];
}

/** The whole report for the terminal. Its first line is the verdict. */
export function quantText(facts: QuantFacts): string {
  const { base, models, isRequantised, tokens, textTokens } = facts;
  const verdict = quantVerdict(facts);
  const mark = verdict === "match" ? colors.green(colors.bold(verdict)) : colors.red(colors.bold(verdict));
  const guilty = all(facts).filter(isEngine);
  const kinds = kindsTable(facts);
  return [
    ...headline(mark, sentenceParts(facts)),
    `${base.file}: every op of ${tokens.length} tokens, predictions of ${textTokens - 1}`,
    ...(isRequantised
      ? [colors.yellow(`note: ${base.file} is quantised itself; what is measured is what further quantisation adds`)]
      : []),
    ...all(facts).flatMap(({ name, notPlanted }) =>
      notPlanted.map((reason) => colors.yellow(`note: ${name}: ${reason}`)),
    ),
    "",
    table(TYPE_COLUMNS, typesTable(facts).rows),
    "relL2 that the decoded weights alone explain, and what the engine added",
    table(kinds.columns, kinds.rows),
    ...models.flatMap(fallenLine),
    ...all(facts).map(({ name, weights, weightsLeftOut }) =>
      weights === null
        ? `${name}: weights not checked: ${weightsLeftOut ?? ""}`
        : `${name}: ${weightCheckText({ decoder: "ggml", ...weights }).trimEnd()}`,
    ),
    ...guilty.flatMap(({ faults }) => faults.map((fault) => `${colors.red(">>")} ${faultSentence(fault)}`)),
    "",
  ].join("\n");
}
