/**
 * The forward page with GroupQueryAttention (com.microsoft) in the place of rotation, scores, softmax and context, and MatMulNBits for
 * the matrices. The queries' name stands for everything between the projections and the context.
 */
import { pastOf, presentOf } from "../../references/onnx/graph.ts";
import { float, int } from "../../references/onnx/proto.ts";
import type { Model } from "../../src/model/model.ts";
import type { OpKind, OpOf } from "../../src/model/ops.ts";
import { ropeTable } from "../../src/model/rope.ts";
import { InputError } from "../../src/trace/errors.ts";
import { BenchBuilder, type BenchGraph, graphOf } from "./onnx-graph.ts";

/** Inputs of a step. Lengths count all positions so far. */
export const FUSED_INPUTS = {
  tokens: { element: "int64", shape: ["token"] },
  last_key: { element: "int32", shape: [1] },
  keys: { element: "int32", shape: [] },
} as const;

class FusedBuilder extends BenchBuilder {
  /** Keys and scale of the scores of these queries. */
  readonly #scores = new Map<string, { readonly keys: string; readonly op: OpOf<"attn_scores"> }>();
  readonly pasts = new Map<string, readonly (string | number)[]>();

  override run<K extends OpKind>(op: OpOf<K>, inputs: readonly string[]): string {
    const [first = "", second = ""] = inputs;
    const wide: OpOf<OpKind> = op;
    if (wide.kind === "rope" || wide.kind === "causal_softmax") return first;
    if (wide.kind === "attn_scores") {
      this.#scores.set(first, { keys: second, op: wide });
      return first;
    }
    return wide.kind === "attn_ctx" ? this.#attention(wide.tap, first, second) : super.run(op, inputs);
  }

  override cached(rows: string): string {
    return rows;
  }

  #attention(tap: string, queries: string, values: string): string {
    const scores = this.#scores.get(queries);
    if (scores === undefined) throw new Error(`${tap}: attention without scores`);
    const { heads, kvHeads, headDim, scale } = scores.op;
    const rows = [queries, scores.keys, values];
    const caches = [scores.keys, values];
    for (const cache of caches) this.pasts.set(cache, [1, kvHeads, "past", headDim]);
    const batches = rows.map((each) => this.node("Unsqueeze", [each, this.int64s([0])], `${tap}/${each}`));
    const context = `${tap}/batch`;
    this.nodes.push({
      ...{ op_type: "GroupQueryAttention", domain: "com.microsoft", name: context },
      input: [...batches, ...caches.map(pastOf), "last_key", "keys", "rope.cos", "rope.sin"],
      output: [context, ...caches.map(presentOf)],
      attribute: [
        ...[int("num_heads", heads), int("kv_num_heads", kvHeads), float("scale", scale)],
        ...[int("do_rotary", 1), int("rotary_interleaved", 1)],
      ],
    });
    return this.node("Squeeze", [context, this.int64s([0])], tap);
  }
}

/** For at most `positions` of them. Throws InputError where only part of a head is rotated. */
export function fusedGraph(model: Model, positions: number): BenchGraph {
  const { rope, headDim } = model.parameters;
  if (rope.dimensions !== headDim) {
    throw new InputError(
      `${model.file.name}: rotates ${rope.dimensions} of ${headDim} places of a head; measure it in f32`,
    );
  }
  const builder = new FusedBuilder(model, "4bit");
  const { cos, sin } = ropeTable(rope, 0, positions);
  for (const [name, table] of [
    ["rope.cos", cos],
    ["rope.sin", sin],
  ] as const) {
    builder.constant(name, "float", [positions, headDim / 2], Float32Array.from(table));
  }
  model.forward(builder);
  return graphOf(builder, FUSED_INPUTS, builder.pasts);
}
