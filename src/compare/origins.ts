/** Where a divergence begins: an op that diverges while nothing that feeds it does. By the graph's edges, not by the order in a file. */
import type { GraphNode } from "../model/graph.ts";

export interface Edge {
  readonly tap: string;
  /** True if rows of all earlier steps feed it too. */
  readonly cached: boolean;
}

/** What feeds each tap: inputs, weights (`weight:NAME`), and for rotations the tables. */
export function edgesOf(graph: readonly GraphNode[]): ReadonlyMap<string, readonly Edge[]> {
  const plain = (tap: string): Edge => ({ tap, cached: false });
  return new Map(
    graph.map(({ op, inputs }) => [
      op.tap,
      [
        ...inputs,
        ...op.weights.map((name) => plain(`weight:${name}`)),
        ...(op.kind === "rope" ? [plain("rope.cos"), plain("rope.sin")] : []),
      ],
    ]),
  );
}

/**
 * The origins among divergent taps: `divergent` has keys `step tap`. An input that was not compared is looked through, to what feeds
 * it. `steps` are the numbers of the steps up to which a cache reaches back.
 */
export function originsOf(
  divergent: ReadonlySet<string>,
  compared: ReadonlySet<string>,
  edges: ReadonlyMap<string, readonly Edge[]>,
  steps: readonly number[],
): Set<string> {
  const reaches = new Map<string, boolean>();
  const key = (step: number, tap: string) => `${step} ${tap}`;
  /** True if something divergent feeds this tap, itself included where `self`. */
  const isFed = (step: number, tap: string, self: boolean): boolean => {
    const place = key(step, tap);
    if (self && compared.has(place)) return divergent.has(place);
    const memo = self ? reaches.get(place) : undefined;
    if (memo !== undefined) return memo;
    if (self) reaches.set(place, false); // a graph has no circles; this only bounds damaged ones
    const fed = (edges.get(tap) ?? []).some((edge) =>
      edge.cached
        ? steps.some((each) => each <= step && isFed(each, edge.tap, true))
        : edge.tap.startsWith("weight:")
          ? divergent.has(key(0, edge.tap))
          : isFed(step, edge.tap, true),
    );
    if (self) reaches.set(place, fed);
    return fed;
  };
  return new Set(
    [...divergent].filter((place) => {
      const [step = "0", ...tap] = place.split(" ");
      return !isFed(Number(step), tap.join(" "), false);
    }),
  );
}
