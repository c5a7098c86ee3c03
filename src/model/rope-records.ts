/** The taps `rope.cos` and `rope.sin`: the rows of the tables that a step uses, as the engine stores them. */
import { type RecordPlan, recordFromValues, type TraceRecord } from "../trace/record.ts";
import type { Model } from "./model.ts";
import { ropeTable } from "./rope.ts";

export const ROPE_TAPS = ["rope.cos", "rope.sin"] as const;

/** What a trace says of the tables in one step, before any data. */
export function ropePlans(model: Model, step: number, posStart: number, tokens: number): RecordPlan[] {
  return ROPE_TAPS.map((tap) => ({
    step,
    posStart,
    tap,
    op: "rope_table",
    dtype: "f32",
    dims: "token rope_pair",
    layer: null,
    shape: [tokens, model.parameters.rope.dimensions / 2],
    inputs: [],
    weights: model.parameters.rope.factors === null ? [] : ["rope_freqs.weight"],
  }));
}

/** The records of both tables for the positions of one step. */
export function ropeRecords(
  model: Model,
  step: number,
  posStart: number,
  tokens: number,
  keep: { sketch: boolean; values: boolean },
): Omit<TraceRecord, "seq">[] {
  const table = ropeTable(model.parameters.rope, posStart, tokens);
  const values = [table.cos, table.sin];
  return ropePlans(model, step, posStart, tokens).map((plan, i) =>
    recordFromValues(plan, 0, Float32Array.from(values[i] ?? []), keep),
  );
}
