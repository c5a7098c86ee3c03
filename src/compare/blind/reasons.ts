/** Why a fault cannot be seen, and what a run needs for it to be seen. Words are in src/report/blind-spots.ts. */

/** What a run must have. Several are joined by the larger of each. */
export interface Needs {
  /** Tokens of the prompt, not all the same. */
  readonly tokens?: number;
  readonly decodeSteps?: number;
  /** A token that must be among them. */
  readonly token?: number;
  /** The prompt starts with BOS. */
  readonly bos?: true;
  /** Every value is recorded. */
  readonly full?: true;
  readonly dtype?: "f32";
  readonly kvCache?: true;
}

/** What each reason needs to go away; null where the model itself, or its values, are in the way. */
export const NEEDS = {
  "position-0": { tokens: 2 },
  "one-row": { tokens: 2 },
  "one-key": { tokens: 2 },
  "equal-rows": { tokens: 2 },
  "no-decode": { decodeSteps: 1 },
  "no-cache": { decodeSteps: 1, kvCache: true },
  "equal-decode": { tokens: 2, decodeSteps: 1 },
  "same-neighbour": null,
  "same-angles": null,
  "statistics-only": { full: true },
  "f16-run": { dtype: "f32" },
  "no-bos-first": { tokens: 2, bos: true },
  "not-known": null,
  "no-bos": null,
  "no-op": null,
  "not-square": null,
  "one-layer": null,
  "no-bias": null,
  "zero-bias": null,
  "tile-multiple": null,
  "one-column": null,
  "block-type": null,
  "one-block": null,
  "one-head": null,
  "one-pair": null,
  "same-factor": null,
  "same-head-map": null,
  "gain-one": null,
  "same-gains": null,
  "same-rms": null,
  "eps-small": null,
  "tied-head": null,
  "no-twin": null,
  "halves-already": null,
  "scores-small": null,
  "values-small": null,
  "values-large": null,
} as const satisfies Readonly<Record<string, Needs | null>>;

export type Reason = keyof typeof NEEDS;

/** A reason with the numbers that carry it. */
export interface Hidden {
  readonly reason: Reason;
  readonly facts: Readonly<Record<string, number | string>>;
  readonly needs: Needs | null;
}

export function hidden(reason: Reason, facts: Hidden["facts"] = {}, needs: Needs | null = NEEDS[reason]): Hidden {
  return { reason, facts, needs };
}

/** There are no statistics of the run. */
export const UNKNOWN: Hidden = hidden("not-known", { of: "the values of this run" });
