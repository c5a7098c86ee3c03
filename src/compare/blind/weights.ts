/** Faults of the embedding, of norms and of projections: what geometry, weights and tokens hide. */
import type { Model } from "../../model/model.ts";
import { hidden, UNKNOWN } from "./reasons.ts";
import { type Check, family, hasTwoRows, inputOf, type Rule, rowsDiffer, type Site } from "./rule.ts";
import type { TapStatistics } from "./run-facts.ts";

const weightOf = ({ op, model }: Site) => model.file.tensor(op.weights[0] ?? "");
const decoded = (model: Model, name: string) => model.file.decodeRows(model.file.tensor(name));
const same = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).every((x, i) => x === b[i]);

/** Tokens of a vocabulary that are tried for one whose neighbour has another row. */
const TRIED = 256;

const neighbourDiffers: Check = ({ model, run }) => {
  const table = model.file.tensor("token_embd.weight");
  const row = (id: number) => model.file.readRows(table, id % table.rows, 1);
  const differs = (id: number) => !same(row(id), row(id + 1));
  const tokens = [...new Set(run.rows.map(({ token }) => token))];
  if (tokens.some(differs)) return null;
  const other = Array.from({ length: Math.min(TRIED, table.rows) }, (_, id) => id).find(differs);
  return hidden("same-neighbour", { tokens: tokens.length }, other === undefined ? null : { token: other });
};

const embdIsMany: Check = ({ model: { parameters } }) =>
  parameters.embd > 1 ? null : hidden("same-factor", { factor: 1 });

export const EMBED: readonly Rule[] = family(
  "embed",
  { kinds: ["embed"] },
  { "row-plus-one": [neighbourDiffers], "scale-extra": [embdIsMany] },
);

const eps = ({ op }: Site) => (op.kind === "rms_norm" ? op.eps : 0);
/** Another eps that is often taken for this one. */
const otherEps = (own: number) => (Math.abs(own - 1e-6) < 1e-8 ? 1e-5 : 1e-6);

const allRows = (statistics: readonly TapStatistics[]) =>
  statistics.flatMap(({ rowRms }) => Array.from(rowRms)).filter((rms) => rms > 0);

/** The factor that `wrong` puts on a row of this mean square, in the place of 1 / sqrt(ms + eps), reaches what can be seen. */
const epsShows =
  (wrong: (meanSquare: number, eps: number) => number): Check =>
  (site) => {
    const known = site.run.statistics(inputOf(site));
    if (known === null) return UNKNOWN;
    const effect = (ms: number) => Math.abs(wrong(ms, eps(site)) * Math.sqrt(ms + eps(site)) - 1);
    const rows = allRows(known);
    const largest = rows.reduce((most, rms) => Math.max(most, effect(rms * rms)), 0);
    if (largest > site.run.leastEffect) return null;
    return hidden("eps-small", { eps: eps(site), effect: largest, seen: site.run.leastEffect, rms: Math.min(...rows) });
  };

const gainCounts: Check = ({ op, model }) =>
  decoded(model, op.weights[0] ?? "").every((each) => each === 1) ? hidden("gain-one") : null;

const gainsDiffer: Check = ({ op, model }) => {
  const [own = ""] = op.weights;
  const other = own.replace(/attn_norm|ffn_norm/, (name) => (name === "attn_norm" ? "ffn_norm" : "attn_norm"));
  return same(decoded(model, own), decoded(model, other)) ? hidden("same-gains") : null;
};

/** One RMS for all rows of a step is another than each row's own. */
const rmsDiffer: Check = (site) => {
  const few = rowsDiffer(site);
  const known = site.run.statistics(inputOf(site));
  if (few !== null || known === null) return few;
  const spread = (rms: readonly number[]) => (Math.max(...rms) - Math.min(...rms)) / Math.max(...rms);
  const largest = Math.max(...known.map(({ rowRms }) => spread(Array.from(rowRms))));
  return largest > site.run.leastEffect ? null : hidden("same-rms", { spread: largest });
};

export const NORM: readonly Rule[] = [
  ...family(
    "norm",
    { kinds: ["rms_norm"] },
    {
      eps: [epsShows((ms, own) => 1 / Math.sqrt(ms + otherEps(own)))],
      "eps-outside": [epsShows((ms, own) => 1 / (Math.sqrt(ms) + own))],
      "weight-missing": [gainCounts],
      "weight-plus-one": [],
      "mean-subtracted": [embdIsMany],
      "sum-not-mean": [embdIsMany],
      "whole-tensor": [hasTwoRows, rmsDiffer],
    },
  ),
  ...family("norm", { kinds: ["rms_norm"], names: ["attn_norm", "ffn_norm"] }, { "other-weight": [gainsDiffer] }),
  ...family("head", { kinds: ["rms_norm"], names: ["final_norm"] }, { "norm-missing": [] }),
];

