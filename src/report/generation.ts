/** What `generate --against` prints: two texts, where they part, and how near the choice was. */
import { z } from "zod";
import type { Choice, GeneratedPair, GenerationFacts, Repetition } from "../compare/generation.ts";
import { divergentVerdict } from "../compare/judged-pair.ts";
import { clipped } from "./clip.ts";
import { colors } from "./colors.ts";
import { headline } from "./headline.ts";
import { figure, short, timesOver, visible } from "./numbers.ts";
import { type Column, table } from "./table.ts";

const count = z.number().int();
const sides = z.object({ expected: z.number().nullable(), actual: z.number().nullable() });
const choiceSchema = z.object({ id: count, piece: z.string(), logits: sides, ranks: sides }).nullable();
const pairSchema = z.object({ index: count, same_context: z.boolean(), expected: choiceSchema, actual: choiceSchema });
const repetitionSchema = z.object({ index: count, unit: z.array(count), times: count, text: z.string() }).nullable();

export const generatedSchema = z.object({
  schema: z.literal("faultline.generation-against/1"),
  verdict: z.enum(["match", "tie", "divergent"]),
  sentence: z.string(),
  prompt: z.array(count),
  expected: z.object({ ids: z.array(count), text: z.string(), repetition: repetitionSchema }),
  actual: z.object({ ids: z.array(count), text: z.string(), repetition: repetitionSchema }),
  /** The first token that differs; null where none does. */
  first: pairSchema.nullable(),
  /** Expected logit of the expected token less that of the second likeliest, and what two right computations may move a logit by. */
  margin: z.number().nullable(),
  noise: z.number().nullable(),
  kl: z.number().nullable(),
  /** What the reference says there with exact activations, where it was run so. */
  exact_choice: count.nullable(),
  pairs: z.array(pairSchema),
});

/** How ids are read. */
export interface Reading {
  readonly piece: (id: number) => string;
  readonly decode: (ids: readonly number[]) => string;
}

const quoted = (text: string) => `"${visible(text)}"`;
const tokens = (number: number) => `${number} token${number === 1 ? "" : "s"}`;

function repetitionText(whose: string, { index, unit, times }: Repetition, { decode }: Reading): string {
  return `the ${whose} text repeats ${quoted(decode(unit))} ${times} times from token ${index} on`;
}

/** Where the logits of the same text differ by more than they may; null where they do not. */
function logitsOff({ judged, comparison }: GenerationFacts): string | null {
  const off = judged.ops.find(divergentVerdict);
  if (off === undefined) return null;
  const { relL2, allowed } = off.judgement;
  const figures = off.verdict === "non-finite" ? "NaN or Inf" : `relL2 ${short(relL2)}, allowed ${short(allowed)}`;
  const from = judged === comparison ? "" : " from those of exact activations";
  return `the logits differ${from} beyond rounding from step ${off.step} on (${figures})`;
}

/**
 * Sides whose own logits of what they chose are NaN or Inf: the largest of such is nobody's choice. A sampled token may lie outside of
 * the logits, which is no fault of theirs.
 */
const brokenSides = ({ first, isSampled }: GenerationFacts) =>
  (["expected", "actual"] as const).filter((side) => !isSampled && isBroken(first?.[side]?.logits[side]));

const isBroken = (logit: number | null | undefined) => logit != null && !Number.isFinite(logit);

/** Behind the first difference: was the choice near, and what does an exact run say. */
function whyTheyPart(facts: GenerationFacts, { piece }: Reading): string {
  const { first, row, isSampled, exactChoice } = facts;
  const broken = brokenSides(facts);
  if (broken.length > 0) {
    return `the ${broken.join(" and the ")} logits are NaN or Inf there, so what stands for a token is no choice; 'faultline audit' says where that begins`;
  }
  if (isSampled) return "which is not the likeliest by its own logits: its sampler chose another";
  if (row === null) return "how near the choice was is not known: logits were not recorded on both sides";
  if (exactChoice !== null && exactChoice === first?.actual?.id) {
    return `the expected engine with exact activations says ${quoted(piece(exactChoice))} too: its rounding of activations turned a choice`;
  }
  const whose = exactChoice === null ? "the expected margin" : "the margin of exact activations";
  const [margin, moves] = [short(row.margin), 2 * row.noise];
  if (moves === 0) return `${whose} is ${margin}`;
  return row.margin <= moves
    ? `a near tie: ${whose} is ${margin}, and two right computations may move it by ${short(moves)}`
    : `${whose} is ${margin}, ${timesOver(row.margin / moves)} times what rounding may turn; KL ${short(row.kl)}`;
}

/** One sentence: the same text, a near tie, or where they part and by how much. */
export const generationSentence = (facts: GenerationFacts, reading: Reading): string =>
  sentenceParts(facts, reading).join("; ");

