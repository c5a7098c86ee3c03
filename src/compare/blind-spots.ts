/**
 * What a run cannot show: faults that would change nothing, or nothing beyond rounding, at the ops where they could be made. Judged
 * from the model's graph and metadata, from the tokens and steps, and from the statistics of the run where there are any.
 */
import type { Model } from "../model/model.ts";
import { nameInLayer } from "../trace/taps.ts";
import { ATTENTION, CACHE, ROPE } from "./blind/attention.ts";
import type { Hidden, Needs, Reason } from "./blind/reasons.ts";
import type { Rule, Site } from "./blind/rule.ts";
import { type BlindRun, RunFacts } from "./blind/run-facts.ts";
import { ACTIVATION, MEMORY, PRECISION, RESIDUAL, TOKENS } from "./blind/stores.ts";
import { EMBED, LINEAR, NORM, QUANT } from "./blind/weights.ts";

export type { Needs, Reason } from "./blind/reasons.ts";
export type { BlindRun, CaptureFacts, TapStatistics } from "./blind/run-facts.ts";

const RULES: readonly Rule[] = [
  ...[EMBED, NORM, LINEAR, QUANT, ROPE, ATTENTION, CACHE, ACTIVATION, RESIDUAL, MEMORY, PRECISION],
].flat();

/** Every fault that is judged, by its id. */
export const JUDGED: readonly string[] = [...RULES, ...TOKENS].map(({ id }) => id);

export interface BlindSpot {
  readonly id: string;
  readonly reason: Reason;
  /** Numbers of the reason, at the first of the taps; what values reach, over all of them. */
  readonly facts: Hidden["facts"];
  /** Where the reason hides it; none for faults of the token sequence, and where no op of the run could have it. */
  readonly taps: readonly string[];
  /** True if nowhere in the run could it be seen. */
  readonly everywhere: boolean;
  /** What a run must have for it to be seen; null where the model or its values hide it. */
  readonly needs: Needs | null;
}

/** The blind spots of a run, in the order of the table of faults; an id has one for each reason. */
export function blindSpots(model: Model, run: BlindRun): BlindSpot[] {
  const facts = new RunFacts(model, run);
  return [...RULES.flatMap((rule) => spotsOf(rule, facts)), ...TOKENS.flatMap((rule) => tokenSpot(rule, facts))];
}

/** The blind spots of one fault. */
export function spotsOfFault(id: string, model: Model, run: BlindRun): BlindSpot[] {
  const facts = new RunFacts(model, run);
  const rules = RULES.filter((rule) => rule.id === id).flatMap((rule) => spotsOf(rule, facts));
  return [...rules, ...TOKENS.filter((rule) => rule.id === id).flatMap((rule) => tokenSpot(rule, facts))];
}

function spotsOf(rule: Rule, run: RunFacts): BlindSpot[] {
  const { id, kinds, names, checks } = rule;
  const nodes = run.model.graph.filter(
    ({ op }) => kinds.includes(op.kind) && (names === undefined || names.includes(nameInLayer(op.tap))),
  );
  if (nodes.length === 0) return [{ id, reason: "no-op", facts: {}, taps: [], everywhere: true, needs: null }];
  const byReason = new Map<Reason, { hides: Hidden; taps: string[] }>();
  let seen = 0;
  for (const node of nodes) {
    const hides = firstOf(checks, { node, op: node.op, model: run.model, run });
    if (hides === null) seen++;
    else {
      const group = byReason.get(hides.reason) ?? { hides, taps: [] };
      group.taps.push(node.op.tap);
      byReason.set(hides.reason, {
        ...group,
        hides: { ...group.hides, facts: widest(group.hides.facts, hides.facts) },
      });
    }
  }
  return [...byReason.values()].map(({ hides, taps }) => ({ id, ...hides, taps, everywhere: seen === 0 }));
}

const WIDER = { min: Math.min, max: Math.max, maxAbs: Math.max };

/** What values and scores reach, over two ops; other facts are the first op's. */
function widest(first: Hidden["facts"], second: Hidden["facts"]): Hidden["facts"] {
  const facts: Record<string, number | string> = { ...first };
  for (const [name, wider] of Object.entries(WIDER)) {
    const [a, b] = [first[name], second[name]];
    if (typeof a === "number" && typeof b === "number") facts[name] = wider(a, b);
  }
  return facts;
}

function firstOf(checks: Rule["checks"], site: Site): Hidden | null {
  for (const check of checks) {
    const hides = check(site);
    if (hides !== null) return hides;
  }
  return null;
}

function tokenSpot({ id, hides }: (typeof TOKENS)[number], run: RunFacts): BlindSpot[] {
  const why = hides({ model: run.model, run });
  return why === null ? [] : [{ id, ...why, taps: [], everywhere: true }];
}
