/** What an accusation further up may explain: without a model nobody knows whether an op that differs anew is wrong by itself. */
import type { ReportTap } from "./schema.ts";

/** For each tap (by index) that something accused feeds, however far up: the nearest such tap's name. Taps are in execution order. */
export function furtherUp(
  taps: readonly ReportTap[],
  isAccused: (index: number) => boolean,
): ReadonlyMap<number, string> {
  const places = new Map(taps.map(({ name }, index) => [name, index]));
  const found = new Map<number, string>();
  for (const [index, { inputs }] of taps.entries()) {
    for (const input of inputs) {
      const from = places.get(input);
      if (from === undefined || from >= index) continue;
      const name = isAccused(from) ? input : found.get(from);
      if (name !== undefined) found.set(index, name);
    }
  }
  return found;
}
