/** What a run cannot show, in words, grouped by reason; and what would show it. */
import type { SuggestedRun, Suggestions } from "../compare/blind/suggest.ts";
import { type BlindSpot, JUDGED, type Reason } from "../compare/blind-spots.ts";
import { short } from "./numbers.ts";

type Facts = BlindSpot["facts"];
const number = (facts: Facts, name: string) => short(Number(facts[name]));

/** Why, to follow the ids in brackets. */
const WHY: Readonly<Record<Reason, (facts: Facts) => string>> = {
  "position-0": () => "position 0 only",
  "one-row": () => "no step has two rows",
  "one-key": () => "one key only",
  "equal-rows": () => "all tokens are the same, so all rows are",
  "no-decode": () => "no decode step",
  "no-cache": () => "there is no KV cache",
  "equal-decode": () => "each decode step repeats the token before it",
  "same-neighbour": () => "the rows of these tokens and of their neighbours are the same",
  "same-angles": (f) => `up to position ${f.position} the angles differ by ${number(f, "difference")} at most`,
  "statistics-only": () => "statistics alone do not see a permutation within a row",
  "f16-run": () => "outputs are stored as f16 anyway",
  "no-bos-first": (f) => `the prompt does not begin with BOS, token ${f.bos}, and another`,
  "not-known": (f) => `nothing is known of ${f.of}`,
  "no-bos": () => "the model has no BOS",
  "no-op": () => "the pass has no such op",
  "not-square": (f) => `the weight has ${f.rows} rows of ${f.columns}, it is not square`,
  "one-layer": () => "one layer only",
  "no-bias": () => "no bias there",
  "zero-bias": () => "biases are 0",
  "tile-multiple": (f) => `K is ${f.K}, which tiles up to ${f.tile} divide`,
  "one-column": () => "K is 1",
  "block-type": (f) => `weights are ${f.type}, not ${f.types}`,
  "one-block": (f) => `a row of ${f.columns} is one block of ${f.type}`,
  "one-head": () => "one head only",
  "one-pair": () => "a head is one pair",
  "same-factor": (f) => `the factor would be the same: ${f.factor}`,
  "same-head-map": (f) => `${f.heads} heads over ${f.kvHeads} KV heads: both maps are the same`,
  "gain-one": () => "gains are 1",
  "same-gains": () => "both norms of the layer have the same gains",
  "same-rms": (f) => `rows have the same size to ${number(f, "spread")}`,
  "eps-small": (f) =>
    `beside rows of RMS ${number(f, "rms")} and more, eps ${f.eps} makes ${number(f, "effect")}, seen from ${number(f, "seen")}`,
  "tied-head": () => "the head is the embedding itself",
  "no-twin": () => "no earlier tensor of the layer has its shape",
  "halves-already": (f) => `the embedding is ${f.type} already`,
  "scores-small": (f) => `scores are ${number(f, "min")} to ${number(f, "max")}, exp overflows above 88.7`,
  "values-small": (f) => `values reach ${number(f, "maxAbs")}, the limit is ${f.limit}`,
  "values-large": (f) => `no value lies below ${number(f, "limit")}`,
};

/** What helps where no prompt does; elsewhere the model itself is in the way. */
const OTHERWISE: Partial<Readonly<Record<Reason, string>>> = {
  "block-type": "another quantisation of the model",
  "one-block": "a model with longer rows",
  "no-op": "a pass over more layers: --layers",
  "one-layer": "a pass over more layers: --layers, or a deeper model",
  "scores-small": "a prompt with larger scores; none is known",
  "values-small": "a prompt with larger values; none is known",
  "not-known": "the trace of this run, which knows its values",
};

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return groups;
}

/** `rope.* but position-plus-one`, or the ids one by one where most of the family can be seen. */
function named(ids: readonly string[]): string {
  const families = grouped(ids, (id) => id.slice(0, id.indexOf(".")));
  return [...families]
    .map(([family, hidden]) => {
      const all = JUDGED.filter((id) => id.startsWith(`${family}.`));
      const seen = all.filter((id) => !hidden.includes(id));
      if (hidden.length < 2 || seen.length * 2 >= all.length) return hidden.join(", ");
      const rest = seen.map((id) => id.slice(family.length + 1)).join(", ");
      return seen.length === 0 ? `${family}.*` : `${family}.* but ${rest}`;
    })
    .join(", ");
}

/** Spots with one reason and the same numbers, as one phrase each. */
function phrases(spots: readonly BlindSpot[]): { ids: string; why: string; spots: BlindSpot[] }[] {
  const groups = grouped(spots, ({ reason, facts }) =>
    // Which types a fault needs differs from id to id; that none is there is said once.
    reason === "block-type" ? reason : WHY[reason](facts),
  );
  return [...groups.values()].map((group) => {
    const [first] = group;
    const alone = new Set(group.map(({ id }) => id)).size === 1;
    const why =
      first === undefined
        ? ""
        : first.reason === "block-type" && !alone
          ? `weights are ${first.facts.type}`
          : WHY[first.reason](first.facts);
    return { ids: named([...new Set(group.map(({ id }) => id))]), why, spots: group };
  });
}

/** Spots with one reason as ids and why, for lists. */
export const blindSpotPhrases = (spots: readonly BlindSpot[]) => phrases(spots).map(({ ids, why }) => ({ ids, why }));

/** One line; empty where everything could be seen. */
export function blindSpotsText(spots: readonly BlindSpot[]): string {
  const everywhere = phrases(spots.filter((spot) => spot.everywhere));
  if (everywhere.length === 0) return "";
  return `this run cannot show: ${everywhere.map(({ ids, why }) => `${ids} (${why})`).join("; ")}\n`;
}

/** One line for each reason with what removes it, and last the command that removes all that can be removed. */
export function suggestionsText({ each, all }: Suggestions, model: string): string {
  const runs = new Map(each.map(({ spot, run }) => [spot, run]));
  const lines = phrases(each.map(({ spot }) => spot)).map(({ ids, why, spots }) => {
    const [spot] = spots;
    const run = spot === undefined ? null : (runs.get(spot) ?? null);
    const remedy = run !== null ? optionsOf(run) : (OTHERWISE[spot?.reason ?? "no-op"] ?? "not with this model");
    return `  ${ids} (${why}): ${remedy}\n`;
  });
  const command = all === null ? "" : `to show what can be shown: ${commandOf(all, model)}\n`;
  return lines.join("") + command;
}

/** The options of a run, as `bisect` and `trace` take them. */
export function optionsOf({ tokens, decodeSteps, level, dtype }: SuggestedRun): string {
  return [
    `--tokens ${tokens.join(",")}`,
    `-n ${decodeSteps}`,
    ...(level === null ? [] : [`--capture ${level}`]),
    ...(dtype === null ? [] : [`--dtype ${dtype}`]),
  ].join(" ");
}

/** `bisect` decides itself how much it records; `trace` is told. */
export function commandOf(run: SuggestedRun, model: string): string {
  const without = run.kvCache === true ? ", without --no-kv-cache" : "";
  const [command, rest] = run.level === null ? ["bisect", " --against llamacpp"] : ["trace", " -o run.arrow"];
  return `faultline ${command} ${model}${rest} ${optionsOf(run)}${without}`;
}
