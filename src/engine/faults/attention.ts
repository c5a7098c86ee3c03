/** Faults of attention: its scale, its heads, its mask, its softmax. */
import type { OpModel } from "../../model/model.ts";
import type { Op } from "../../model/ops.ts";
import type { Dispatch } from "../lowering.ts";
import { type FaultKind, family } from "./fault.ts";
import { edit, type Site } from "./site.ts";

type Compute = NonNullable<FaultKind["compute"]>;

const SEEN = "let seen = step.pos_start + token + 1u; // keys that take part";

/** Another factor on q . k. */
const scaled = (factor: (scale: number, model: OpModel) => number) => ({
  kinds: ["attn_scores"] as const,
  at: "attn_scores",
  idle: (op: Op, model: OpModel) =>
    op.kind === "attn_scores" && Math.fround(factor(op.scale, model)) === Math.fround(op.scale)
      ? `its factor would be ${op.scale} as before`
      : null,
  compute: (site: Site, clean: readonly Dispatch[]) => {
    const { op, model } = site;
    return op.kind === "attn_scores" ? site.lower({ op: { ...op, scale: factor(op.scale, model) } }) : clean;
  },
});

/** Softmax over the keys up to `seen`, of the scores recorded: masked places hold 0. */
const softmax =
  (seen: string): Compute =>
  (_site, clean) =>
    edit(clean, "causal_softmax", [SEEN, `let seen = ${seen};`]);

/** Softmax over the keys up to `seen`, of scores computed once more without a mask: what lies after the token is seen as it is. */
const unmasked =
  (seen: string): Compute =>
  (site) => {
    const scores = site.at(site.producer(0));
    const { rows, columns } = scores.shape();
    const raw = site.scratch("scores", 4 * rows * columns);
    const open = edit(scores.lower({ output: raw }), "attn_scores", [
      "if (key > step.pos_start + token) {",
      "if (key >= step.keys) {",
    ]);
    return [...open, ...softmax(seen)(site, site.lower({ inputs: [raw] }), 0)];
  };

const OVER_QUERIES = `// Of the queries that see the key.
fn over_queries(head: u32, token: u32, key: u32) -> f32 {
  let column = head * step.tokens * step.keys + key;
  var top = x[column + token * step.keys];
  for (var t = 0u; t < step.tokens; t++) {
    if (key <= step.pos_start + t) { top = max(top, x[column + t * step.keys]); }
  }
  var total = 0.0;
  for (var t = 0u; t < step.tokens; t++) {
    if (key <= step.pos_start + t) { total += weight(x[column + t * step.keys] - top); }
  }
  return weight(x[column + token * step.keys] - top) / total;
}
`;
const ENTRY = "@compute @workgroup_size(WIDTH)";

export const ATTENTION: readonly FaultKind[] = family(
  "attn",
  {},
  {
    "scale-missing": {
      what: "Scores are sqrt(head_dim) times too large and attention looks at one token only: 1/sqrt(head_dim) was left out.",
      ...scaled(() => 1),
    },
    "scale-twice": {
      what: "Scores are sqrt(head_dim) times too small and attention is nearly uniform: the factor was applied to q and to q . k.",
      ...scaled((scale) => scale * scale),
    },
    "scale-model-dim": {
      what: "Attention is too flat, by sqrt(heads): the factor was made from the model's width instead of the head's.",
      ...scaled((_scale, { parameters }) => 1 / Math.sqrt(parameters.embd)),
    },
    "gqa-modulo": {
      what: "Some heads are right, the others look at another head's keys or values: query head h reads KV head h mod n_kv instead of floor(h / group).",
      kinds: ["attn_scores", "attn_ctx"],
      at: "attn_scores",
      idle: (_op, { parameters: { heads, kvHeads } }) => {
        const group = heads / kvHeads;
        const differs = Array.from({ length: heads }, (_, h) => h).some((h) => h % kvHeads !== Math.floor(h / group));
        return differs ? null : `with ${heads} heads over ${kvHeads} KV heads both maps are the same`;
      },
      compute: (_site, clean) =>
        edit(
          edit(clean, "attn_scores", ["+ head / GROUP) * HEAD_DIM", "+ head % (HEADS / GROUP)) * HEAD_DIM"]),
          "attn_ctx",
          ["(head / GROUP) * HEAD_DIM + first_d", "(head % (HEADS / GROUP)) * HEAD_DIM + first_d"],
        ),
    },
    "mask-missing": {
      what: "The prefill knows the future, decoding does not: no causal mask, early rows give probability to later keys.",
      kinds: ["causal_softmax"],
      at: "attn_probs",
      compute: unmasked("step.keys"),
    },
    "mask-one-ahead": {
      what: "Each row of the prefill sees one key too many, the last row is right: the mask compares with <= where < belongs, or counts positions from 1.",
      kinds: ["causal_softmax"],
      at: "attn_probs",
      compute: unmasked("min(step.pos_start + token + 2u, step.keys)"),
    },
    "mask-excludes-self": {
      what: "No token attends to itself and row 0 has no key at all (0 here, NaN elsewhere): the mask compares with < where <= belongs.",
      kinds: ["causal_softmax"],
      at: "attn_probs",
      compute: softmax("step.pos_start + token"),
    },
    "mask-zero": {
      what: "Masked keys get probability as if their score were 0, so early rows are diluted: the mask multiplies by 0 instead of adding minus infinity.",
      kinds: ["causal_softmax"],
      at: "attn_probs",
      compute: softmax("step.keys"),
    },
    "softmax-axis": {
      what: "Columns sum to 1, rows do not: the softmax runs over queries instead of keys.",
      kinds: ["causal_softmax"],
      at: "attn_probs",
      compute: (_site, clean) =>
        edit(
          clean,
          "causal_softmax",
          [ENTRY, OVER_QUERIES + ENTRY],
          ["y[row + s] = y[row + s] / sum;", "y[row + s] = over_queries(group.y, token, s);"],
        ),
    },
    "softmax-no-max": {
      what: "All is well until scores pass 88, then rows turn to Inf, NaN or 0: the largest score was not subtracted before exp.",
      kinds: ["causal_softmax"],
      at: "attn_probs",
      compute: (_site, clean) => edit(clean, "causal_softmax", ["weight(x[row + s] - largest)", "weight(x[row + s])"]),
    },
    "heads-merged-transposed": {
      what: "Attention agrees up to the probabilities and attn_ctx has the right numbers in the wrong columns: heads were merged as (head_dim head), a transpose is missing before the reshape.",
      kinds: ["attn_ctx"],
      at: "attn_ctx",
      idle: (_op, { parameters: { heads, headDim } }) =>
        heads === 1 || headDim === 1 ? "both orders are the same" : null,
      compute: (_site, clean) =>
        edit(clean, "attn_ctx", [
          "y[token * HEADS * HEAD_DIM + column] =",
          "y[token * HEADS * HEAD_DIM + d * HEADS + head] =",
        ]),
    },
  },
);
