/** What a kernel gave, held against the f64 oracle on the same inputs: its error, its share of the derived bound, what it touched. */
import { type OwnError, ownError } from "../audited-op.ts";
import { Answer } from "./answer.ts";
import type { KernelCase, OpKernelCase } from "./cases.ts";
import { type ChoreFindings, choreFindings } from "./judge-chore.ts";

/** What is known of a run, whoever ran it: a kernel tried between borders. */
export interface KernelOutput {
  readonly values: Float32Array;
  readonly unstable: number;
  readonly unwritten: number;
  readonly border: { readonly before: number; readonly after: number };
  readonly milliseconds: number | null;
}

/** Why a kernel fails. */
export const REASONS = {
  border: "writes outside its output",
  unwritten: "leaves elements unwritten",
  unstable: "gives other bits the second time",
  bits: "gives other bits than it must",
  "non-finite": "makes NaN or Inf of finite numbers",
  absorbed: "makes finite numbers of NaN or Inf",
  bound: "is further off than any right computation",
  pattern: "has an error with a pattern that rounding does not have",
} as const;
export type Reason = keyof typeof REASONS;

export interface KernelJudgement {
  readonly case: Pick<KernelCase, "id" | "kind" | "shape" | "type" | "data" | "dtype">;
  readonly verdict: "pass" | "suspicious" | "fail";
  readonly reasons: readonly Reason[];
  /** sum (actual - expected)^2 / sum expected^2, over elements that are finite on both sides. */
  readonly nmse: number;
  /** The same of the worst row, relative to the mean row: a row that is right to be small weighs as its size. */
  readonly worstRowNmse: number;
  /** Largest |error| / bound of any element: the statistical bound, and the rigorous one. */
  readonly ofLikely: number;
  readonly ofWorst: number;
  readonly milliseconds: number | null;
  /** Bytes of inputs, weights and output, and arithmetic operations: of one call, each counted once. */
  readonly bytes: number;
  readonly operations: number;
}

/** Judges a run. `answer`: the case's where it is at hand; by the bounds of this program's own kernels unless told. */
export function judgeKernel(of: KernelCase, run: KernelOutput, answer?: Answer | null): KernelJudgement {
  if ("chore" in of) return judged(of, run, choreFindings(of.chore, run.values));
  const { right } = answer ?? new Answer(of);
  const [bytes, operations] = [bytesOf(of, run.values.length), operationsOf(of, run.values.length)];
  return judged(of, run, { right, actual: run.values, wrongWords: 0, reserved: 0, bytes, operations });
}

function judged(of: KernelCase, run: KernelOutput, found: ChoreFindings): KernelJudgement {
  const { right, actual, wrongWords, reserved, bytes, operations } = found;
  const own = ownError(right, actual, of.dtype);
  const reasons: Reason[] = [
    ...(run.border.before + run.border.after > 0 ? ["border" as const] : []),
    ...(run.unwritten > reserved ? ["unwritten" as const] : []),
    ...(run.unstable > 0 ? ["unstable" as const] : []),
    ...(wrongWords > 0 ? ["bits" as const] : []),
    ...wrongValues(own),
  ];
  return {
    case: { id: of.id, kind: of.kind, shape: of.shape, type: of.type, data: of.data, dtype: of.dtype },
    verdict: reasons.length > 0 ? "fail" : own.verdict === "suspicious" ? "suspicious" : "pass",
    reasons,
    ...{ nmse: own.relL2 ** 2, worstRowNmse: worstRow(right.expected, actual, right.columns) },
    ...{ ofLikely: own.likelyShare, ofWorst: own.worstShare, milliseconds: run.milliseconds, bytes, operations },
  };
}

/** What is wrong with values, whoever computed them. */
export const wrongValues = (own: OwnError): Reason[] => [
  ...(own.nonFinite.unexplained > 0 ? ["non-finite" as const] : []),
  ...(own.nonFinite.absorbed > 0 ? ["absorbed" as const] : []),
  ...(own.worstShare > 1 ? ["bound" as const] : []),
  ...(own.verdict === "likely" && own.worstShare <= 1 ? ["pattern" as const] : []),
];

/** Of rows of `columns`; elements that are not finite on a side are left out. */
function worstRow(expected: Float64Array, actual: Float32Array, columns: number): number {
  const rows = expected.length / columns;
  let [worst, all] = [0, 0];
  for (let row = 0; row < rows; row++) {
    let error = 0;
    for (let i = row * columns; i < (row + 1) * columns; i++) {
      const [e, a] = [expected[i] as number, actual[i] as number];
      if (!Number.isFinite(e) || !Number.isFinite(a)) continue;
      error += (a - e) ** 2;
      all += e * e;
    }
    worst = Math.max(worst, error);
  }
  return worst === 0 ? 0 : (worst * rows) / all;
}

function bytesOf({ model, op, inputs, tokens }: OpKernelCase, outputs: number): number {
  const read = inputs.reduce((sum, input) => sum + input.byteLength, 0);
  const weights = op.weights.map((name) => model.file.tensor(name));
  // Of a table only the rows asked for are read.
  const held = weights.reduce(
    (sum, { rows, rowBytes }) => sum + (op.kind === "embed" ? tokens.length : rows) * rowBytes,
    0,
  );
  return read + held + 4 * outputs;
}

/** Multiplications and additions of sums twice their length; elementwise ops by what they take for an element. */
function operationsOf({ op, model }: OpKernelCase, outputs: number): number {
  switch (op.kind) {
    case "embed":
      return 0;
    case "linear":
      return 2 * outputs * model.file.tensor(op.weights[0] ?? "").columns;
    case "attn_scores":
      return 2 * outputs * op.headDim;
    case "attn_ctx":
      return 2 * outputs * model.parameters.context;
    default:
      return PER_ELEMENT[op.kind] * outputs;
  }
}
/** rms_norm: square, add, two products. rope: two products and a sum. softmax: maximum, difference, exp, sum, quotient. */
const PER_ELEMENT = { rms_norm: 4, rope: 3, causal_softmax: 5, swiglu: 4, add: 1 } as const;