const isSquare: Check = (site) => {
  const { rows, columns } = weightOf(site);
  return rows === columns ? null : hidden("not-square", { rows, columns });
};

const hasNeighbour: Check = ({ model }) => (model.parameters.layers < 2 ? hidden("one-layer") : null);

const hasBias: Check = ({ op, model }) => {
  const [, bias] = op.weights;
  if (bias === undefined) return hidden("no-bias");
  return decoded(model, bias).every((each) => each === 0) ? hidden("zero-bias") : null;
};

/** Tiles of K that kernels are written with. */
const TILES = [16, 32, 64, 128, 256, 512];

const hasTail: Check = (site) => {
  const { columns } = weightOf(site);
  const leavesTail = TILES.some((tile) => tile < columns && columns % tile !== 0) || columns % 64 !== 0;
  return leavesTail
    ? null
    : hidden("tile-multiple", { K: columns, tile: TILES.findLast((tile) => tile <= columns) ?? 0 });
};

const hasTwoTiles: Check = (site) => (weightOf(site).columns > 1 ? null : hidden("one-column"));

const isUntied: Check = ({ op, model: { file } }) => {
  const [own = ""] = op.weights;
  const [head, table] = [file.tensor(own), file.tensor("token_embd.weight")];
  if (head === table) return hidden("tied-head");
  if (head.type !== table.type || head.rows !== table.rows) return null;
  for (let row = 0; row < head.rows; row += TRIED) {
    const count = Math.min(TRIED, head.rows - row);
    if (Buffer.compare(file.readRows(head, row, count), file.readRows(table, row, count)) !== 0) return null;
  }
  return hidden("tied-head");
};

const linear = { kinds: ["linear"] } as const;

const IN_LAYERS = ["q_proj", "k_proj", "v_proj", "attn_out", "ffn_gate", "ffn_up", "ffn_down"];

export const LINEAR: readonly Rule[] = [
  ...family("linear", linear, {
    transposed: [isSquare],
    "bias-missing": [hasBias],
    "k-tail-dropped": [hasTail],
    "k-tile-dropped": [hasTwoTiles],
    "rows-tail-zero": [],
    "rows-tail-stale": [],
    "row-zero-repeated": [rowsDiffer],
    "f16-accumulate": [],
    "bf16-accumulate": [],
  }),
  ...family("linear", { ...linear, names: IN_LAYERS }, { "neighbour-layer": [hasNeighbour] }),
  ...family("linear", { ...linear, names: ["k_proj", "v_proj"] }, { "swap-kv": [] }),
  ...family("linear", { ...linear, names: ["ffn_gate", "ffn_up"] }, { "swap-gate-up": [] }),
  ...family("head", { ...linear, names: ["logits"] }, { "wrong-row": [rowsDiffer], "wrong-matrix": [isUntied] }),
];

const ofType =
  (...types: string[]): Check =>
  (site) => {
    const { type } = weightOf(site);
    return types.includes(type.name) ? null : hidden("block-type", { type: type.name, types: types.join(", ") });
  };

const hasTwoBlocks: Check = (site) => {
  const { columns, type } = weightOf(site);
  return columns > type.elements ? null : hidden("one-block", { columns, type: type.name });
};

const ALL_BLOCKS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"];
const WITH_MIN = ofType("Q4_1", "Q5_1", "Q2_K", "Q4_K", "Q5_K");

export const QUANT: readonly Rule[] = family("quant", linear, {
  "nibble-order": [ofType("Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "Q4_K", "Q5_K")],
  "zero-point": [ofType("Q4_0", "Q5_0", "Q3_K", "Q6_K")],
  "min-sign": [WITH_MIN],
  "min-missing": [WITH_MIN],
  "scale-shift": [ofType(...ALL_BLOCKS), hasTwoBlocks],
  "scale-unsigned": [ofType("Q6_K")],
  "scale-high-bits": [ofType("Q4_K", "Q5_K")],
  "high-bit-missing": [ofType("Q5_0", "Q5_1", "Q3_K", "Q5_K", "Q6_K")],
  "block-stride": [ofType(...ALL_BLOCKS), hasTwoBlocks],
});
