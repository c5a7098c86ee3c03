/** Faults of precision: sums and stores that keep fewer bits. */
import type { OpKind } from "../../model/ops.ts";
import { type FaultKind, family } from "./fault.ts";
import { BFLOAT_ROUNDED, BFLOAT_ROUNDING, halfRounding } from "./rounding.ts";
import { edit, type Site } from "./site.ts";

export const ALL_KINDS: readonly OpKind[] = [
  ...(["embed", "rms_norm", "linear", "rope", "attn_scores", "causal_softmax", "attn_ctx", "swiglu", "add"] as const),
];

const bits = (value: number) => `${new Uint32Array(Float32Array.of(value).buffer)[0]}u`;
const MAGNITUDE = "(x[i] & 0x7fffffffu)";

/** Every partial sum of a projection rounded by `rounding`, which defines `rounded`. */
const accumulate = (rounding: () => string) => (_site: Site, clean: Parameters<NonNullable<FaultKind["compute"]>>[1]) =>
  edit(
    clean,
    "linear",
    [
      "fn block_sum(w: Block, xs: Block) -> f32 {",
      `${rounding()}fn kept(v: f32) -> f32 { return bitcast<f32>(rounded(bitcast<u32>(v))); }
fn kept4(v: vec4f) -> vec4f { return vec4f(kept(v.x), kept(v.y), kept(v.z), kept(v.w)); }

fn block_sum(w: Block, xs: Block) -> f32 {`,
    ],
    ["{ lanes += w[i] * xs[i]; }", "{ lanes = kept4(lanes + w[i] * xs[i]); }"],
    [
      "return (lanes.x + lanes.z) + (lanes.y + lanes.w);",
      "return kept(kept(lanes.x + lanes.z) + kept(lanes.y + lanes.w));",
    ],
    ["{ sum += block_sums[b * OUTPUTS + o]; }", "{ sum = kept(sum + block_sums[b * OUTPUTS + o]); }"],
  );

export const ACCUMULATION: readonly FaultKind[] = family("linear", { kinds: ["linear"], at: "ffn_down" } as const, {
  "f16-accumulate": {
    what: "Noise of about 1e-3 without pattern, worse for long sums, Inf above 65504: products are summed in half precision; look at the type of the accumulator.",
    compute: accumulate(halfRounding),
  },
  "bf16-accumulate": {
    what: "Noise of about 1e-2 without pattern, worse for long sums: products are summed in bfloat16; look at the type of the accumulator.",
    compute: accumulate(() => BFLOAT_ROUNDING),
  },
});

export const PRECISION: readonly FaultKind[] = family("precision", { kinds: ALL_KINDS, at: "output" } as const, {
  "f16-store": {
    what: "Every value is a half, off by up to 2^-11 of itself: the buffer between two ops is f16; fine if meant, a finding if not.",
    compute: (site, clean) => [...clean, site.inPlace("x[i] = rounded(x[i]);")],
  },
  "bf16-store": {
    what: "Every value has 8 significant bits, off by up to 2^-8 of itself: the buffer between two ops is bfloat16.",
    compute: (site, clean) => [...clean, site.inPlace(`let bits = x[i]; x[i] = ${BFLOAT_ROUNDED};`)],
  },
  "f16-overflow": {
    what: "Inf where values pass 65504, then NaN a few ops later: a half-precision buffer saturates, mostly in the residual stream's few huge channels.",
    parameter: { name: "largest value", least: 0, usual: () => 65504 },
    compute: (site, clean, largest) => [
      ...clean,
      site.inPlace(
        `if (${MAGNITUDE} > ${bits(largest)} && ${MAGNITUDE} < 0x7f800000u) { x[i] = (x[i] & 0x80000000u) | 0x7f800000u; }`,
      ),
    ],
  },
  "flush-subnormals": {
    what: "Small values are exactly 0: magnitudes below the smallest normal half (2^-14) are flushed; look at fast-math flags and at f16 hardware.",
    at: "ffn_act",
    parameter: { name: "smallest value kept", least: 0, usual: () => 2 ** -14 },
    compute: (site, clean, smallest) => [
      ...clean,
      site.inPlace(`if (${MAGNITUDE} < ${bits(smallest)}) { x[i] = x[i] & 0x80000000u; }`),
    ],
  },
});
