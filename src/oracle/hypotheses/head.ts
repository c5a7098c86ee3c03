/** The end of the pass got wrong: the last norm, and the head. */
import { family, type Hypothesis } from "./hypothesis.ts";
import { evaluated, input, predicted, withRows } from "./values.ts";

export const HEAD: readonly Hypothesis[] = family(
  "head",
  {},
  {
    "norm-missing": {
      what: "left out, the last layer's output as it came",
      kinds: ["rms_norm"],
      names: ["final_norm"],
      predict: (op) => predicted(input(op, 0)),
    },
    "wrong-row": {
      what: "made from the row of the token before",
      kinds: ["linear"],
      names: ["logits"],
      predict: (op) => predicted(evaluated(op, { inputs: [withRows(input(op, 0), (t) => Math.max(0, t - 1))] })),
    },
    "wrong-matrix": {
      what: "made with the embedding although the model has an output matrix",
      kinds: ["linear"],
      names: ["logits"],
      predict: (op) =>
        op.node.op.weights[0] === "token_embd.weight"
          ? []
          : predicted(evaluated(op, { op: { ...op.node.op, weights: ["token_embd.weight"] } })),
    },
  },
);