function sentenceParts(facts: GenerationFacts, reading: Reading): string[] {
  const { first, expected, actual, repetitions } = facts;
  const common = expected.findIndex((id, i) => actual[i] !== id);
  const alike = common < 0 ? Math.min(expected.length, actual.length) : common;
  const off = logitsOff(facts);
  const parts: string[] = [];
  if (first?.expected && first.actual) {
    const rank = (choice: Choice, side: "expected" | "actual") =>
      choice.ranks[side] === null || isBroken(choice.logits[side])
        ? ""
        : ` (rank ${choice.ranks[side]} ${side === "actual" ? "here" : "there"})`;
    const at = `the texts part at token ${first.index}: expected ${quoted(reading.piece(first.expected.id))}${rank(first.expected, "actual")}, actual ${quoted(reading.piece(first.actual.id))}${rank(first.actual, "expected")}`;
    parts.push(at);
    parts.push(whyTheyPart(facts, reading));
  } else parts.push(`the same ${tokens(alike)}: ${quoted(reading.decode(expected.slice(0, alike)))}`);
  if (off !== null) parts.push(`${first === null ? "yet " : ""}${off}`);
  if (brokenSides(facts).length > 0) return parts;
  const { expected: theirs, actual: ours } = repetitions;
  if (ours !== null && theirs === null) {
    parts.push(
      `${repetitionText("actual", ours, reading)}, the expected one does not: is it the cache? (faultline kv)`,
    );
  } else if (ours !== null) parts.push("both texts repeat themselves: that is the model");
  else if (theirs !== null) parts.push(repetitionText("expected", theirs, reading));
  return parts;
}

const finite = (value: number | null | undefined) => (value != null && Number.isFinite(value) ? value : null);

/** The document of `generate --against --json`. */
export function generatedJson(facts: GenerationFacts, reading: Reading): z.infer<typeof generatedSchema> {
  const { expected, actual, pairs, first, row, verdict, prompt, repetitions } = facts;
  const choice = (of: Choice | null) =>
    of === null
      ? null
      : {
          ...{ id: of.id, piece: reading.piece(of.id), ranks: of.ranks },
          logits: { expected: finite(of.logits.expected), actual: finite(of.logits.actual) },
        };
  const pair = (of: GeneratedPair) => ({
    ...{ index: of.index, same_context: of.sameContext },
    ...{ expected: choice(of.expected), actual: choice(of.actual) },
  });
  const side = (ids: readonly number[], repetition: Repetition | null) => ({
    ...{ ids: [...ids], text: reading.decode(ids) },
    repetition:
      repetition === null ? null : { ...repetition, unit: [...repetition.unit], text: reading.decode(repetition.unit) },
  });
  return generatedSchema.parse({
    schema: "faultline.generation-against/1",
    ...{ verdict, sentence: generationSentence(facts, reading), prompt: [...prompt] },
    ...{ expected: side(expected, repetitions.expected), actual: side(actual, repetitions.actual) },
    first: first === null ? null : pair(first),
    ...{
      margin: finite(row?.margin),
      noise: finite(row?.noise),
      kl: finite(row?.kl),
      exact_choice: facts.exactChoice,
      pairs: pairs.map(pair),
    },
  });
}

const COLUMNS: readonly Column[] = [
  { title: "token" },
  { title: "expected", align: "left" },
  { title: "logit", spare: 3 },
  { title: "rank here", spare: 1 },
  { title: "actual", align: "left" },
  { title: "logit", spare: 4 },
  { title: "rank there", spare: 2 },
  { title: "", align: "left" },
];

/** Of the first line; the texts stand below whole. */
const LONGEST_BEGIN = 140;

/** The whole report for the terminal. Its first line is the verdict. */
export function generationText(facts: GenerationFacts, reading: Reading): string {
  const { verdict, pairs, first, comparison, expected, actual } = facts;
  const [begins = "", ...more] = sentenceParts(facts, reading);
  const mark = verdict === "divergent" ? colors.red(colors.bold(verdict)) : colors.green(colors.bold(verdict));
  const side = (
    label: string,
    { path, manifest }: { path: string; manifest: typeof comparison.expected.manifest },
    ids: readonly number[],
  ) =>
    `${label} ${visible(`${manifest.producer.name} ${manifest.producer.version}`)}, ${manifest.producer.dtype}${manifest.producer.name === "" ? ` (${path})` : ""}: ${quoted(reading.decode(ids))}`;
  const word = (choice: Choice | null) => (choice === null ? "" : quoted(reading.piece(choice.id)));
  const rank = (value: number | null | undefined) => (value == null ? "" : String(value));
  const rows = pairs.map((pair) => [
    String(pair.index),
    word(pair.expected),
    figure(pair.expected?.logits.expected ?? null),
    rank(pair.expected?.ranks.actual),
    word(pair.actual),
    figure(pair.actual?.logits.actual ?? null),
    rank(pair.actual?.ranks.expected),
    pair.index === first?.index ? colors.red("<< first difference") : pair.sameContext ? "" : "another text before it",
  ]);
  return [
    ...headline(mark, [clipped(begins, LONGEST_BEGIN), ...more]),
    side("expected", comparison.expected, expected),
    side("actual  ", comparison.actual, actual),
    "",
    table(COLUMNS, rows),
  ].join("\n");
}
