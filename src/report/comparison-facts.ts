/** The headline of a comparison, as facts and as a sentence, and its JSON document. */
import { z } from "zod";
import type { ComparedOp, Comparison } from "../compare/compare.ts";
import { TOKEN_CAUSES, tokenCause } from "../compare/token-cause.ts";
import { parseDims } from "../trace/dims.ts";
import { diagnosisSchema } from "./diagnosis.ts";
import { short, visible } from "./numbers.ts";

const place = z.object({
  /** Absolute position of the token, and its text. Column is head_dim where the row has heads, else key or channel. */
  position: z.number().int(),
  piece: z.string().nullable(),
  token: z.number().int(),
  head: z.number().int().nullable(),
  column: z.number().int(),
  expected: z.number().nullable(),
  actual: z.number().nullable(),
});

const firstSchema = z.object({
  step: z.number().int(),
  tap: z.string(),
  op: z.string(),
  kind: z.enum(["own-fault", "numeric", "non-finite", "shape", "token"]),
  /** Null where it is not finite. */
  relL2: z.number().nullable(),
  allowed: z.number().nullable(),
  at: place.nullable(),
  sentence: z.string(),
});
export type First = z.infer<typeof firstSchema>;

export const comparisonSchema = z.object({
  schema: z.literal("faultline.comparison/1"),
  verdict: z.enum(["match", "divergent"]),
  first: firstSchema.nullable(),
  origins: z.array(
    z.object({ step: z.number().int(), tap: z.string(), relL2: z.number().nullable(), allowed: z.number().nullable() }),
  ),
  /** Of a token sequence; causes of ops are named with the model, by `compare --model`, `audit` and `diagnose`. */
  diagnosis: diagnosisSchema.nullable(),
  totals: z.object({
    expected: z.number().int(),
    actual: z.number().int(),
    matched: z.number().int(),
    unmatched: z.number().int(),
    refused: z.number().int(),
  }),
  tokens: z.object({
    expected: z.array(z.number().int()),
    actual: z.array(z.number().int()),
    first_difference: z.number().int().nullable(),
    shift: z.number().int().nullable(),
  }),
  logits: z
    .object({
      rows: z.number().int(),
      same_top: z.number().int(),
      top5_overlap: z.number(),
      mean_kl: z.number().nullable(),
      worst_kl: z.number().nullable(),
    })
    .nullable(),
  /** Largest share of any budget that was used: the budgets times this is the least tolerance that would pass. */
  largest_share: z.number().nullable(),
  /** Records whose budget is so wide that nothing could have been seen. */
  cannot_be_seen: z.number().int(),
  ops: z.array(
    z.object({
      step: z.number().int(),
      tap: z.string(),
      op: z.string(),
      verdict: z.enum(["alike", "numeric", "non-finite", "other-context"]),
      evidence: z.enum(["hash", "values", "sketch", "statistics"]),
      relL2: z.number().nullable(),
      allowed: z.number().nullable(),
      budget: z.enum(["noise", "envelope"]),
      share: z.number().nullable(),
      worst_position: z.number().int().nullable(),
      cosine: z.number().nullable(),
      ulp_median: z.number().nullable(),
      ulp_p99: z.number().nullable(),
      largest: place.nullable(),
    }),
  ),
  unmatched: z.array(
    z.object({ side: z.enum(["expected", "actual"]), step: z.number().int(), tap: z.string(), reason: z.string() }),
  ),
  refused: z.array(
    z.object({ side: z.enum(["expected", "actual"]), step: z.number().int(), tap: z.string(), reason: z.string() }),
  ),
  warnings: z.array(z.string()),
});

const finite = (value: number | null) => (value !== null && Number.isFinite(value) ? value : null);

/** Where an element stands. */
function placeOf(op: ComparedOp, comparison: Comparison, at: ComparedOp["largest"]): First["at"] {
  if (at === null) return null;
  const position = op.posStart + at.token;
  const isWeight = op.tap.startsWith("weight:");
  return {
    position: isWeight ? at.token : position,
    piece: isWeight ? null : pieceAt(comparison, position),
    token: at.token,
    ...headAndColumn(comparison, op, at),
    expected: finite(at.expected),
    actual: finite(at.actual),
  };
}

