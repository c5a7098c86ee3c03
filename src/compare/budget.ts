/** What a tap is allowed: noise of two right computations times a margin, or the envelope of two references. */
import { type Distance, type Evidence, ratio } from "./metrics.ts";

/**
 * The noise model follows first-order, root-mean-square errors; matrices may amplify an error by more than they do the signal. Allowed
 * is this many times the model. docs/numerics.md has the largest share of it that right computations were seen to use.
 */
export const MARGIN = 3;
/**
 * Against an envelope: multiples of what two trusted references differ by, of a whole tensor and of a single token's row, whose
 * natural difference scatters more. (In use elsewhere: 3 to 5 for tensors, 8 to 10 for small ones.)
 */
export const ENVELOPE_RATIO = 5;
export const ENVELOPE_RATIO_TOKEN = 10;

export interface Judgement {
  readonly relL2: number;
  readonly allowed: number;
  readonly source: "noise" | "envelope";
  /** Largest of measured / allowed over the whole and each token: beyond 1 is divergent. */
  readonly share: number;
  /** The token with the largest share. */
  readonly worst: { readonly token: number; readonly relL2: number; readonly allowed: number } | null;
}

/**
 * Estimates from 16 projections a row scatter: their squares follow chi-square with 16 degrees of freedom a row. This is the root of
 * its 1 - 1e-6 quantile over its mean (Wilson-Hilferty), so that a clean estimate passes its budget by chance once in a million.
 */
export function sketchSlack(rows: number): number {
  const variance = 2 / (9 * 16 * rows);
  return Math.sqrt((1 - variance + 4.7534 * Math.sqrt(variance)) ** 3);
}

/** Rounding of a sketch's own sums, relative to the row's norm: f32, 64 lanes and a tree (docs/numerics.md). A row's RMS has no more. */
export function sketchRounding(columns: number): number {
  return (Math.sqrt(columns / 64 + 8) + 1) * 2 ** -24;
}

export interface BudgetFacts {
  readonly evidence: Evidence;
  /** Rows that share a token (heads), and columns of each. */
  readonly outer: number;
  readonly columns: number;
  /** The tokens that are compared: what is allowed where the distance has no rows. */
  readonly rows: readonly number[];
  /** Relative noise of a token's row. */
  readonly noise: (token: number) => number;
  /** What the op alone adds to it in f32: the floor of an envelope, for references may share code and agree to the bit. */
  readonly own: (token: number) => number;
  /** Distance of expected and envelope at the same rows; null without one. */
  readonly envelope: Distance | null;
}

/** Judges a distance. */
export function judge(distance: Distance, facts: BudgetFacts): Judgement {
  const { evidence, outer, columns, envelope } = facts;
  const isSketch = evidence === "sketch";
  const floor = evidence === "values" ? 0 : sketchRounding(columns);
  const slack = (rows: number) => (isSketch ? sketchSlack(rows) : 1);
  const noiseOf = (token: number) => MARGIN * Math.hypot(facts.noise(token), floor);
  const natural = new Map(
    envelope?.tokens.map((each) => [each.token, each.expected > 0 ? each.difference / each.expected : 0]),
  );
  const floorOf = (token: number) => MARGIN * Math.hypot(facts.own(token), floor);

  let [allowedEnergy, share] = [0, 0];
  let worst: Judgement["worst"] = null;
  for (const { token, difference, expected } of distance.tokens) {
    const natural2 = natural.get(token);
    const base = natural2 === undefined ? noiseOf(token) : ENVELOPE_RATIO_TOKEN * Math.sqrt(natural2) + floorOf(token);
    const allowed = base * slack(outer);
    allowedEnergy += base ** 2 * expected;
    const relL2 = ratio(difference, expected);
    const part = relL2 === 0 ? 0 : relL2 / allowed;
    if (worst === null || part > share) {
      share = Math.max(share, part);
      worst = { token, relL2, allowed };
    }
  }
  const relL2 = ratio(distance.difference, distance.expected);
  const byEnvelope = envelope !== null && envelope.expected > 0;
  const whole = byEnvelope
    ? ENVELOPE_RATIO * ratio(envelope.difference, envelope.expected) + rootMeanSquare(facts.rows.map(floorOf))
    : ratio(allowedEnergy, distance.expected);
  const hasWhole = Number.isFinite(whole) && (byEnvelope || distance.tokens.length > 0);
  const base = hasWhole ? whole : rootMeanSquare(facts.rows.map(noiseOf));
  const allowed = base * slack(outer * Math.max(1, distance.tokens.length));
  const part = relL2 === 0 ? 0 : relL2 / allowed;
  return { relL2, allowed, source: byEnvelope ? "envelope" : "noise", share: Math.max(share, part), worst };
}

function rootMeanSquare(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}
