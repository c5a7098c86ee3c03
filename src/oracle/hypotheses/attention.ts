/** Attention got wrong: its scale, its heads, its mask, its softmax. */
import type { OpOf } from "../../model/ops.ts";
import type { OpCase } from "../op-case.ts";
import { evaluate, type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis, type Prediction } from "./hypothesis.ts";
import { cacheOf, distance, evaluated, input, mapped, predicted } from "./values.ts";

/** Another factor on q . k. */
const scaledBy = (what: string, factor: (scale: number, embd: number) => number) => ({
  what,
  kinds: ["attn_scores"] as const,
  predict: (of: OpCase): readonly Prediction[] => {
    const { op } = of.node;
    if (op.kind !== "attn_scores") return [];
    const scale = factor(op.scale, of.model.parameters.embd);
    return predicted(evaluated(of, { op: { ...op, scale } }), `factor ${scale.toPrecision(3)}`);
  },
});

/** One KV head for every query head, each the one that the query head is given by `of`. */
function perQueryHead(
  kv: Matrix,
  { heads, headDim }: { heads: number; headDim: number },
  of: (head: number) => number,
) {
  const all = matrix(kv.rows, heads * headDim);
  for (let i = 0; i < all.data.length; i++) {
    const [row, column] = [Math.floor(i / all.columns), i % all.columns];
    const head = of(Math.floor(column / headDim));
    all.data[i] = kv.data[row * kv.columns + head * headDim + (column % headDim)] as number;
  }
  return all;
}

/** The scores that the run has, and those of later keys, which it keeps as 0, computed once more. Null without q and k. */
async function unmasked(op: OpCase): Promise<Matrix | null> {
  const { model, node, context } = op;
  const producer = model.graph.find((each) => each.op.tap === node.inputs[0]?.tap);
  const [query, key] = producer?.inputs ?? [];
  if (producer?.op.kind !== "attn_scores" || query === undefined || key === undefined) return null;
  const [q, keys] = [await op.values(query.tap), await cacheOf(op, key.tap)];
  if (q === null || keys === null) return null;
  // Seen from behind the last key, every key is visible.
  const open = evaluate(producer.op as OpOf<"attn_scores">, [q, keys], { ...context, posStart: keys.rows });
  const seen = visible(op);
  return mapped(input(op, 0), (x, i) => (seen(i) ? x : (open.data[i] as number)));
}

/** Whether the key at a flat index of `head token key` takes part; `ahead` keys more than should. */
function visible({ context, inputs }: OpCase, ahead = 0): (i: number) => boolean {
  const keys = inputs[0]?.columns ?? 1;
  return (i) => i % keys <= context.posStart + (Math.floor(i / keys) % context.tokens.length) + ahead;
}

/** Softmax of each row over the keys that take part; a row without any is all `none`. */
function softmax(scores: Matrix, takesPart: (i: number) => boolean, none = 0): Matrix {
  const y = matrix(scores.rows, scores.columns);
  for (let at = 0; at < scores.data.length; at += scores.columns) {
    const keys = [...Array(scores.columns).keys()].filter((s) => takesPart(at + s));
    const largest = keys.reduce((top, s) => Math.max(top, scores.data[at + s] as number), Number.NEGATIVE_INFINITY);
    const weights = keys.map((s) => Math.exp((scores.data[at + s] as number) - largest));
    const sum = weights.reduce((a, b) => a + b, 0);
    for (const [i, s] of keys.entries()) y.data[at + s] = (weights[i] as number) / sum;
    if (keys.length === 0) y.data.fill(none, at, at + scores.columns);
  }
  return y;
}

/** Normalised down the queries of a head that see the key. */
function overQueries(op: OpCase): Matrix {
  const scores = input(op, 0);
  const tokens = op.context.tokens.length;
  const seen = visible(op);
  const largest = (at: number[]) =>
    at.reduce((top, i) => Math.max(top, scores.data[i] as number), Number.NEGATIVE_INFINITY);
  const y = matrix(scores.rows, scores.columns);
  for (let head = 0; head < scores.rows; head += tokens) {
    for (let key = 0; key < scores.columns; key++) {
      const column = Array.from({ length: tokens }, (_, t) => (head + t) * scores.columns + key).filter(seen);
      const top = largest(column);
      const sum = column.reduce((total, i) => total + Math.exp((scores.data[i] as number) - top), 0);
      for (const i of column) y.data[i] = Math.exp((scores.data[i] as number) - top) / sum;
    }
  }
  return y;
}

