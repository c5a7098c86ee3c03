/**
 * Where every tensor of a pass over T tokens lives. The page is run once to collect its ops; then each op's output gets a place
 * in one of three arenas, the first in which none of its inputs lies: so no dispatch reads and writes one buffer (WebGPU
 * forbids it), and one dispatch can take the statistics of all tensors in an arena. Arenas have two halves; layers fill a half,
 * then the other, so what one layer hands to the next stays until it is read. A run of layers in one half is a segment.
 */

import type { Model } from "../model/model.ts";
import { type Op, Ops } from "../model/ops.ts";
import { elementsOf, shapeOf } from "../trace/dims.ts";
import { layerOfTap } from "../trace/taps.ts";

export const ARENAS = 3;
const ARENA_NUMBERS = Array.from({ length: ARENAS }, (_, arena) => arena);
/** Offsets of bindings: WebGPU's default minStorageBufferOffsetAlignment. */
const ALIGNMENT = 256;
const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
/** A half holds at least this much, so that short steps are a single segment. */
const HALF_BYTES = 8 << 20;

export interface Place {
  readonly arena: number;
  /** From the start of the arena. */
  readonly byteOffset: number;
  /** From the start of its half. */
  readonly offsetInHalf: number;
  /** As bound: key axes at the capacity of the cache. */
  readonly byteLength: number;
}

export interface PlannedOp {
  readonly op: Op;
  /** Producers of the inputs; `cached` inputs are read from the cache that the producer's rows are stored to. */
  readonly inputs: readonly { readonly producer: PlannedOp; readonly cached: boolean }[];
  readonly place: Place;
  /** True if its rows go to the KV cache. */
  readonly stored: boolean;
}

export interface Segment {
  readonly half: 0 | 1;
  readonly ops: readonly PlannedOp[];
}

export interface Plan {
  readonly tokens: number;
  readonly segments: readonly Segment[];
  /** Bytes of each half of each arena. */
  readonly halfBytes: number;
}

interface Draft {
  readonly op: Op;
  readonly inputs: readonly { producer: Draft; cached: boolean }[];
  readonly bytes: number;
  readonly layer: number | null;
  stored: boolean;
  arena: number;
  place: Place;
}

type Value = { producer: Draft; cached: boolean };

class Collector extends Ops<Value> {
  readonly drafts: Draft[] = [];
  readonly #bytesOf: (op: Op) => number;

  constructor(bytesOf: (op: Op) => number) {
    super();
    this.#bytesOf = bytesOf;
  }

  override run(op: Op, inputs: readonly Value[]): Value {
    const taken = new Set(inputs.filter((input) => !input.cached).map((input) => input.producer.arena));
    const arena = ARENA_NUMBERS.find((candidate) => !taken.has(candidate));
    if (arena === undefined) throw new Error(`${op.tap}: ${inputs.length} inputs leave no arena of ${ARENAS} free`);
    const bytes = aligned(this.#bytesOf(op));
    const place = { arena, byteOffset: 0, offsetInHalf: 0, byteLength: bytes };
    const producer = { op, inputs, bytes, layer: layerOfTap(op.tap), stored: false, arena, place };
    this.drafts.push(producer);
    return { producer, cached: false };
  }

  override cached(rows: Value): Value {
    rows.producer.stored = true;
    return { producer: rows.producer, cached: true };
  }
}

/** Plans a pass over `tokens` rows with a cache of `capacity` positions, in halves of at least `leastHalfBytes`. */
export function planPass(model: Model, tokens: number, capacity: number, leastHalfBytes = HALF_BYTES): Plan {
  const sizes = model.axes(tokens, capacity);
  const collector = new Collector((op) => 4 * elementsOf(shapeOf(op.dims, sizes)));
  model.forward(collector);

  const layers: Draft[][] = [];
  for (const draft of collector.drafts) {
    const current = layers.at(-1);
    if (current?.[0]?.layer === draft.layer) current.push(draft);
    else layers.push([draft]);
  }
  const need = (drafts: readonly Draft[], arena: number) =>
    drafts.reduce((sum, draft) => sum + (draft.arena === arena ? draft.bytes : 0), 0);
  const arenas = ARENA_NUMBERS;
  const largest = Math.max(...layers.flatMap((drafts) => arenas.map((arena) => need(drafts, arena))));
  const halfBytes = aligned(Math.max(leastHalfBytes, largest));

  const segments: { half: 0 | 1; ops: Draft[] }[] = [];
  let used = arenas.map(() => halfBytes);
  for (const drafts of layers) {
    if (arenas.some((arena) => (used[arena] ?? 0) + need(drafts, arena) > halfBytes)) {
      segments.push({ half: segments.at(-1)?.half === 0 ? 1 : 0, ops: [] });
      used = arenas.map(() => 0);
    }
    const segment = segments.at(-1);
    if (segment === undefined) throw new Error("a plan without segments");
    for (const draft of drafts) {
      const offset = used[draft.arena] ?? 0;
      draft.place = {
        arena: draft.arena,
        byteOffset: segment.half * halfBytes + offset,
        offsetInHalf: offset,
        byteLength: draft.bytes,
      };
      used[draft.arena] = offset + draft.bytes;
      segment.ops.push(draft);
    }
  }
  return { tokens, segments, halfBytes };
}

/**
 * The largest number of tokens of one pass, at most `most`, whose largest tensor stays within `tensorBytes` and whose arena
 * halves within `halfBytes`: a half is bound as a whole when statistics are taken. At least 1.
 */
export function tokensPerPass(
  model: Model,
  capacity: number,
  most: number,
  limit: { readonly tensorBytes: number; readonly halfBytes: number },
): number {
  const one = model.axes(1, capacity);
  const largest = Math.max(...model.graph.map((node) => 4 * elementsOf(shapeOf(node.op.dims, one))));
  let tokens = Math.max(1, Math.min(most, Math.floor(limit.tensorBytes / largest)));
  while (tokens > 1 && planPass(model, tokens, capacity).halfBytes > limit.halfBytes) tokens = Math.floor(tokens / 2);
  return tokens;
}
