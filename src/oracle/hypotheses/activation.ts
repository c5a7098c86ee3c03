/** The FFN's activation got wrong: silu(gate) * up. */
import { matrix } from "../ops.ts";
import { erf } from "./erf.ts";
import { family, type Hypothesis } from "./hypothesis.ts";
import { evaluated, input, predicted } from "./values.ts";

/** Another function of the gate, times up. */
const gated = (what: string, of: (gate: number) => number): Pick<Hypothesis, "what" | "predict"> => ({
  what,
  predict: (op) => {
    const [gate, up] = [input(op, 0), input(op, 1)];
    return predicted(
      matrix(
        gate.rows,
        gate.columns,
        gate.data.map((g, i) => of(g) * (up.data[i] as number)),
      ),
    );
  },
});

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

export const ACTIVATION: readonly Hypothesis[] = family("act", { kinds: ["swiglu"] } as const, {
  // D. Hendrycks, K. Gimpel, Gaussian Error Linear Units, arXiv 1606.08415, section 2
  "gelu-tanh": gated(
    "GELU in its tanh form instead of SiLU",
    (g) => 0.5 * g * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3))),
  ),
  "gelu-erf": gated("GELU instead of SiLU", (g) => 0.5 * g * (1 + erf(g / Math.SQRT2))),
  relu: gated("ReLU instead of SiLU", (g) => Math.max(g, 0)),
  sigmoid: gated("the sigmoid not multiplied by the gate", sigmoid),
  missing: gated("gate * up, without an activation", (g) => g),
  "on-up": {
    what: "the activation on up instead of the gate",
    predict: (op) => predicted(evaluated(op, { inputs: [input(op, 1), input(op, 0)] })),
  },
});
