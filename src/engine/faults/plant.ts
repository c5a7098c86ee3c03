/** The seam between faults and the engine: ready-plan.ts asks it for the dispatches of each op and of each store to the cache. */
import type { Dispatch } from "../lowering.ts";
import type { Fault } from "./fault.ts";
import { type Place, Site } from "./site.ts";

export interface Plant {
  /** Dispatches of an op, given the clean ones. */
  compute(place: Place, clean: readonly Dispatch[]): readonly Dispatch[];
  /** Dispatches that put an op's rows into the cache. */
  store(place: Place, clean: Dispatch): readonly Dispatch[];
}

/** Plants faults, at most one a tap, in passes over a cache of `capacity` positions. Undefined where there is none. */
export function planter(faults: readonly Fault[], capacity: number): Plant | undefined {
  if (faults.every((fault) => fault.tap === null)) return undefined;
  const at = new Map(faults.map((fault) => [fault.tap, fault]));
  return {
    compute: (place, clean) => {
      const fault = at.get(place.planned.op.tap);
      return fault?.kind.compute?.(new Site(place, capacity), clean, fault.parameter) ?? clean;
    },
    store: (place, clean) => {
      const { tap } = place.planned.op;
      const reader = place.context.model.graph.find(({ inputs }) =>
        inputs.some((input) => input.cached && input.tap === tap),
      );
      return at.get(reader?.op.tap ?? "")?.kind.store?.(new Site(place, capacity), clean) ?? [clean];
    },
  };
}
