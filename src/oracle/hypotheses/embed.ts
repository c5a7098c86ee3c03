/** The embedding got wrong. */
import { evaluate } from "../ops.ts";
import { family, type Hypothesis } from "./hypothesis.ts";
import { mapped, predicted } from "./values.ts";

export const EMBED: readonly Hypothesis[] = family("embed", { kinds: ["embed"] } as const, {
  "row-plus-one": {
    what: "each token has its neighbour's row of the table",
    predict: ({ node: { op }, model, context }) => {
      const { rows } = model.file.tensor(op.weights[0] ?? "");
      return [1, -1].map((by) => ({
        output: evaluate(op, [], { ...context, tokens: context.tokens.map((id) => (id + by + rows) % rows) }),
        parameter: by > 0 ? "row + 1" : "row - 1",
      }));
    },
  },
  "scale-extra": {
    what: "multiplied by the root of the width, which this architecture does not do",
    predict: ({ model }, { expected }) =>
      isScaled(model.architecture) ? [] : predicted(mapped(expected, (x) => x * Math.sqrt(model.parameters.embd))),
  },
  "scale-missing": {
    what: "not multiplied by the root of the width",
    predict: ({ model }, { expected }) =>
      isScaled(model.architecture) ? predicted(mapped(expected, (x) => x / Math.sqrt(model.parameters.embd))) : [],
  },
});

/** Gemma's embeddings are multiplied by sqrt(embd). */
function isScaled(architecture: string): boolean {
  return architecture.startsWith("gemma");
}
