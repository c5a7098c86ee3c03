/** What `kv` prints: does the cache hold what the prefill computes, and what is at fault where the model is wrong. */
import { z } from "zod";
import { verdictOf } from "../compare/audit.ts";
import {
  AUDITED_RUNS,
  type AuditedRun,
  type CacheComparison,
  type CacheFacts,
  type CheckedPosition,
  faultAt,
  SUSPICIONS,
  type Suspicion,
  suspicionOf,
  suspicionOfTap,
} from "../compare/cache-check.ts";
import type { Fault } from "../compare/judged-audit.ts";
import { faultLines } from "./audit.ts";
import { faultSentence } from "./audit-facts.ts";
import { blindSpotsText } from "./blind-spots.ts";
import { colors } from "./colors.ts";
import { diagnosisJson, diagnosisSchema } from "./diagnosis.ts";
import { headline } from "./headline.ts";
import { figure, short, visible } from "./numbers.ts";
import { type Column, type TableData, table } from "./table.ts";

const positionSchema = z.object({
  position: z.number().int(),
  token: z.string().nullable(),
  ops: z.number().int(),
  parting: z.number().int(),
  first: z.string().nullable(),
  /** Null where it is not finite. */
  relL2: z.number().nullable(),
  logits_relL2: z.number().nullable(),
});

const comparedSchema = z.object({
  verdict: z.enum(["alike", "parts"]),
  /** True where nothing differs in any bit of value. */
  exact: z.boolean(),
  ops: z.number().int(),
  first: z.object({ position: z.number().int(), tap: z.string(), relL2: z.number().nullable() }).nullable(),
  positions: z.array(positionSchema),
});

export const cacheSchema = z.object({
  schema: z.literal("faultline.kv/1"),
  verdict: z.enum(["match", "divergent"]),
  sentence: z.string(),
  tokens: z.array(z.number().int()),
  /** The sequence in one step against token by token. */
  stepped: comparedSchema,
  /** Which run the suspicions were looked for in. */
  audited: z.enum(AUDITED_RUNS),
  /** Token by token against the same after other tokens went through the cache. */
  after_reset: comparedSchema.nullable(),
  suspicions: z.array(
    z.object({
      suspicion: z.enum(SUSPICIONS),
      verdict: z.enum(["clean", "at-fault", "not-judged"]),
      /** Ops recomputed from their own inputs. */
      ops: z.number().int(),
      faults: z.array(
        z.object({ tap: z.string(), steps: z.array(z.number().int()), diagnosis: diagnosisSchema.nullable() }),
      ),
    }),
  ),
  audit_left_out: z.string().nullable(),
  /** What neither run could have shown. */
  blind_spots: z.array(z.object({ id: z.string(), reason: z.string(), everywhere: z.boolean() })),
});

const WORDS: Readonly<Record<Suspicion, string>> = {
  cache: "what the cache holds",
  rope: "RoPE",
  attention: "attention scores",
  head: "final norm and head",
  other: "all other ops",
};

const listed = (taps: readonly string[]) =>
  taps.slice(0, 3).join(", ") + (taps.length > 3 ? `, and ${taps.length - 3} more` : "");

const WHOSE: Readonly<Record<AuditedRun, string>> = {
  stepped: "",
  prefill: "it is the prefill that is wrong: ",
  "after-reset": "after the reset ",
};

interface Suspected {
  readonly suspicion: Suspicion;
  readonly ops: number;
  readonly faults: readonly Fault[];
  readonly verdict: "clean" | "at-fault" | "not-judged";
}

/** True where the op that parts was recomputed and is right given what it read. */
function isUnexplained({ stepped, afterReset, audit }: CacheFacts): boolean {
  const first = stepped.verdict === "parts" ? stepped.first : (afterReset?.first ?? null);
  const isRight = audit?.ops.some((op) => op.tap === first?.tap && verdictOf(op) !== "not-judged") ?? false;
  return isRight && audit?.faults.length === 0;
}

