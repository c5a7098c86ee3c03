/** The noise model over two traces: for every pair, the noise of each of its rows. */
import type { GraphNode } from "../model/graph.ts";
import type { Trace } from "../trace/reader.ts";
import { type MeasuredPair, noiseFacts } from "./facts.ts";
import { NoiseModel } from "./noise.ts";
import type { Pair } from "./pairs.ts";
import { ownRounding } from "./rounding.ts";

/** Noise of a pair's rows by token, whole and the op's own. */
export interface PairNoise {
  readonly noise: (token: number) => number;
  readonly own: (token: number) => number;
}

/** Follows the actual trace's steps and gives the noise of any of the pairs. */
export function pairNoise(
  graph: readonly GraphNode[],
  expected: Trace,
  actual: Trace,
  pairs: readonly MeasuredPair[],
): (pair: Pair) => PairNoise {
  const { facts, capacity, steps } = noiseFacts(expected, actual, pairs);
  const model = new NoiseModel(graph, facts, capacity);
  // Later steps may compute a position again (no KV cache), so each step's noise is kept by itself.
  const kept = new Map<string, { posStart: number; noise: Float64Array; own: Float64Array }>();
  for (const { step, posStart, count } of steps) {
    model.advance(step, posStart, count);
    const rows = (of: (position: number) => number) => Float64Array.from({ length: count }, (_, i) => of(posStart + i));
    for (const { op } of graph) {
      kept.set(`${step} ${op.tap}`, {
        posStart,
        noise: rows((at) => model.at(op.tap, at)),
        own: rows((at) => model.own(op.tap, at)),
      });
    }
  }
  return (pair) => {
    const rows = kept.get(`${pair.step} ${pair.tap}`);
    const first = pair.posStart - (rows?.posStart ?? 0); // a record may have only a step's last rows
    // Weights and tables are no ops of the graph.
    const kind = pair.tap.startsWith("rope.") ? "rope_table" : "weight";
    const alone = (token: number) =>
      Math.SQRT2 * ownRounding(kind, "f32", { terms: 1, position: pair.posStart + token });
    return {
      noise: (token) => rows?.noise[first + token] ?? alone(token),
      own: (token) => rows?.own[first + token] ?? alone(token),
    };
  };
}
