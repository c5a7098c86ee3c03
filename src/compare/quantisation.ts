/**
 * Is it the quantisation? Each op's error against the unquantised model, in two parts: what the decoded weights alone explain (exact
 * arithmetic on them, by the oracle) and what the engine added to that. Facts only; src/report has the words.
 */
import type { Trace } from "../trace/reader.ts";
import { type ComparedOp, type Comparison, compareTraces } from "./compare.ts";
import type { Fault } from "./judged-audit.ts";
import { divergentVerdict } from "./judged-pair.ts";
import { type LogitsSummary, logitsRow, nextTokenNats, summariseLogits } from "./logits.ts";
import type { WeightAgreement } from "./weight-check.ts";
import type { WeightDifference } from "./weight-difference.ts";

/** relL2 of one op's output; total is not the sum of the others, for errors have directions. */
export interface SplitOp {
  readonly tap: string;
  /** Engine on the quantised weights against the oracle on the base's. */
  readonly total: number;
  /** Oracle on the quantised weights against the oracle on the base's: no engine is in it. */
  readonly weights: number;
  /** Engine against oracle, both on the quantised weights: no quantisation is in it. */
  readonly engine: number;
  /** What f32 arithmetic explains of `engine`. */
  readonly allowed: number;
}

/** Next-token predictions over a text, beside those of the base. */
export interface TextQuality {
  /** Tokens that were predicted. */
  readonly predicted: number;
  readonly perplexity: number;
  readonly basePerplexity: number;
  readonly logits: LogitsSummary | null;
}

/** A matrix that did not get the type that was asked for. */
export interface FallenMatrix {
  readonly name: string;
  readonly type: string;
  readonly columns: number;
  /** Elements of the block that its rows are no multiple of; null for another reason. */
  readonly block: number | null;
}

export interface QuantisedModel {
  /** `q4_0`, or the file's name. */
  readonly name: string;
  readonly file: string;
  readonly bytes: number;
  /** Bits of the file for each weight of it. */
  readonly bitsPerWeight: number;
  readonly fallen: readonly FallenMatrix[];
  readonly ops: readonly SplitOp[];
  /** The first op at which the engine differs from exact arithmetic on the same weights by more than rounding; null where none does. */
  readonly first: ComparedOp | null;
  /** That op by itself, recomputed from the engine's own inputs. */
  readonly faults: readonly Fault[];
  /** Weights as the engine decodes them against an independent decoder; null where that is not at hand, with the reason. */
  readonly weights: { readonly agreement: WeightAgreement; readonly differences: readonly WeightDifference[] } | null;
  readonly weightsLeftOut: string | null;
  readonly text: TextQuality;
  /** Planted faults that this file cannot have, with the reason. */
  readonly notPlanted: readonly string[];
}

export interface QuantFacts {
  readonly base: QuantisedModel;
  readonly models: readonly QuantisedModel[];
  /** True where the base's own weights are blocks already: what is measured is a further quantisation. */
  readonly isRequantised: boolean;
  readonly tokens: readonly number[];
  readonly textTokens: number;
}

/** The three runs whose differences are the parts. */
export interface SplitRuns {
  readonly base: Trace;
  readonly oracle: Trace;
  readonly engine: Trace;
}

/** Each op's error in its parts, and the comparison that judges the engine. Throws TraceError where the runs do not belong together. */
export async function splitErrors({
  base,
  oracle,
  engine,
}: SplitRuns): Promise<{ ops: SplitOp[]; judged: Comparison }> {
  const judged = await compareTraces(oracle, engine);
  const distances = async (expected: Trace, actual: Trace) =>
    new Map((await compareTraces(expected, actual)).ops.map(({ tap, judgement }) => [tap, judgement.relL2]));
  const [weights, total] = [await distances(base, oracle), await distances(base, engine)];
  const ops = judged.ops.map(({ tap, judgement }) => ({
    ...{ tap, total: total.get(tap) ?? Number.NaN, weights: weights.get(tap) ?? Number.NaN },
    ...{ engine: judgement.relL2, allowed: judgement.allowed },
  }));
  return { ops, judged };
}

/** The first op that the engine is blamed for, in execution order. */
export const engineFirst = ({ ops }: Comparison): ComparedOp | null =>
  ops.find((op) => op.isOrigin && divergentVerdict(op)) ?? null;

/** Predictions of a text by two models: rows of logits for tokens 0 ... n - 1, of which row i predicts token i + 1. */
export function textQuality(
  base: readonly Float32Array[],
  own: readonly Float32Array[],
  tokens: readonly number[],
): TextQuality {
  const predicted = tokens.length - 1;
  const nats = (rows: readonly Float32Array[]) =>
    rows.slice(0, predicted).reduce((sum, row, i) => sum + nextTokenNats(row, tokens[i + 1] ?? 0), 0) / predicted;
  const rows = own.map((row, i) => logitsRow(base[i] ?? row, row, i, 0));
  return {
    predicted,
    perplexity: Math.exp(nats(own)),
    basePerplexity: Math.exp(nats(base)),
    logits: summariseLogits(rows),
  };
}
