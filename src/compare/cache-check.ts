/**
 * Is the cache what the prefill computes? The sequence in one step, the same token by token, and again after other tokens went
 * through the same cache: op by op and position by position. Facts only; src/report has the words.
 */
import type { StepTokens } from "../oracle/op-case.ts";
import type { BlindSpot } from "./blind-spots.ts";
import type { ComparedOp, Comparison } from "./compare.ts";
import type { Fault, JudgedAudit } from "./judged-audit.ts";
import { divergentVerdict } from "./judged-pair.ts";

/** One step of a run that is held against another: a position, or the positions of a prefill. */
export interface CheckedPosition {
  readonly step: number;
  readonly position: number;
  /** Ops compared, and those that part. */
  readonly ops: number;
  readonly parting: number;
  /** The first of them in execution order; null where none does. */
  readonly first: ComparedOp | null;
  /** relL2 of the logits; null where they were not compared. */
  readonly logits: number | null;
}

/** Two runs of one sequence. */
export interface CacheComparison {
  readonly comparison: Comparison;
  readonly verdict: "alike" | "parts";
  readonly positions: readonly CheckedPosition[];
  /** The first op that parts, at the first position where one does. */
  readonly first: ComparedOp | null;
  readonly ops: number;
  /** True where nothing differs, not even by rounding. */
  readonly isExact: boolean;
}

/** What the story suspects, in the order in which an op's cause is looked for. */
export const SUSPICIONS = ["cache", "rope", "attention", "head", "other"] as const;
export type Suspicion = (typeof SUSPICIONS)[number];

export const AUDITED_RUNS = ["stepped", "prefill", "after-reset"] as const;
export type AuditedRun = (typeof AUDITED_RUNS)[number];

export interface CacheFacts {
  /** Expected: the whole sequence in one step. Actual: token by token. */
  readonly stepped: CacheComparison;
  /** Expected: token by token. Actual: the same after other tokens went through the cache; null where that was not run. */
  readonly afterReset: CacheComparison | null;
  /**
   * Of the run token by token; where every op of that is right by itself and another run parts from it, of that one. Null where
   * it was left out or could not be done, with the reason.
   */
  readonly audit: JudgedAudit | null;
  readonly audited: AuditedRun;
  /** Faults of the prefill at other ops, where those of the run token by token do not tell why it parts. */
  readonly further: readonly Fault[];
  readonly auditLeftOut: string | null;
  /** What neither the run token by token nor the prefill could have shown. */
  readonly blindSpots: readonly BlindSpot[];
}

const isOff = (op: ComparedOp) => op.judgement.relL2 !== 0 || op.verdict === "non-finite";

/**
 * Judges a comparison of two runs of one sequence. `exact`: right runs agree to the bit (design law 6), so that any difference is
 * one; else only what is beyond its budget is.
 */
export function cacheComparison(comparison: Comparison, exact: boolean): CacheComparison {
  const parts = (op: ComparedOp) => op.verdict !== "other-context" && (exact ? isOff(op) : divergentVerdict(op));
  const steps = new Map<number, ComparedOp[]>();
  for (const op of comparison.ops) steps.set(op.step, [...(steps.get(op.step) ?? []), op]);
  const positions = [...steps].map(([step, ops]): CheckedPosition => {
    const parting = ops.filter(parts);
    const logits = ops.find(({ tap }) => tap === "logits");
    return {
      ...{ step, position: Math.min(...ops.map(({ posStart }) => posStart)), ops: ops.length },
      ...{ parting: parting.length, first: parting[0] ?? null, logits: logits?.judgement.relL2 ?? null },
    };
  });
  const first = positions.find((each) => each.first !== null)?.first ?? null;
  const isWhole = comparison.refused.length === 0 && comparison.tokens.difference === null;
  return {
    ...{ comparison, positions, first, ops: comparison.ops.length },
    verdict: first === null && isWhole ? "alike" : "parts",
    isExact: comparison.ops.every((op) => !isOff(op)),
  };
}

const FAMILIES: Readonly<Record<string, Suspicion>> = { kv: "cache", rope: "rope", attn: "attention", head: "head" };
const NAMES: Readonly<Record<string, Suspicion>> = {
  ...{ q_rope: "rope", k_rope: "rope", attn_scores: "attention", attn_probs: "attention", attn_ctx: "attention" },
  ...{ final_norm: "head", logits: "head" },
};

/** What an op belongs to by its place; what the cache holds is no op's own. */
export const suspicionOfTap = (tap: string): Suspicion => NAMES[tap.replace(/^blk\.\d+\./, "")] ?? "other";

/**
 * Which suspicion an op at fault bears out: by its cause where one is named, and all that reproduce it speak for the same; without
 * one the cache, where the op parts from the prefill at its first step, else by what the op is.
 */
export function suspicionOf({ tap, diagnosis, steps }: Fault, { stepped, afterReset, audited }: CacheFacts): Suspicion {
  const families = new Set((diagnosis?.causes ?? []).map(({ hypothesis }) => FAMILIES[hypothesis.split(".")[0] ?? ""]));
  const [family] = families;
  if (families.size === 1 && family !== undefined) return family;
  const name = suspicionOfTap(tap);
  const first = audited === "stepped" ? stepped.first : audited === "after-reset" ? (afterReset?.first ?? null) : null;
  const partsFirst = first !== null && first.tap === tap && steps.includes(first.step);
  return name === "attention" && partsFirst ? "cache" : name;
}

/** The fault at the op where a run parts; undefined where none of these is there. Steps of another run are not held against it. */
export function faultAt(first: ComparedOp | null, faults: readonly Fault[], isSameRun: boolean): Fault | undefined {
  return faults.find(({ tap, steps }) => tap === first?.tap && (!isSameRun || steps.includes(first.step)));
}

/** True if some position was computed from a cache in the one run and together with those before it in the other. */
export function readsCache(prefill: readonly StepTokens[], stepped: readonly StepTokens[]): boolean {
  const startOf = (position: number) =>
    prefill.find(({ posStart, tokens }) => position >= posStart && position < posStart + tokens.length)?.posStart;
  return stepped.some(({ posStart }) => posStart > 0 && (startOf(posStart) ?? posStart) < posStart);
}