/** In f32, where exp overflows beyond 88.7: `exp` as IEEE has it, or with its argument held at 88. */
function withoutMax(op: OpCase, clamped: boolean): Matrix {
  const scores = input(op, 0);
  const seen = visible(op);
  const exp = (x: number) => Math.fround(Math.exp(clamped ? Math.min(x, 88) : x));
  const y = matrix(scores.rows, scores.columns);
  for (let at = 0; at < scores.data.length; at += scores.columns) {
    let sum = 0;
    for (let i = at; i < at + scores.columns; i++) if (seen(i)) sum = Math.fround(sum + exp(scores.data[i] as number));
    for (let i = at; i < at + scores.columns; i++) if (seen(i)) y.data[i] = exp(scores.data[i] as number) / sum;
  }
  return y;
}

/** Until exp overflows, f32's rounding is all that a softmax without its maximum differs by: some 1e-7. */
const OVERFLOWS = 1e-5;

const SOFTMAX = ["causal_softmax"] as const;

export const ATTENTION: readonly Hypothesis[] = family(
  "attn",
  {},
  {
    "scale-missing": scaledBy("not scaled by 1/sqrt(head_dim)", () => 1),
    "scale-twice": scaledBy("scaled by 1/sqrt(head_dim) twice", (scale) => scale * scale),
    "scale-model-dim": scaledBy("scaled by the model's width instead of the head's", (_, embd) => 1 / Math.sqrt(embd)),
    "gqa-modulo": {
      what: "query head h given KV head h mod n_kv instead of floor(h / group)",
      kinds: ["attn_scores", "attn_ctx"],
      predict: (of) => {
        const { op } = of.node;
        if (op.kind !== "attn_scores" && op.kind !== "attn_ctx") return [];
        const inputs = [input(of, 0), perQueryHead(input(of, 1), op, (head) => head % op.kvHeads)];
        return predicted(evaluated(of, { op: { ...op, kvHeads: op.heads }, inputs }));
      },
    },
    "mask-missing": {
      what: "no causal mask, rows see later keys",
      kinds: SOFTMAX,
      predict: async (op) => {
        const scores = await unmasked(op);
        return scores === null ? [] : predicted(softmax(scores, () => true));
      },
    },
    "mask-one-ahead": {
      what: "the mask lets each row see one key too many",
      kinds: SOFTMAX,
      predict: async (op) => {
        const scores = await unmasked(op);
        return scores === null ? [] : predicted(softmax(scores, visible(op, 1)));
      },
    },
    "mask-excludes-self": {
      what: "the mask hides each token from itself",
      kinds: SOFTMAX,
      predict: (op) =>
        [0, Number.NaN].map((none) => ({
          output: softmax(input(op, 0), visible(op, -1), none),
          ...(op.context.posStart === 0 ? { parameter: `a row without keys is ${none}` } : {}),
        })),
    },
    "mask-zero": {
      what: "masked scores are 0 instead of minus infinity",
      kinds: SOFTMAX,
      predict: (op) => predicted(softmax(input(op, 0), () => true)),
    },
    "softmax-axis": {
      what: "normalised over the queries instead of the keys",
      kinds: SOFTMAX,
      predict: (op) => predicted(overQueries(op)),
    },
    "softmax-no-max": {
      what: "the largest score not subtracted before exp",
      kinds: SOFTMAX,
      predict: (op, { expected }) =>
        [{ output: withoutMax(op, false) }, { output: withoutMax(op, true), parameter: "exp held at exp(88)" }].filter(
          ({ output }) => distance(expected.data, output.data) > OVERFLOWS,
        ),
    },
    "heads-merged-transposed": {
      what: "heads merged as (head_dim head) instead of (head head_dim)",
      kinds: ["attn_ctx"],
      predict: ({ node: { op } }, { expected }) => {
        if (op.kind !== "attn_ctx") return [];
        const { heads, headDim } = op;
        const from = (column: number) => (column % heads) * headDim + Math.floor(column / heads);
        return predicted(
          mapped(expected, (_, i) => {
            const column = i % expected.columns;
            return expected.data[i - column + from(column)] as number;
          }),
        );
      },
    },
  },
);
