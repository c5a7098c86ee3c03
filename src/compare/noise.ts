/**
 * How far apart two right computations may be at a tap: what each op adds (rounding.ts) and what it passes on from its inputs, to
 * first order, followed along the graph for every position. Where the expected trace tells how large a tensor's rows are, sums and
 * weighted means pass on absolute errors, so cancellation is accounted for.
 */
import type { GraphNode } from "../model/graph.ts";
import type { Op } from "../model/ops.ts";
import { type OpShape, ownRounding, underflow } from "./rounding.ts";

/** What is known of a tap before its values: sizes from the expected trace, dtypes from both. */
export interface NoiseFacts {
  /** RMS of the expected tap's row at a position (over all heads), or NaN. */
  readonly rms: (tap: string, position: number) => number;
  /** Columns of the tap's rows, or NaN. */
  readonly columns: (tap: string) => number;
  /** relL2 of the row at a position between the two sides, or NaN. */
  readonly measured: (tap: string, position: number) => number;
  /** What either side computed the tap in. */
  readonly dtypes: (tap: string, step: number) => readonly string[];
}

/** silu'(x) x / silu(x) = 1 + x (1 - sigmoid(x)): within 2 wherever silu is not itself negligible. */
const SILU_CONDITION = 2;
/** Size of scores where the expected trace does not tell. */
const SCORE_SIZE = 8;

/**
 * The relative noise of each tap at each position; steps are advanced in order. Two figures are kept. What an op passes on is
 * followed with gain 1, for a network that works neither blows up nor damps errors on the whole; what it shows at its own tap counts
 * its condition (how much more its output changes than its input), which the next ops mostly take back. Where they do not (a softmax
 * of large scores), the next ops cannot have less than it was measured to have: an op passes that on, as far as its own tap allows it.
 */
export class NoiseModel {
  readonly #graph: readonly GraphNode[];
  readonly #facts: NoiseFacts;
  readonly #capacity: number;
  readonly #carried = new Map<string, Float64Array>();
  readonly #shown = new Map<string, Float64Array>();
  readonly #own = new Map<string, Float64Array>();

  constructor(graph: readonly GraphNode[], facts: NoiseFacts, capacity: number) {
    this.#graph = graph;
    this.#facts = facts;
    this.#capacity = capacity;
  }

  /** Relative noise of a tap's row at a position, both sides together. NaN before the step that computes it. */
  at(tap: string, position: number): number {
    return this.#shown.get(tap)?.[position] ?? Number.NaN;
  }

  /** What the op alone adds on both sides when it computes in f32: the least that may be asked of anybody. */
  own(tap: string, position: number): number {
    return this.#own.get(tap)?.[position] ?? Number.NaN;
  }

