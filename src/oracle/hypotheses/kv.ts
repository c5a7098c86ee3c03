/** The KV cache got wrong: k_rope and v_proj are right, what later steps read is not what was computed. */
import { layerOfTap, layerTap, nameInLayer } from "../../trace/taps.ts";
import { earlierSteps, type OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis, type Prediction } from "./hypothesis.ts";
import { cacheOf, evaluated, input, predicted, rowOf, withRows } from "./values.ts";

/** One row over a cache that holds earlier ones. */
const isDecoding = ({ posStart, tokens }: { posStart: number; tokens: readonly number[] }) =>
  tokens.length === 1 && posStart > 0;

/** What a decode step writes: a row to a slot. */
type Write = readonly [slot: number, row: Float64Array];

/** The cache after all steps so far, where decode steps write `store` instead of their own row to their own slot. */
function replayed(op: OpCase, store: (position: number, rows: Matrix) => readonly Write[]): Matrix {
  const rows = input(op, 1);
  const cache = matrix(rows.rows, rows.columns);
  for (const at of earlierSteps(op, op.step)) {
    const step = op.steps[at];
    if (step === undefined) continue;
    const writes: readonly Write[] = isDecoding(step)
      ? store(step.posStart, rows)
      : step.tokens.map((_, t) => [step.posStart + t, rowOf(rows, step.posStart + t)]);
    for (const [slot, row] of writes) if (slot >= 0 && slot < cache.rows) cache.data.set(row, slot * cache.columns);
  }
  return cache;
}

const over = (op: OpCase, cache: Matrix, parameter?: string): readonly Prediction[] =>
  predicted(evaluated(op, { inputs: [input(op, 0), cache] }), parameter);

const stored = (what: string, store: Parameters<typeof replayed>[1]): Pick<Hypothesis, "what" | "predict"> => ({
  what,
  predict: (op) => over(op, replayed(op, store)),
});

/** Each decode step's slot holds the row of the position before. */
const late: Parameters<typeof replayed>[1] = (position, rows) => [[position, rowOf(rows, position - 1)]];

/** Layers whose cache may have been read: the one below; the one above, which lacks this step's row until it has run. */
function otherLayers({ model, node }: OpCase): { layer: number; below: boolean }[] {
  const { layers } = model;
  const own = layers.indexOf(layerOfTap(node.op.tap) ?? -1);
  return [own - 1, own + 1].flatMap((i) => {
    const layer = layers[i];
    return layer === undefined ? [] : [{ layer, below: i < own }];
  });
}

/** All rows but the last, which is 0. */
const withoutNewest = (cache: Matrix) => withRows(cache, (row) => (row < cache.rows - 1 ? row : -1));

export const KV: readonly Hypothesis[] = family("kv", { kinds: ["attn_scores", "attn_ctx"] } as const, {
  "newest-dropped": {
    what: "the cache lacks the newest row (0 instead)",
    predict: (op) => {
      const newest = input(op, 1).rows - 1;
      return [
        ...over(
          op,
          replayed(op, () => []),
          "never stored",
        ),
        ...over(
          op,
          replayed(op, (position, rows) => (position < newest ? [[position, rowOf(rows, position)]] : [])),
          "stored after it is read",
        ),
      ];
    },
  },
  "newest-duplicated": stored(
    "the newest row stands in the cache twice, over its predecessor too",
    (position, rows) => [
      [position, rowOf(rows, position)],
      [position - 1, rowOf(rows, position)],
    ],
  ),
  stale: stored("the cache holds the row of the step before in each decode step's slot", late),
  "v-stale": {
    ...stored("the cache holds the values of the step before in each decode step's slot", late),
    kinds: ["attn_ctx"],
  },
  "slot-plus-one": stored("decode steps store their row one slot too far", (position, rows) => [
    [position + 1, rowOf(rows, position)],
  ]),
  "other-layer": {
    what: "decode steps read another layer's cache",
    predict: async (op) => {
      const step = op.steps[op.step];
      const tap = op.node.inputs[1]?.tap;
      if (step === undefined || tap === undefined || !isDecoding(step)) return [];
      const found: Prediction[] = [];
      for (const { layer, below } of otherLayers(op)) {
        const cache = await cacheOf(op, layerTap(layer, nameInLayer(tap)));
        if (cache !== null) found.push(...over(op, below ? cache : withoutNewest(cache), `layer ${layer}`));
      }
      return found;
    },
  },
  "k-unrotated": {
    what: "the keys of decode steps are cached before they are rotated",
    kinds: ["attn_scores"],
    predict: async (op) => {
      const rope = op.model.graph.find(({ op: { tap } }) => tap === op.node.inputs[1]?.tap);
      const bare = rope?.inputs[0] === undefined ? null : await cacheOf(op, rope.inputs[0].tap);
      return bare === null
        ? []
        : over(
            op,
            replayed(op, (position) => [[position, rowOf(bare, position)]]),
          );
    },
  },
});
