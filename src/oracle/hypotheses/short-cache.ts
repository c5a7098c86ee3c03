/** Caches kept shorter than the trace declares: right where they are declared (`kv`: docs/numerics.md), wrong for f32 ones. */
import { roundToBfloat16, roundToHalf } from "../../model/half.ts";
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis, type Prediction } from "./hypothesis.ts";
import { evaluated, input, mapped, predicted } from "./values.ts";

const byElement = (round: (x: number) => number) => (cache: Matrix) => mapped(cache, (x) => round(Math.fround(x)));

/** ggml's Q8_0: blocks of 32 of a row, their scale (largest magnitude / 127) a half, elements rounded half away from zero. */
function inQ8Blocks({ rows, columns, data }: Matrix): Matrix {
  const y = matrix(rows, columns);
  for (let start = 0; start < data.length; start += 32) {
    const block = data.subarray(start, start + 32);
    const scale = Math.fround(block.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 127);
    const stored = roundToHalf(scale);
    for (const [i, x] of block.entries()) {
      const steps = scale === 0 ? 0 : Math.sign(x) * Math.floor(Math.abs(x) / scale + 0.5);
      y.data[start + i] = steps * stored;
    }
  }
  return y;
}

/** The cache alone rounded, and both factors, as ggml does where one of them is a half. */
const rounded = (to: (cache: Matrix) => Matrix) => (op: OpCase) => {
  const [other, cache] = [input(op, 0), input(op, 1)];
  const tried = (inputs: readonly Matrix[], parameter: string): readonly Prediction[] =>
    predicted(evaluated(op, { inputs }), parameter);
  const name = op.node.op.kind === "attn_scores" ? "queries" : "probabilities";
  return [...tried([other, to(cache)], "the cache alone"), ...tried([to(other), to(cache)], `the ${name} too`)];
};

export const SHORT_CACHE: readonly Hypothesis[] = family("kv", { kinds: ["attn_scores", "attn_ctx"] } as const, {
  "undeclared-f16": {
    what: "its cache in half precision, which the trace does not declare (setting kv=f16)",
    predict: rounded(byElement(roundToHalf)),
  },
  "undeclared-bf16": {
    what: "its cache in bfloat16, which the trace does not declare (setting kv=bf16)",
    predict: rounded(byElement(roundToBfloat16)),
  },
  q8_0: {
    what: "its cache in blocks of 8 bits (q8_0)",
    predict: (op) => {
      const rows = input(op, 1);
      const perHead = op.model.parameters.headDim;
      return perHead % 32 === 0 ? predicted(evaluated(op, { inputs: [input(op, 0), inQ8Blocks(rows)] })) : [];
    },
  },
});
