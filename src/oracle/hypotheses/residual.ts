/** A residual addition got wrong: inputs are the stream and the sublayer's output. */
import { family, type Hypothesis } from "./hypothesis.ts";
import { evaluated, input, predicted } from "./values.ts";

export const RESIDUAL: readonly Hypothesis[] = family("residual", { kinds: ["add"] } as const, {
  missing: {
    what: "the sublayer's output alone, the stream not added",
    predict: (op) => predicted(input(op, 1)),
  },
  twice: {
    what: "one of the two added twice",
    predict: (op, { expected }) =>
      ["the stream", "the sublayer's output"].map((parameter, i) => ({
        output: evaluated(op, { inputs: [expected, input(op, i)] }),
        parameter,
      })),
  },
  "from-norm": {
    what: "the normalised row added instead of the stream",
    predict: async (op) => {
      const stream = op.node.inputs[0]?.tap;
      const norm = op.model.graph.find(({ op, inputs }) => op.kind === "rms_norm" && inputs[0]?.tap === stream);
      const normed = norm === undefined ? null : await op.values(norm.op.tap);
      return normed === null ? [] : predicted(evaluated(op, { inputs: [normed, input(op, 1)] }));
    },
  },
});
