/** One array in an engine's own layout -> the values of its tap: order of axes, order of pairs, padding, scale, mask. */
import { elementsOf, parseDims, shapeOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";
import type { RecordPlan } from "../../src/trace/record.ts";
import { nameInLayer } from "../../src/trace/taps.ts";
import type { MapRule } from "../maps/map-schema.ts";
import { type AxisTable, permuteAxes } from "./axes.ts";

/** Element g of a head with neighbouring pairs stands at (g mod 2) * half + floor(g / 2) where pairs are halves apart. */
export function placeInHalves(headDim: number): (index: number) => number {
  return (index) => (index % 2) * (headDim / 2) + Math.floor(index / 2);
}

/**
 * The tap's values. `values` are the array's, `shape` its shape, `rule` what it is; `axes` must be bound by now (import.ts).
 * Throws InputError where padding that must be 0 is not.
 */
export function canonicalValues(
  values: Float32Array,
  shape: readonly number[],
  rule: MapRule,
  plan: RecordPlan,
  axes: AxisTable,
  where: string,
): Float32Array {
  const local = {
    token: plan.shape[parseDims(plan.dims).findIndex((axis) => axis[0] === "token")] ?? 1,
    key: plan.shape.at(-1) ?? 1,
  };
  const target = { ...axes.sizes, ...local };
  const paddedKeys = rule.padded ? (shape.at(-1) ?? local.key) : local.key;
  const source = { ...target, key: paddedKeys };
  const from = parseDims(rule.axes ?? plan.dims).flat();
  const to = parseDims(plan.dims).flat();
  const headDim = axes.get("head_dim");

  if (rule.padded && nameInLayer(plan.tap) === "attn_probs") checkPadding(values, paddedKeys, local.key, where);
  const moved = from.join(" ") !== to.join(" ") || paddedKeys !== local.key || rule.halves === true;
  let output = values;
  if (moved) {
    if (from.includes("key") && from.at(-1) !== "key" && rule.padded)
      throw new InputError(`${where}: padded keys must be the last axis`);
    output = permuteAxes(
      values,
      from,
      to,
      { from: source, to: target },
      rule.halves && headDim !== undefined ? { head_dim: placeInHalves(headDim) } : {},
    );
  }
  if (output.length !== elementsOf(plan.shape))
    throw new InputError(`${where}: ${output.length} values for ${plan.tap} of shape [${plan.shape.join(", ")}]`);
  if (rule.unscaled && headDim !== undefined) output = output.map((x) => x / Math.sqrt(headDim));
  if (nameInLayer(plan.tap) === "attn_scores") zeroMasked(output, plan, shapeOf(plan.dims, target));
  return output;
}

/** Taps have 0 where a key lies after its query; engines have anything there before the mask. */
function zeroMasked(
  scores: Float32Array,
  { posStart }: RecordPlan,
  [heads = 1, tokens = 1, keys = 1]: readonly number[],
): void {
  for (let row = 0; row < heads * tokens; row++) {
    scores.fill(0, row * keys + posStart + (row % tokens) + 1, (row + 1) * keys);
  }
}

/** A softmax of NaN is NaN in all of its row, the padding too: that is the run's, and a finding. */
function checkPadding(values: Float32Array, padded: number, keys: number, where: string): void {
  for (let i = 0; i < values.length; i++) {
    const isRowNaN = Number.isNaN(values[i]) && Number.isNaN(values[i - (i % padded)]);
    if (i % padded >= keys && values[i] !== 0 && !isRowNaN) {
      throw new InputError(
        `${where}: probability ${values[i]} for key ${i % padded}, but there are ${keys} keys; the padding must be 0`,
      );
    }
  }
}