/** Each suspicion with the proved and likely faults that bear it out. The cache is cleared by the comparisons, the others by the audit. */
function suspected(facts: CacheFacts): Suspected[] {
  const { audit, stepped, afterReset, further } = facts;
  const parts = stepped.verdict === "parts" || afterReset?.verdict === "parts";
  return SUSPICIONS.map((suspicion) => {
    const faults = [
      ...(audit?.faults ?? []).filter((fault) => suspicionOf(fault, facts) === suspicion),
      ...further.filter((fault) => suspicionOf(fault, { ...facts, audited: "prefill" }) === suspicion),
    ];
    const judged = (audit?.ops ?? []).filter(
      (op) => suspicionOfTap(op.tap) === suspicion && verdictOf(op) !== "not-judged",
    ).length;
    const isCache = suspicion === "cache";
    const ops = isCache ? stepped.ops + (afterReset?.ops ?? 0) : judged;
    // Where another suspicion is borne out at the op that parts, the cache holds what that op made of it.
    const isBlamed = isCache && parts && isUnexplained(facts);
    // That the runs part does not tell whether the cache or an op is wrong: a prefill without a mask parts too.
    const isJudged = isCache ? !parts || (audit?.faults.length ?? 0) > 0 : judged > 0;
    const verdict = faults.length > 0 || isBlamed ? "at-fault" : isJudged ? "clean" : "not-judged";
    return { suspicion, ops, faults, verdict };
  });
}

export const cacheVerdict = ({ stepped, afterReset, audit }: CacheFacts): "match" | "divergent" =>
  stepped.verdict === "parts" || afterReset?.verdict === "parts" || (audit?.faults.length ?? 0) > 0
    ? "divergent"
    : "match";

const alike = ({ isExact }: CacheComparison) => (isExact ? "to the bit" : "within what rounding explains");

/** Where two runs part, in words; null where they do not. */
function partSentence(compared: CacheComparison, one: string, other: string): string | null {
  const { first, comparison, verdict } = compared;
  if (verdict === "alike") return null;
  if (first === null) return `${one} and ${other} cannot be held against one another: they ran other tokens or shapes`;
  const { relL2 } = first.judgement;
  const off = first.verdict === "non-finite" ? "NaN or Inf" : `relL2 ${short(relL2)}`;
  const piece = comparison.tokens.actualPieces[first.posStart];
  const at = `position ${first.posStart}${piece === undefined ? "" : ` "${visible(piece)}"`}`;
  return `${one} parts from ${other} at ${at}, first at ${first.tap} (${off})`;
}

/** The fault that makes the runs part, or else the first; then the others. Null where none is known. */
function proofSentence({ stepped, afterReset, audit, audited, further }: CacheFacts): string | null {
  const faults = audit?.faults ?? [];
  const first = audited === "after-reset" ? (afterReset?.first ?? null) : stepped.first;
  const own = faultAt(first, faults, audited !== "prefill");
  const others = own === undefined ? faultAt(first, further, false) : undefined;
  const named = own ?? others ?? faults[0];
  if (named === undefined) return null;
  const whose = others === undefined ? WHOSE[audited] : WHOSE.prefill;
  const rest = [...faults, ...further].filter((fault) => fault !== named).map(({ tap }) => tap);
  const more = rest.length === 0 ? "" : `; ${listed(rest)} ${rest.length === 1 ? "is" : "are"} at fault too`;
  return `${whose}${faultSentence(named)}${more}`;
}

/** One sentence: is it the cache, or what else. */
export const cacheSentence = (facts: CacheFacts): string => sentenceParts(facts).join("; ");

function sentenceParts(facts: CacheFacts): string[] {
  const { stepped, afterReset, audit } = facts;
  const parts = partSentence(stepped, "token by token", "the prefill");
  const reset = afterReset === null ? null : partSentence(afterReset, "the run after a reset", "the first one");
  const proof = proofSentence(facts);
  const cleared = `token by token is the prefill ${alike(stepped)} at ${stepped.positions.length} positions${afterReset === null ? "" : ", after a reset too"}`;
  if (parts === null && reset === null) {
    if (proof !== null) return [`the cache is not it: ${cleared}`, proof];
    const judged =
      audit === null
        ? "no op was recomputed"
        : `${audit.ops.length - audit.counts["not-judged"]} ops recomputed, none at fault`;
    return [cleared, judged];
  }
  const blame =
    proof ??
    (isUnexplained(facts)
      ? "no op of either is wrong by itself given what it read, so what was read is"
      : "which op or run is wrong only an audit tells");
  return [parts, reset, blame].filter((words) => words !== null);
}

const finite = (value: number | null | undefined) => (value != null && Number.isFinite(value) ? value : null);

function comparedJson(compared: CacheComparison): z.infer<typeof comparedSchema> {
  const { verdict, isExact, ops, first, positions, comparison } = compared;
  return {
    ...{ verdict, exact: isExact, ops },
    first: first === null ? null : { position: first.posStart, tap: first.tap, relL2: finite(first.judgement.relL2) },
    positions: positions.map((each) => ({
      ...{ position: each.position, token: comparison.tokens.actualPieces[each.position] ?? null },
      ...{ ops: each.ops, parting: each.parting, first: each.first?.tap ?? null },
      ...{ relL2: finite(each.first?.judgement.relL2), logits_relL2: finite(each.logits) },
    })),
  };
}

