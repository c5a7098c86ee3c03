/** The shapes that go together in each kind of op: what a bundle is held to before anything is computed from it. */
import type { Op, OpKind, OpOf } from "../model/ops.ts";

export type Shape = readonly [rows: number, columns: number];

export interface OpShapes {
  readonly inputs: readonly Shape[];
  readonly weights: readonly Shape[];
  readonly output: Shape;
}

interface Sizes {
  readonly tokens: number;
  readonly keys: number;
  readonly vocab: number;
  readonly heads: number;
  /** Columns of the output, and of the first input, as they are. */
  readonly columns: number;
  readonly terms: number;
}

type Right<K extends OpKind> = (sizes: Sizes, op: OpOf<K>) => OpShapes;

/** An op whose inputs all have the shape of its output. */
const alike = (inputs: number, shape: Shape, weights: readonly Shape[] = []): OpShapes => ({
  inputs: Array<Shape>(inputs).fill(shape),
  weights,
  output: shape,
});

const RIGHT: { readonly [K in OpKind]: Right<K> } = {
  embed: ({ tokens, vocab, columns }) => alike(0, [tokens, columns], [[vocab, columns]]),
  rms_norm: ({ tokens, columns }) => alike(1, [tokens, columns], [[1, columns]]),
  linear: ({ tokens, columns, terms }, { weights }) => {
    const bias: Shape[] = weights.length > 1 ? [[1, columns]] : [];
    return { inputs: [[tokens, terms]], weights: [[columns, terms], ...bias], output: [tokens, columns] };
  },
  rope: ({ tokens, columns }, { headDim }) => alike(1, [tokens, headDim * Math.max(1, Math.floor(columns / headDim))]),
  attn_scores: ({ tokens, keys }, { heads, kvHeads, headDim }) => {
    const [q, k]: [Shape, Shape] = [
      [tokens, heads * headDim],
      [keys, kvHeads * headDim],
    ];
    return { inputs: [q, k], weights: [], output: [heads * tokens, keys] };
  },
  causal_softmax: ({ tokens, keys, heads }) => alike(1, [heads * tokens, keys]),
  attn_ctx: ({ tokens, keys }, { heads, kvHeads, headDim }) => {
    const [p, v]: [Shape, Shape] = [
      [heads * tokens, keys],
      [keys, kvHeads * headDim],
    ];
    return { inputs: [p, v], weights: [], output: [tokens, heads * headDim] };
  },
  swiglu: ({ tokens, columns }) => alike(2, [tokens, columns]),
  add: ({ tokens, columns }) => alike(2, [tokens, columns]),
};

const text = ({ inputs, weights, output }: OpShapes) =>
  [...inputs, ...weights, output].map((shape) => `[${shape.join(", ")}]`).join(" ");

/** What is wrong with the shapes of an op, or null. */
export function shapeProblem<K extends OpKind>(
  op: OpOf<K>,
  given: OpShapes,
  sizes: Pick<Sizes, "tokens" | "keys" | "vocab" | "heads">,
): string | null {
  const row = RIGHT[op.kind as K] as Right<K>;
  const right = row({ ...sizes, columns: given.output[1], terms: given.inputs[0]?.[1] ?? 0 }, op);
  const isRight =
    given.inputs.length === right.inputs.length &&
    given.weights.length === right.weights.length &&
    text(given) === text(right);
  return isRight ? null : `${(op as Op).kind} of shapes ${text(given)}, which must be ${text(right)}`;
}
