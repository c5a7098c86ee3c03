/**
 * The shape of an error: where it lies, what form it has, what the wrong elements hold. Facts with their numbers, each with a
 * criterion that rounding does not meet; causes are named elsewhere.
 */
import { type FitFact, fitFacts } from "./anatomy/fits.ts";
import { type PlaceFact, placeFacts } from "./anatomy/sets.ts";
import { type GrowthFact, growthFact, type PeriodFact, periodFact } from "./anatomy/spectrum.ts";
import { type Anatomised, type Tally, tally } from "./anatomy/tally.ts";
import { allOrNothing, concentrated, type ValueFact, valueFacts } from "./anatomy/values.ts";

export type { FitFact } from "./anatomy/fits.ts";
export type { Part, PlaceFact } from "./anatomy/sets.ts";
export type { GrowthFact, PeriodFact } from "./anatomy/spectrum.ts";
export type { Anatomised } from "./anatomy/tally.ts";
export type { ValueFact } from "./anatomy/values.ts";

export type AnatomyFact = PlaceFact | FitFact | PeriodFact | GrowthFact | ValueFact;

export interface Anatomy {
  readonly count: number;
  /** Elements that are off by more than they may be. */
  readonly wrong: number;
  /** The most telling first, at most six. */
  readonly facts: readonly AnatomyFact[];
}

const MOST_FACTS = 6;

/** Facts of the error of one tensor. Throws where lengths contradict the shape: that is a fault of ours. */
export function anatomyOf(of: Anatomised): Anatomy {
  const found = tally(of);
  if (of.expected.length !== found.count || of.actual.length !== found.count) {
    throw new Error(`[${of.shape.join(", ")}] with ${of.expected.length} and ${of.actual.length} values`);
  }
  return { count: found.count, wrong: found.wrong, facts: factsOf(found).slice(0, MOST_FACTS) };
}

function factsOf(found: Tally): AnatomyFact[] {
  const values = valueFacts(found);
  const fits = fitFacts(found);
  // Form and grid need no element to be beyond what is allowed: rounding has no pattern.
  const grid = values.filter(({ kind }) => kind === "f16-grid" || kind === "bf16-grid");
  if (found.wrong === 0) return [...fits, ...grid];
  const places = placeFacts(found);
  const told = values.filter((fact) => !grid.includes(fact));
  const growth = growthFact(found.tokens);
  const isNegative = fits.some(({ kind }) => kind === "factor");
  const explained = places.length > 0 || told.length > 0;
  return [
    ...told.filter(({ kind }) => kind === "non-finite"),
    ...places,
    ...told.filter(({ kind }) => kind !== "non-finite" && !(kind === "sign" && isNegative)),
    ...fits,
    ...listed(growth),
    ...listed(places.some(({ kind }) => kind !== "tokens") ? null : periodFact(found)),
    ...grid,
    ...listed(explained || grid.length > 0 ? null : (concentrated(found) ?? allOrNothing(found))),
  ];
}

const listed = <T>(fact: T | null): T[] => (fact === null ? [] : [fact]);
