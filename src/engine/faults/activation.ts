/** Faults of the FFN's activation. */
import { type FaultKind, family } from "./fault.ts";
import { edit } from "./site.ts";

const LINE = "y[i] = g / (1.0 + exponential(-g)) * up[i];";
const ENTRY = "@compute @workgroup_size(WIDTH)";

/** Another function of the gate; `before` is put in front of the kernel. */
const gate =
  (expression: string, before = ""): NonNullable<FaultKind["compute"]> =>
  (_site, clean) =>
    edit(clean, "swiglu", [LINE, `y[i] = ${expression} * up[i];`], [ENTRY, before + ENTRY]);

/** Complementary error function, relative error below 1.2e-7 (Numerical Recipes, erfcc). */
const ERFC = `fn erfc(x: f32) -> f32 {
  let z = abs(x);
  let t = 1.0 / (1.0 + 0.5 * z);
  let p = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807
    + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  let tail = t * exponential(p - z * z);
  return select(tail, 2.0 - tail, x < 0.0);
}
`;

export const ACTIVATION: readonly FaultKind[] = family("act", { kinds: ["swiglu"], at: "ffn_act" } as const, {
  "gelu-tanh": {
    what: "ffn_act is close and wrong, most so for gates between -3 and 0: GELU (its tanh form) where SiLU belongs; look at hidden_act.",
    // 0.5 (1 + tanh z) = 1 / (1 + exp(-2 z)), z = sqrt(2 / pi) (g + 0.044715 g^3)
    compute: gate("g / (1.0 + exponential(-1.5957691216 * (g + 0.044715 * g * g * g)))"),
  },
  "gelu-erf": {
    what: "ffn_act is close and wrong, most so for gates between -3 and 0: GELU (its exact form) where SiLU belongs; look at hidden_act.",
    compute: gate("0.5 * g * erfc(-0.70710678 * g)", ERFC),
  },
  relu: {
    what: "ffn_act is 0 wherever the gate is negative: ReLU where SiLU belongs.",
    compute: gate("max(g, 0.0)"),
  },
  sigmoid: {
    what: "ffn_act has up's size where the gate is large: the sigmoid was not multiplied by the gate itself.",
    compute: gate("1.0 / (1.0 + exponential(-g))"),
  },
  missing: {
    what: "ffn_act is gate * up: the activation was left out.",
    compute: gate("g"),
  },
  "on-up": {
    what: "ffn_act is activation(up) * gate: the two halves of a fused projection are taken in the wrong order.",
    compute: (site) => site.lower({ inputs: [site.input(1), site.input(0)] }),
  },
});