/** Head and column of an element: the head is an axis of its own, or part of a merged one, `(head head_dim)`. */
function headAndColumn({ ops }: Comparison, op: ComparedOp, at: { outer: number; column: number }) {
  const axes = parseDims(op.dims);
  if (axes[0]?.[0] === "head") return { head: at.outer, column: at.column };
  const scores = ops.find((each) => each.dims === "head token key");
  const queries = ops.find((each) => each.dims === "token (head head_dim)");
  const headDim = scores && queries ? (queries.shape[1] ?? 0) / (scores.shape[0] ?? 1) : 0;
  if (axes.at(-1)?.at(-1) !== "head_dim" || headDim === 0) return { head: null, column: at.column };
  return { head: Math.floor(at.column / headDim), column: at.column % headDim };
}

function pieceAt({ tokens }: Comparison, position: number): string | null {
  return tokens.actualPieces[position] ?? null;
}

/** An element's place in words. */
export function placeText(at: NonNullable<First["at"]>): string {
  const token = at.piece === null ? `row ${at.token}` : `position ${at.position} "${visible(at.piece)}"`;
  const value = (number: number | null) => (number === null ? "not finite" : short(number));
  return `${token}${at.head === null ? "" : `, head ${at.head}`}, column ${at.column}: expected ${value(at.expected)}, actual ${value(at.actual)}`;
}

/** The headline: tokens first, then shapes, then the first origin. Null for a match. */
export function first(comparison: Comparison): First | null {
  const { tokens, tokenStep, refused, ops } = comparison;
  const none = { relL2: null, allowed: null, at: null };
  const origin = ops.find((op) => op.isOrigin);
  // A token chosen after an op went wrong is what the op led to.
  if (tokens.difference !== null && (origin === undefined || origin.step >= tokenStep)) {
    const { position, expected, actual, expectedPiece, actualPiece } = tokens.difference;
    const cause = causeOf(comparison);
    // Two ids may have one piece.
    const id = (of: number | null) => (expectedPiece === actualPiece ? `${of} ` : "");
    const side = (of: number | null, piece: string | null) =>
      piece === null ? "the end" : `${id(of)}"${visible(piece)}"`;
    const sentence = `the tokens differ at position ${position}: expected ${side(expected, expectedPiece)}, actual ${side(actual, actualPiece)}; ${tokenStep > 0 ? "no op before it is beyond its budget, so the choice lay within rounding or the samplers differ" : "what is computed after it must differ too"}${cause === null ? "" : `; ${cause.what} (${cause.hypothesis})`}`;

    return { step: tokenStep, tap: "tokens", op: "tokens", kind: "token", ...none, sentence };
  }
  const [refusal] = refused;
  if (refusal !== undefined && (origin === undefined || refusal.step <= origin.step)) {
    const { step, tap, reason } = refusal;
    return {
      step,
      tap,
      op: "",
      kind: "shape",
      ...none,
      sentence: `${tap} (step ${step}) cannot be compared: ${reason}`,
    };
  }
  if (origin === undefined) return null;
  const { step, tap, op, judgement, nonFinite } = origin;
  const isNonFinite = origin.verdict === "non-finite";
  const { relL2, allowed } =
    judgement.share > 1 && judgement.relL2 <= judgement.allowed && judgement.worst !== null
      ? judgement.worst
      : judgement;
  const rowOnly = judgement.relL2 <= judgement.allowed && !isNonFinite ? judgement.worst : null;
  const rowName = tap.startsWith("weight:") ? "row" : "the row of position";
  const row = rowOnly === null ? "" : ` in ${rowName} ${origin.posStart + rowOnly.token}`;
  const largest = rowOnly === null || origin.largest?.token === rowOnly.token ? origin.largest : null;
  const at = placeOf(origin, comparison, isNonFinite ? nonFinite.first : largest);
  const isNear = !isNonFinite && judgement.share < NEAR;
  const what = isNonFinite
    ? `${nonFinite.differing + nonFinite.same} element${nonFinite.differing + nonFinite.same === 1 ? " is" : "s are"} NaN or Inf${nonFinite.differing === 0 ? " on both sides" : ""}`
    : `relL2 ${atLeast(origin)}${short(relL2)}${row}, allowed ${short(allowed)}`;
  const sentence = `${tap} (step ${step}) is the first op ${whyFirst(origin)}: ${what}${at === null ? "" : `; ${isNonFinite ? "first" : "most"} at ${placeText(at)}`}${isNear ? "; that is near its budget, so a smaller error further up may be the cause" : ""}`;
  return {
    step,
    tap,
    op,
    kind: isNonFinite ? "non-finite" : "numeric",
    relL2: finite(relL2),
    allowed: finite(allowed),
    at,
    sentence,
  };
}

