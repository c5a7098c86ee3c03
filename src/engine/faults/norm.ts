/** Faults of RMSNorm, and of the final norm. */

import type { OpModel } from "../../model/model.ts";
import type { Op } from "../../model/ops.ts";
import { layerOfTap, layerTap, nameInLayer } from "../../trace/taps.ts";
import type { Edit } from "../kernels.ts";
import { type FaultKind, family } from "./fault.ts";
import { edit, type Site } from "./site.ts";

const SCALE = "let scale = 1.0 / sqrt(sum / f32(EMBD) + EPS);";
const GAIN = "x[row + e] * scale * gain[e]";
const OTHER: Readonly<Record<string, string>> = { attn_norm: "ffn_norm", ffn_norm: "attn_norm" };

const edited =
  (...edits: Edit[]): NonNullable<FaultKind["compute"]> =>
  (_site, clean) =>
    edit(clean, "rms_norm", ...edits);

const gain = (model: OpModel, name: string) => model.file.decodeRows(model.file.tensor(name));
const gainOf = (op: Op, model: OpModel) => gain(model, op.weights[0] ?? "");
const epsOf = (op: Op) => (op.kind === "rms_norm" ? op.eps : 0);

/** The gain of the layer's other norm. */
function otherGain({ tap }: Op): string | null {
  const layer = layerOfTap(tap);
  const other = OTHER[nameInLayer(tap)];
  return layer === null || other === undefined ? null : `${layerTap(layer, other)}.weight`;
}

/** The square of the row's RMS replaced by that of all rows of the pass. */
const wholeTensor = (site: Site): Edit => {
  const count = `${site.tokens}u * EMBD`;
  return [
    SCALE,
    `var all = 0.0;
  for (var i = 0u; i < ${count}; i++) { all += x[i] * x[i]; }
  let scale = 1.0 / sqrt(all / f32(${count}) + EPS);`,
  ];
};

export const NORM: readonly FaultKind[] = family("norm", { kinds: ["rms_norm"], at: "attn_norm" } as const, {
  eps: {
    what: "All elements are off by one tiny common factor, largest where rows are small: another epsilon (1e-6 for 1e-5) than the file says; look where the hyper-parameter is read.",
    parameter: { name: "eps", least: 0, usual: (op) => (Math.abs(epsOf(op) - 1e-6) < 1e-8 ? 1e-5 : 1e-6) },
    idle: (op, _model, eps) => (Math.fround(eps) === Math.fround(epsOf(op)) ? `its eps is ${eps} already` : null),
    compute: (site, _clean, eps) => site.lower({ op: { ...site.op, eps } as Op }),
  },
  "eps-outside": {
    what: "A tiny common factor is off in every row: epsilon is added to the root instead of under it; look at the norm's last line.",
    idle: (op) => (epsOf(op) === 0 ? "its eps is 0" : null),
    compute: edited([SCALE, "let scale = 1.0 / (sqrt(sum / f32(EMBD)) + EPS);"]),
  },
  "weight-missing": {
    what: "Rows have RMS 1 and channels lack their usual profile: the gain was never multiplied in; look at the norm's last line, or at a weight left at ones by the loader.",
    idle: (op, model) => (gainOf(op, model).every((each) => each === 1) ? "its gain is 1 everywhere" : null),
    compute: edited([GAIN, "x[row + e] * scale * select(gain[e], 1.0, EMBD > 0u)"]),
  },
  "weight-plus-one": {
    what: "Every channel is too large by the bare normalised value: Gemma's 1 + w was applied to a file whose gains are whole (or a converter added the 1 already).",
    compute: edited([GAIN, "x[row + e] * scale * (1.0 + gain[e])"]),
  },
  "other-weight": {
    what: "The normalised row is right, its channel profile is that of the layer's other norm: attn_norm and ffn_norm are exchanged in the loader.",
    names: Object.keys(OTHER),
    idle: (op, model) => {
      const [own, other] = [gainOf(op, model), gain(model, otherGain(op) ?? "")];
      return own.every((each, i) => each === other[i]) ? "both norms of the layer have the same gain" : null;
    },
    compute: (site) => site.lower({ op: { ...site.op, weights: [otherGain(site.op) ?? ""] } }),
  },
  "mean-subtracted": {
    what: "Rows sum to zero before the gain: LayerNorm where RMSNorm belongs; look for a mean that is subtracted.",
    compute: edited(
      [
        SCALE,
        `var mean = 0.0;
  for (var e = 0u; e < EMBD; e++) { mean += x[row + e]; }
  mean = mean / f32(EMBD);
  let scale = 1.0 / sqrt(sum / f32(EMBD) - mean * mean + EPS);`,
      ],
      [GAIN, "(x[row + e] - mean) * scale * gain[e]"],
    ),
  },
  "sum-not-mean": {
    what: "Rows are too small by sqrt(embd): the sum of squares was not divided by the number of channels.",
    compute: edited([SCALE, "let scale = 1.0 / sqrt(sum + EPS);"]),
  },
  "whole-tensor": {
    what: "A token's row changes with its neighbours, and decoding disagrees with the prefill: one RMS over the whole tensor instead of one a row.",
    compute: (site, clean) => edit(clean, "rms_norm", wholeTensor(site)),
  },
});

export const HEAD_NORM: readonly FaultKind[] = family(
  "head",
  { kinds: ["rms_norm"], names: ["final_norm"], at: "final_norm" } as const,
  {
    "norm-missing": {
      what: "Every layer agrees and the logits are far too large or small: the final norm was left out before the head.",
      compute: (site) => [site.copy(site.input(0), site.output)],
    },
  },
);