  /** Follows one step of `count` rows from `posStart` on. */
  advance(step: number, posStart: number, count: number): void {
    for (const { op, inputs } of this.#graph) {
      const dtypes = this.#facts.dtypes(op.tap, step);
      const carried = rowOf(this.#carried, op.tap, this.#capacity);
      const shown = rowOf(this.#shown, op.tap, this.#capacity);
      const single = rowOf(this.#own, op.tap, this.#capacity);
      const taps = inputs.map((input) => input.tap);
      const terms = this.#terms(op, taps);
      const earlier = new Running(posStart);
      for (let position = posStart; position < posStart + count; position++) {
        const shape = { terms: terms ?? position + 1, position };
        const size = this.#facts.rms(op.tap, position);
        let squares = 0;
        for (const dtype of dtypes) squares += addedSquare(op.kind, dtype, shape, size);
        const own = Math.sqrt(squares);
        const { inherited, condition } = this.#inherited(op, taps, position, earlier);
        single[position] = Math.sqrt(2 * addedSquare(op.kind, "f32", shape, size));
        carried[position] = Math.hypot(own, inherited);
        shown[position] = Math.hypot(own, inherited * Math.max(1, Number.isFinite(condition) ? condition : 1));
      }
    }
  }

  /** Length of the op's sums; null where it is the number of keys. 4096 where nothing tells: longer than most. */
  #terms(op: Op, taps: readonly string[]): number | null {
    if (op.kind === "attn_ctx" || op.kind === "causal_softmax") return null;
    const columns = this.#facts.columns(taps[0] ?? "");
    return Number.isNaN(columns) ? 4096 : columns;
  }

  /** What a tap's row passes on: its carried noise, or what it was measured to have, but not more than it may show. */
  #passed(tap: string, position: number): number {
    const carried = this.#carried.get(tap)?.[position] ?? Number.NaN;
    const measured = Math.min(this.at(tap, position), this.#facts.measured(tap, position));
    return measured > carried ? measured : carried;
  }

  /** Root mean square over the heads of |p|, p a head's probabilities at a position; NaN where sizes are not known. */
  #norm(probabilities: string, position: number): number {
    return this.#facts.rms(probabilities, position) * Math.sqrt(position + 1);
  }

  /** Noise that comes with the inputs, and the op's condition. */
  #inherited(
    op: Op,
    [first = "", second = ""]: readonly string[],
    position: number,
    earlier: Running,
  ): { inherited: number; condition: number } {
    const { rms } = this.#facts;
    const carried = (tap: string, at = position) => this.#passed(tap, at);
    switch (op.kind) {
      case "embed":
        return { inherited: 0, condition: 1 };
      case "rms_norm":
      case "linear":
      case "rope":
        return { inherited: carried(first), condition: 1 };
      case "swiglu":
        return { inherited: both(carried(first), carried(second), rms(op.tap, position)), condition: SILU_CONDITION };
      case "add": {
        const [a, b] = [carried(first), carried(second)];
        const absolute = Math.hypot(a * rms(first, position), b * rms(second, position)) / rms(op.tap, position);
        // Without sizes: a sum that does not cancel has no more relative error than the worse of its terms.
        return { inherited: Number.isFinite(absolute) ? absolute : Math.max(a, b), condition: 1 };
      }
      case "attn_scores": {
        // |q . k| may be far below the size of its terms, which is what its error goes by: RMS q times RMS k.
        const keys = earlier.largest("noise", position, (at) => carried(second, at));
        const terms = rms(first, position) * earlier.largest("size", position, (at) => rms(second, at));
        const size = rms(op.tap, position);
        return { inherited: both(carried(first), keys, size), condition: terms / size };
      }
      case "causal_softmax": {
        // Scores that are off by d each, independently, put p_i (d_i - sum p d) on probability i: over the row, d |p| sqrt(1 - |p|^2)
        // at most. d is the scores' relative noise times the size of those that are seen.
        const size = rms(first, position);
        const spread = 1 - this.#norm(op.tap, position) ** 2;
        const share = Number.isNaN(spread) ? 1 : Math.sqrt(Math.max(0, spread));
        return { inherited: carried(first), condition: share * (Number.isNaN(size) ? SCORE_SIZE : size) };
      }
      case "attn_ctx": {
        // sum p_s v_s with independent errors of either: |p| times the largest row's size, while the mean may be smaller than any row.
        const values = earlier.largest("noise", position, (at) => carried(second, at));
        const size = earlier.largest("size", position, (at) => rms(second, at));
        const probabilities = carried(first);
        const shown = this.at(first, position) / probabilities;
        const norm = this.#norm(first, position);
        const own = rms(op.tap, position);
        return {
          inherited: both(probabilities, values, own),
          condition: ((Number.isNaN(norm) ? 1 : norm) * size * Math.max(1, shown || 1)) / own,
        };
      }
    }
  }
}

/** Square of what one side's op adds to a row of RMS `size`: its roundings, and what is lost below the dtype's smallest numbers. */
function addedSquare(kind: string, dtype: string, shape: OpShape, size: number): number {
  const rounding = ownRounding(kind, dtype, shape);
  const lost = size > 0 ? underflow(dtype, shape.terms) / size : 0;
  return rounding * rounding + lost * lost;
}

/** Noise of a product of two noisy things. Where sizes are not known nothing stops it from growing op by op, so the worse stands for both. */
function both(a: number, b: number, size: number): number {
  return Number.isNaN(size) ? Math.max(a, b) : Math.hypot(a, b);
}

function rowOf(rows: Map<string, Float64Array>, tap: string, capacity: number): Float64Array {
  let row = rows.get(tap);
  if (row === undefined) {
    row = new Float64Array(capacity).fill(Number.NaN);
    rows.set(tap, row);
  }
  return row;
}

/** Largest of a quantity over positions 0 to p, for p that only grows. */
class Running {
  readonly #state = new Map<string, { next: number; largest: number }>();
  readonly #least: number;

  /** `from`: the first position that will be asked for. */
  constructor(from: number) {
    this.#least = from;
  }

  largest(name: string, position: number, of: (position: number) => number): number {
    const state = this.#state.get(name) ?? { next: 0, largest: 0 };
    this.#state.set(name, state);
    if (position < this.#least) throw new Error(`position ${position} before ${this.#least}`);
    for (; state.next <= position; state.next++) {
      const value = of(state.next);
      if (value > state.largest) state.largest = value;
    }
    return state.largest;
  }
}
