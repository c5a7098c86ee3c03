/** What is planted for the localisation score: every fault of the table at its first, a middle and the last place. */
import type { Fault } from "../../src/engine/faults/fault.ts";
import { parseFault } from "../../src/engine/faults/parse.ts";
import { FAULTS } from "../../src/engine/faults/table.ts";
import type { Model } from "../../src/model/model.ts";
import { layerOfTap, layerTap } from "../../src/trace/taps.ts";

export const SITES = ["first", "middle", "last"] as const;
export type Site = (typeof SITES)[number];

export interface ScoreCase {
  readonly id: string;
  readonly tap: string;
  readonly site: Site;
  readonly fault: Fault;
}

const layerAt = (site: Site, { layers }: Model) =>
  layers[site === "first" ? 0 : site === "last" ? layers.length - 1 : Math.floor(layers.length / 2)] ?? 0;

function parsed(text: string, model: Model): Fault | null {
  try {
    return parseFault(text, model);
  } catch {
    return null;
  }
}

/** Every fault of an op that can be planted in the model; `left` are the ids that would change nothing in it. */
export function casesOf(model: Model, sites: readonly Site[] = SITES): { cases: ScoreCase[]; left: string[] } {
  const cases: ScoreCase[] = [];
  const left: string[] = [];
  for (const { id, tokens } of FAULTS) {
    if (tokens !== undefined) continue;
    const usual = parsed(id, model);
    if (usual?.tap == null) {
      left.push(id);
      continue;
    }
    const layer = layerOfTap(usual.tap);
    const name = usual.tap.replace(/^blk\.\d+\./, "");
    const taps = new Set<string>();
    for (const site of sites) {
      const tap = layer === null ? usual.tap : layerTap(layerAt(site, model), name);
      const fault = parsed(`${id}@${tap}`, model);
      if (fault === null || taps.has(tap)) continue;
      taps.add(tap);
      cases.push({ id, tap, site, fault });
    }
  }
  return { cases, left };
}