/** The cause of the first difference between the tokens; of tokens that a run chose itself there is none. */
function causeOf({ tokens, tokenStep, expected }: Comparison) {
  const isPrompt = tokenStep === 0 && (tokens.difference?.position ?? 0) < (expected.manifest.tokens[0]?.length ?? 0);
  return tokenCause(tokens, isPrompt);
}

/** A cause of the token sequence explains the first difference whole or not at all: its residual is 0. */
export function tokenDiagnosis(comparison: Comparison): z.infer<typeof diagnosisSchema> | null {
  const cause = causeOf(comparison);
  if (cause === null) return null;
  const none = { parameter: null, correctResidual: null, ties: [], runnerUp: null, fit: null };
  return { ...cause, ...none, residual: 0, tolerance: 0, evidence: "values", tried: TOKEN_CAUSES.length };
}

/** Times its budget below which an origin may have inherited most of its error from ops within theirs. */
const NEAR = 10;

/** What is known of an origin's inputs. */
function whyFirst({ unseen }: ComparedOp): string {
  if (unseen.length === 0) return "that differs while nothing that feeds it does";
  return `compared that differs; what feeds it was not compared (${unseen.join(", ")}), so the fault may lie there`;
}

const atLeast = (op: ComparedOp) =>
  op.evidence === "sketch" ? "about " : op.evidence === "statistics" ? "at least " : "";

/**
 * The figures that decide: the whole tensor's where it is beyond its budget, else its worst token's if that uses more of its own. An op
 * with NaN or Inf is within no budget, however near its finite elements are.
 */
export function decisive({ judgement, verdict }: ComparedOp) {
  if (verdict === "non-finite") {
    return { relL2: Number.NaN, allowed: judgement.allowed, share: Number.POSITIVE_INFINITY };
  }
  const share = ({ relL2, allowed }: { relL2: number; allowed: number }) => (relL2 === 0 ? 0 : relL2 / allowed);
  const { worst } = judgement;
  const figures = worst !== null && share(judgement) <= 1 && share(worst) > share(judgement) ? worst : judgement;
  return { relL2: figures.relL2, allowed: figures.allowed, share: share(figures) };
}

/** True if nothing could have been seen at this op: zeros would have passed its budget. */
export const isBlind = (op: ComparedOp) => op.verdict === "alike" && op.judgement.allowed >= 1;

/** The document of `compare --json`. */
export function comparisonJson(comparison: Comparison): z.infer<typeof comparisonSchema> {
  const { ops, tokens, logits, totals, verdict, warnings } = comparison;
  const left = ({ side, step, tap, reason }: Comparison["unmatched"][number]) => ({ side, step, tap, reason });
  const shares = ops.filter((op) => op.verdict !== "other-context").map((op) => op.judgement.share);
  const largest = shares.reduce((most, share) => (share > most || Number.isNaN(share) ? share : most), 0);
  return comparisonSchema.parse({
    schema: "faultline.comparison/1",
    verdict,
    first: first(comparison),
    origins: [...new Map(ops.filter((op) => op.isOrigin).map((op) => [`${op.step} ${op.tap}`, op])).values()].map(
      ({ step, tap, judgement }) => ({
        step,
        tap,
        relL2: finite(judgement.relL2),
        allowed: finite(judgement.allowed),
      }),
    ),
    diagnosis: tokenDiagnosis(comparison),
    totals,
    tokens: {
      expected: [...tokens.expected],
      actual: [...tokens.actual],
      first_difference: tokens.difference?.position ?? null,
      shift: tokens.shift,
    },
    logits:
      logits === null
        ? null
        : {
            rows: logits.rows,
            same_top: logits.sameTop,
            top5_overlap: logits.overlap,
            mean_kl: finite(logits.meanKl),
            worst_kl: finite(logits.worstKl),
          },
    largest_share: shares.length === 0 ? null : finite(largest),
    cannot_be_seen: ops.filter(isBlind).length,
    ops: ops.map((op) => ({
      step: op.step,
      tap: op.tap,
      op: op.op,
      verdict: op.verdict,
      evidence: op.evidence,
      relL2: finite(op.judgement.relL2),
      allowed: finite(op.judgement.allowed),
      budget: op.judgement.source,
      share: finite(op.judgement.share),
      worst_position: op.judgement.worst === null ? null : op.posStart + op.judgement.worst.token,
      cosine: op.cosine,
      ulp_median: op.ulps?.median ?? null,
      ulp_p99: op.ulps?.p99 ?? null,
      largest: placeOf(op, comparison, op.largest),
    })),
    unmatched: comparison.unmatched.map(left),
    refused: comparison.refused.map(left),
    warnings: [...warnings],
  });
}
