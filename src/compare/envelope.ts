/** The envelope: how far a second reference is from the expected trace at each tap, the natural noise of right computations. */
import { TraceError } from "../trace/errors.ts";
import type { Trace } from "../trace/reader.ts";
import { distanceOf, Room } from "./evidence.ts";
import type { Distance } from "./metrics.ts";
import { type Pair, planPairs } from "./pairs.ts";
import { alignTokens, traceSequence as sequence } from "./tokens.ts";

/** Distances of expected and envelope, by step and tap, made when they are asked for. */
export type Envelope = (pair: Pair) => Promise<Distance | null>;

export async function envelopeOf(expected: Trace, envelope: Trace): Promise<Envelope> {
  const tokens = alignTokens(sequence(expected), sequence(envelope));
  if (tokens.difference !== null) {
    throw new TraceError(
      `${envelope.path}: as an envelope it must have the tokens of ${expected.path}, but they differ at position ${tokens.difference.position}; trace both references with the same --tokens`,
    );
  }
  const pairs = new Map(
    planPairs(expected.records, envelope.records, tokens).pairs.map((pair) => [pair.expected, pair]),
  );
  const room = new Room();
  return async (pair) => {
    const other = pairs.get(pair.expected);
    if (other === undefined) return null;
    const { distance } = await distanceOf(expected, envelope, other, room);
    if (distance === null) return null;
    // Rows of the expected record -> rows of the actual one.
    const moved = (token: number) => {
      const from = other.ranges.find((range) => token >= range.actualToken && token < range.actualToken + range.count);
      const row = from === undefined ? token : token - from.actualToken + from.expectedToken;
      const to = pair.ranges.find((range) => row >= range.expectedToken && row < range.expectedToken + range.count);
      return to === undefined ? -1 : row - to.expectedToken + to.actualToken;
    };
    return { ...distance, tokens: distance.tokens.map((each) => ({ ...each, token: moved(each.token) })) };
  };
}