/** The document of `kv --json`. */
export function cacheJson(facts: CacheFacts): z.infer<typeof cacheSchema> {
  const { stepped, afterReset, auditLeftOut } = facts;
  return cacheSchema.parse({
    schema: "faultline.kv/1",
    verdict: cacheVerdict(facts),
    sentence: cacheSentence(facts),
    audited: facts.audited,
    tokens: [...stepped.comparison.tokens.actual],
    stepped: comparedJson(stepped),
    after_reset: afterReset === null ? null : comparedJson(afterReset),
    suspicions: suspected(facts).map(({ suspicion, verdict, ops, faults }) => ({
      ...{ suspicion, verdict, ops },
      faults: faults.map(({ tap, steps, diagnosis }) => ({
        ...{ tap, steps: [...steps] },
        diagnosis: diagnosis === null ? null : diagnosisJson(diagnosis),
      })),
    })),
    audit_left_out: auditLeftOut,
    blind_spots: facts.blindSpots.map(({ id, reason, everywhere }) => ({ id, reason, everywhere })),
  });
}

const POSITION_COLUMNS: readonly Column[] = [
  { title: "position" },
  { title: "token", align: "left" },
  { title: "ops", spare: 2 },
  { title: "part" },
  { title: "first", align: "left" },
  { title: "relL2" },
  { title: "logits relL2", spare: 1 },
];

/** What parts at each position. */
export const cachePositions = ({ positions, comparison }: CacheComparison): TableData => ({
  columns: POSITION_COLUMNS,
  rows: positions.map(({ position, ops, parting, first, logits }: CheckedPosition) => [
    String(position),
    `"${visible(comparison.tokens.actualPieces[position] ?? "")}"`,
    String(ops),
    parting === 0 ? "" : colors.red(String(parting)),
    first?.tap ?? "",
    first === null ? "" : short(first.judgement.relL2),
    figure(logits),
  ]),
});

/** What is suspected, and whether it is borne out. */
export const suspicionsTable = (facts: CacheFacts): TableData => ({
  columns: [
    { title: "suspicion", align: "left" },
    { title: "verdict", align: "left" },
    { title: "by", align: "left", spare: 1 },
    { title: "where", align: "left" },
  ],
  rows: suspected(facts).map(({ suspicion, verdict, ops, faults }) => [
    WORDS[suspicion],
    verdict === "at-fault" ? colors.red("at fault") : verdict === "clean" ? "clean" : "not judged",
    `${ops} ops ${suspicion === "cache" ? "held against one another" : "recomputed"}`,
    listed(faults.map(({ tap }) => tap)),
  ]),
});

/** The whole report for the terminal. Its first line is the verdict. */
export function cacheText(facts: CacheFacts): string {
  const { stepped, afterReset, audit, auditLeftOut, further, blindSpots } = facts;
  const isMatch = cacheVerdict(facts) === "match";
  const mark = isMatch ? colors.green(colors.bold("match")) : colors.red(colors.bold("divergent"));
  const { manifest } = stepped.comparison.actual;
  const suspicions = suspicionsTable(facts);
  const shown = stepped.verdict === "parts" ? stepped : afterReset?.verdict === "parts" ? afterReset : null;
  return [
    ...headline(mark, sentenceParts(facts)),
    `${manifest.model.file}, ${stepped.comparison.tokens.actual.length} tokens, ${manifest.producer.dtype}${manifest.faults.length === 0 ? "" : `; planted: ${manifest.faults.join(", ")}`}`,
    "",
    table(suspicions.columns, suspicions.rows).trimEnd(),
    ...(auditLeftOut === null ? [] : [`audit: left out, ${auditLeftOut}`]),
    "",
    ...(shown === null
      ? []
      : [
          colors.bold(shown === stepped ? "token by token against the prefill" : "after a reset against the first run"),
          table(POSITION_COLUMNS, cachePositions(shown).rows),
        ]),
    ...(audit === null ? [] : faultLines(audit)),
    ...further.map((fault) => `${colors.red(">>")} of the prefill: ${faultSentence(fault)}\n`),
    ...(audit !== null && blindSpots.some(({ everywhere }) => everywhere) ? [blindSpotsText(blindSpots)] : []),
  ].join("\n");
}
