/** RoPE got wrong: mostly another table of angles. */
import { type RopeParameters, ropeTable } from "../../model/rope.ts";
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis } from "./hypothesis.ts";
import { otherBase } from "./rope-base.ts";
import { evaluated, input, mapped, predicted } from "./values.ts";

const headDimOf = ({ model }: OpCase) => model.parameters.headDim;

/** Turned by another table. */
const turned = (op: OpCase, changes: Partial<RopeParameters>, first = op.context.posStart): Matrix =>
  evaluated(op, { context: ropeTable({ ...op.model.parameters.rope, ...changes }, first, op.context.tokens.length) });

/** Columns that `keep` says as they should be, the others as they came. `d` counts within a head. */
const partly = (op: OpCase, whole: Matrix, keep: (head: number, d: number) => boolean): Matrix => {
  const x = input(op, 0);
  const size = headDimOf(op);
  return mapped(whole, (y, i) => {
    const column = i % x.columns;
    return keep(Math.floor(column / size), column % size) ? y : (x.data[i] as number);
  });
};

/** Element j of a head turned with j + head_dim / 2, by the angle of pair j. */
function halves(op: OpCase): Matrix {
  const x = input(op, 0);
  const size = headDimOf(op);
  const pairs = size / 2;
  const { cos, sin } = op.context;
  const y = matrix(x.rows, x.columns);
  for (let i = 0; i < x.data.length; i++) {
    const row = Math.floor(i / x.columns);
    const d = (i % x.columns) % size;
    if (d >= pairs) continue;
    const [c, s] = [cos[row * pairs + d] as number, sin[row * pairs + d] as number];
    const [a, b] = [x.data[i] as number, x.data[i + pairs] as number];
    y.data[i] = a * c - b * s;
    y.data[i + pairs] = a * s + b * c;
  }
  return y;
}

export const ROPE: readonly Hypothesis[] = family("rope", { kinds: ["rope"] } as const, {
  pairing: {
    what: "rotated in halves (j with j + head_dim/2) instead of neighbours",
    predict: (op) => predicted(halves(op)),
  },
  sign: {
    what: "rotated backwards",
    predict: (op) => predicted(evaluated(op, { context: { sin: op.context.sin.map((s) => -s) } })),
  },
  base: { what: "rotated with another base than the model's", predict: otherBase },
  "frequency-exponent": {
    what: "the frequencies' exponent i/d instead of 2i/d",
    predict: (op) => predicted(turned(op, { base: Math.sqrt(op.model.parameters.rope.base) })),
  },
  "scaling-missing": {
    what: "the model's RoPE scaling ignored",
    predict: (op) => predicted(turned(op, { scaling: { type: "none" }, factors: null })),
  },
  "position-plus-one": {
    what: "rotated one position too far",
    predict: (op) => predicted(turned(op, {}, op.context.posStart + 1)),
  },
  "position-minus-one": {
    what: "rotated one position too little",
    predict: (op) => predicted(turned(op, {}, op.context.posStart - 1)),
  },
  "position-zero": {
    what: "the position not advanced, the step's first row rotated as position 0",
    predict: (op) => predicted(turned(op, {}, 0)),
  },
  twice: {
    what: "rotated twice",
    predict: (op, { expected }) => predicted(evaluated(op, { inputs: [expected] })),
  },
  "first-head-only": {
    what: "only head 0 rotated",
    predict: (op, { expected }) => predicted(partly(op, expected, (head) => head === 0)),
  },
  "half-dims": {
    what: "only the first half of each head rotated",
    predict: (op, { expected }) => {
      const size = headDimOf(op);
      // Base^(-2j / (d/2)) is (base^2)^(-2j / d): the frequencies of a head of half the size.
      const steep = turned(op, { base: op.model.parameters.rope.base ** 2 });
      return [
        { output: partly(op, expected, (_, d) => d < size / 2) },
        { output: partly(op, steep, (_, d) => d < size / 2), parameter: "frequencies of a head of half the size" },
      ];
    },
  },
  "q-unrotated": {
    what: "not rotated",
    names: ["q_rope"],
    predict: (op) => predicted(input(op, 0)),
  },
  "k-unrotated": {
    what: "not rotated",
    names: ["k_rope"],
    predict: (op) => predicted(input(op, 0)),
  },
});
