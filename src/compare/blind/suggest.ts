/** The smallest run that shows what another could not. */
import type { Model } from "../../model/model.ts";
import { type BlindRun, type BlindSpot, type Needs, spotsOfFault } from "../blind-spots.ts";
import { bosOf } from "./stores.ts";

/** A run to be made. Tokens of decode steps are the model's own choice. */
export interface SuggestedRun {
  readonly tokens: readonly number[];
  readonly decodeSteps: number;
  /** Options that must be given, or left out. */
  readonly level: "full" | null;
  readonly dtype: "f32" | null;
  readonly kvCache: true | null;
}

export interface Suggestion {
  readonly spot: BlindSpot;
  /** The smallest run that removes this spot; null where none is known for this model. */
  readonly run: SuggestedRun | null;
}

export interface Suggestions {
  readonly each: readonly Suggestion[];
  /** One run that removes all that can be removed; null where nothing can. It keeps the tokens and steps that the run had. */
  readonly all: SuggestedRun | null;
}

/** Remedies for the faults that a run cannot show anywhere. */
export function suggest(model: Model, run: BlindRun, spots: readonly BlindSpot[]): Suggestions {
  const blind = spots.filter(({ everywhere }) => everywhere);
  const each = blind.map((spot) => ({ spot, needs: removing(model, run, spot) }));
  const found = each.flatMap(({ needs }) => (needs === null ? [] : [needs]));
  const [first] = run.steps;
  const kept = { tokens: first?.tokens.length ?? 0, decodeSteps: run.steps.length - 1 };
  return {
    each: each.map(({ spot, needs }) => ({ spot, run: needs === null ? null : runOf(model, run, needs) })),
    all: found.length === 0 ? null : runOf(model, run, joined([kept, ...found])),
  };
}

/** Reasons come one behind another (one row, then equal rows), so needs are gathered until none is left. */
const MOST_REASONS = 4;

/** What a run needs for one fault to be seen somewhere; null where no run is known. */
function removing(model: Model, run: BlindRun, spot: BlindSpot): Needs | null {
  let needs = spot.needs;
  for (let tries = 0; tries < MOST_REASONS && needs !== null; tries++) {
    const left = spotsOfFault(spot.id, model, planned(model, run, needs)).filter(({ everywhere }) => everywhere);
    // Values of a run that was not made are not known.
    const reasons = left.filter(({ reason }) => reason !== "not-known");
    if (reasons.length === 0) return needs;
    const next = reasons.find((each) => each.needs !== null)?.needs ?? null;
    needs = next === null ? null : joined([needs, next]);
  }
  return null;
}

function joined(all: readonly Needs[]): Needs {
  const most = (of: "tokens" | "decodeSteps") => Math.max(0, ...all.map((needs) => needs[of] ?? 0));
  return Object.assign({}, ...all, { tokens: most("tokens"), decodeSteps: most("decodeSteps") });
}

function runOf(model: Model, run: BlindRun, needs: Needs): SuggestedRun {
  return {
    tokens: promptOf(model, run, needs),
    decodeSteps: needs.decodeSteps ?? 0,
    level: needs.full === true ? "full" : null,
    dtype: needs.dtype ?? null,
    kvCache: needs.kvCache ?? null,
  };
}

/** The run's own tokens as far as they go, with others among them where they must differ. */
function promptOf(model: Model, { steps }: BlindRun, { tokens = 0, token, bos }: Needs): number[] {
  const { vocab } = model.parameters;
  const wanted = [...(bos ? [bosOf(model)] : []), ...(steps[0]?.tokens ?? []), token].filter((id) => id !== undefined);
  const length = Math.max(1, tokens);
  const prompt = wanted.slice(0, length);
  for (let id = 0; prompt.length < length; id++) prompt.push((id * 37 + 11) % vocab);
  if (token !== undefined && !prompt.includes(token)) prompt[length - 1] = token;
  const last = prompt.at(-1) ?? 0;
  if (length > 1 && prompt.every((id) => id === last)) prompt[length - 1] = (last + 1) % vocab;
  return prompt;
}

/** A run as it is expected: tokens that the model would choose are taken to differ from those before them. */
function planned(model: Model, run: BlindRun, needs: Needs): BlindRun {
  const { tokens, decodeSteps, level, dtype, kvCache } = runOf(model, run, needs);
  const chosen = Array.from({ length: decodeSteps }, (_, i) => ({
    posStart: tokens.length + i,
    tokens: [((tokens.at(-1) ?? 0) + 1 + i) % model.parameters.vocab],
  }));
  const { statistics: _, ...capture } = run.capture;
  return {
    steps: [{ posStart: 0, tokens }, ...chosen],
    capture: {
      ...capture,
      level: level ?? capture.level,
      ...(dtype === null ? {} : { dtype }),
      ...(kvCache === null ? {} : { kvCache }),
    },
  };
}
