/** The values of a run out of its trace, by step and tap, checked against the model whose ops are recomputed. */
import type { Model } from "../model/model.ts";
import type { RunValues, StepTokens } from "../oracle/op-case.ts";
import { shapeOf } from "../trace/dims.ts";
import { TraceError } from "../trace/errors.ts";
import type { RecordSummary, Trace } from "../trace/reader.ts";

export class TraceValues implements RunValues {
  readonly trace: Trace;
  readonly steps: readonly StepTokens[];
  readonly #model: Model;
  readonly #places = new Map<string, number>();

  /** Throws TraceError where the trace does not say which tokens ran, or names tokens that the model does not have. */
  constructor(trace: Trace, model: Model) {
    this.trace = trace;
    this.#model = model;
    const starts = new Map(
      trace.records.map(({ step, posStart, tap }) => [tap.startsWith("weight:") ? -1 : step, posStart]),
    );
    let next = 0;
    this.steps = trace.manifest.tokens.map((tokens, step) => {
      const posStart = starts.get(step) ?? next;
      next = posStart + tokens.length;
      return { posStart, tokens };
    });
    if (this.steps.length === 0) {
      throw new TraceError(`${trace.path}: its manifest names no tokens; import it again with the steps' tokens`);
    }
    this.steps.forEach(({ tokens }, step) => {
      if (tokens.length === 0) throw new TraceError(`${trace.path}: step ${step} of its manifest has no tokens`);
      const { vocab = Number.POSITIVE_INFINITY } = model.axes(1, 1);
      const stranger = tokens.find((id) => id >= vocab);
      if (stranger !== undefined) {
        throw new TraceError(
          `${trace.path}: token ${stranger} of step ${step} is not in the vocabulary of ${vocab} of ${model.file.name}; give the model that was run`,
        );
      }
    });
    for (const [index, { step, tap }] of trace.records.entries()) this.#places.set(`${step} ${tap}`, index);
  }

  /** The record of a tap in a step. */
  record(step: number, tap: string): RecordSummary | undefined {
    return this.trace.records[this.#places.get(`${step} ${tap}`) ?? -1];
  }

  /** Why the values of a tap cannot be used, or null where they can. */
  problem(step: number, tap: string): string | null {
    const record = this.record(step, tap);
    if (record === undefined) return `${tap} of step ${step} is not in the trace`;
    if (!record.hasValues) return `${tap} of step ${step} has no values`;
    const expected = this.shape(step, tap);
    if (expected === null) return `${tap} is not in the model's graph`;
    return record.shape.join() === expected.join()
      ? null
      : `${tap} of step ${step} has shape [${record.shape.join(", ")}], the model gives [${expected.join(", ")}]`;
  }

  /** The shape that the model gives a tap in a step; null for a tap that no op makes. */
  shape(step: number, tap: string): number[] | null {
    const node = this.#model.graph.find(({ op }) => op.tap === tap);
    const { posStart, tokens } = this.steps[step] ?? { posStart: 0, tokens: [] };
    return node === undefined ? null : shapeOf(node.op.dims, this.#model.axes(tokens.length, posStart + tokens.length));
  }

  async values(step: number, tap: string): Promise<Float32Array | null> {
    const index = this.#places.get(`${step} ${tap}`);
    return index === undefined || this.problem(step, tap) !== null ? null : this.trace.values(index);
  }

  /** The sketch of a tap in a step; null where the trace has none, or one of another shape than the model's. */
  async sketch(step: number, tap: string): Promise<Float32Array | null> {
    const index = this.#places.get(`${step} ${tap}`);
    const record = this.record(step, tap);
    if (index === undefined || record === undefined || !record.hasSketch) return null;
    return record.shape.join() === this.shape(step, tap)?.join() ? (await this.trace.load(index)).sketch : null;
  }
}
