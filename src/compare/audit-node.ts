/** One op of the graph in every step of a run, recomputed from the run's own inputs: the unit of an audit's work. */
import type { GraphNode } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import type { OpKind } from "../model/ops.ts";
import { type Arithmetic, arithmeticOf } from "../oracle/arithmetic.ts";
import type { Bounded } from "../oracle/bounded.ts";
import { alternative, bounded } from "../oracle/bounds.ts";
import { earlierSteps, type OpCase, opCase, type StepTokens } from "../oracle/op-case.ts";
import { type Matrix, matrix } from "../oracle/ops.ts";
import { OracleWeights } from "../oracle/oracle.ts";
import { layerOfTap } from "../trace/taps.ts";
import { type ErrorParts, type OwnError, ownError } from "./audited-op.ts";
import type { TraceValues } from "./run-values.ts";

export interface AuditedOp {
  readonly step: number;
  readonly posStart: number;
  readonly tap: string;
  readonly op: string;
  readonly layer: number | null;
  readonly dims: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  /** Null where it could not be judged: then `reason` says why. */
  readonly own: OwnError | null;
  readonly reason: string | null;
  /** Against a second run; null where there is none, or none of this op. */
  readonly parts: ErrorParts | null;
}

/** What an audit works on. */
export interface AuditRuns {
  readonly model: Model;
  readonly run: TraceValues;
  /** A second run, to tell inherited from added error. */
  readonly against: TraceValues | null;
}

/** An op in all steps of the run. */
export async function auditNode({ model, run, against }: AuditRuns, node: GraphNode): Promise<AuditedOp[]> {
  const judged = new Map<number, AuditedOp>();
  const ready: number[] = [];
  for (const [step, { posStart }] of run.steps.entries()) {
    const record = run.record(step, node.op.tap);
    if (record === undefined) continue;
    const { tap, op, layer, dims, shape, dtype } = record;
    const facts = { step, posStart, tap, op, layer, dims, shape, dtype, own: null, parts: null };
    const reason = problemOf(run, step, node);
    judged.set(step, { ...facts, layer: layer ?? layerOfTap(tap), op: node.op.kind, reason });
    if (reason === null) ready.push(step);
  }
  const expected = await recomputed(model, run, node, ready);
  const other = against?.steps.length === run.steps.length ? against : null;
  const both = other === null ? [] : ready.filter((step) => problemOf(other, step, node) === null);
  const theirs = other === null ? new Map<number, Bounded>() : await recomputed(model, other, node, both);
  for (const step of ready) {
    const [right, facts] = [expected.get(step), judged.get(step)];
    const given = await run.values(step, node.op.tap);
    if (right === undefined || facts === undefined || given === null) continue;
    const actual = withoutMasked(node.op.kind, run.steps[step] ?? { posStart: 0, tokens: [] }, given, right);
    const own = await bestReading({ model, run }, node, step, facts.dtype, right, actual);
    const [rightThere, there] = [theirs.get(step), (await other?.values(step, node.op.tap)) ?? null];
    const parts =
      rightThere === undefined || there === null || other === null
        ? null
        : errorParts(right, actual, rightThere, there, await inputError(model, run, other, step, node));
    const isUnknown = own.verdict === "not-judged";
    judged.set(step, {
      ...facts,
      own,
      parts,
      reason: isUnknown ? "its inputs are not finite, so nothing is left to judge" : null,
    });
  }
  return [...judged.values()];
}

/** What engines write over masked scores: -Inf, or a number as good as that. A trace should hold 0 there; it is no error of the op. */
const MASK = -1e4;

/** Masked keys without what is no error of the op: the mask itself, and NaN of a softmax's row that is rightly NaN as a whole. */
function withoutMasked(
  kind: OpKind,
  { posStart, tokens }: StepTokens,
  given: Float32Array,
  { columns, expected }: Bounded,
): Float32Array {
  if (kind !== "attn_scores" && kind !== "causal_softmax") return given;
  return given.map((value, i) => {
    const row = Math.floor(i / columns);
    if (i % columns <= posStart + (row % tokens.length)) return value;
    const isNoError =
      kind === "attn_scores" ? value < MASK : Number.isNaN(value) && Number.isNaN(expected[row * columns] ?? 0);
    return isNoError ? 0 : value;
  });
}

/** The op's own error; where its inputs can be read in two right ways, by the one that it took. */
async function bestReading(
  { model, run }: Pick<AuditRuns, "model" | "run">,
  node: GraphNode,
  step: number,
  dtype: string,
  right: Bounded,
  actual: Float32Array,
): Promise<OwnError> {
  const own = ownError(right, actual, dtype);
  if (node.op.kind !== "attn_ctx" || own.verdict === "clean") return own;
  const { inputs, context } = await opCase(model, run, step, node, () => matrix(0, 0));
  const other = alternative(node.op, inputs, context, arithmeticOf(dtype, run.trace.manifest.producer));
  const second = other === null ? own : ownError(other, actual, dtype);
  const isBetter =
    own.nonFinite.unexplained !== second.nonFinite.unexplained
      ? second.nonFinite.unexplained < own.nonFinite.unexplained
      : second.worstShare < own.worstShare;
  return isBetter ? second : own;
}

/** Why an op cannot be recomputed in a step, or null. */
function problemOf(run: TraceValues, step: number, node: GraphNode): string | null {
  const own = run.problem(step, node.op.tap);
  if (own !== null) return own;
  for (const { tap, cached } of node.inputs) {
    for (const at of cached ? earlierSteps(run, step) : [step]) {
      const problem = run.problem(at, tap);
      if (problem !== null) return `its input ${problem}`;
    }
  }
  return node.inputs.some(({ cached }) => cached) ? gapBefore(run, step) : null;
}

/** Positions before a step whose keys and values no step of the trace has, or null. */
function gapBefore(run: TraceValues, step: number): string | null {
  let end = 0;
  for (const at of earlierSteps(run, step)) {
    const { posStart, tokens } = run.steps[at] ?? { posStart: 0, tokens: [] };
    if (posStart > end) return `positions ${end} to ${posStart - 1} are in no step of the trace`;
    end = Math.max(end, posStart + tokens.length);
  }
  return null;
}

/** The op's right outputs with their bounds, by step. A projection's rows are taken together, so its weight is decoded once. */
async function recomputed(
  model: Model,
  run: TraceValues,
  node: GraphNode,
  steps: readonly number[],
): Promise<Map<number, Bounded>> {
  const found = new Map<number, Bounded>();
  const weights = new OracleWeights(model);
  const cases: { step: number; op: OpCase; how: Arithmetic }[] = [];
  for (const step of steps) {
    const op = await opCase(model, run, step, node, (name, ids) => weights.get(name, ids));
    const how = arithmeticOf(run.record(step, node.op.tap)?.dtype ?? "f32", run.trace.manifest.producer);
    cases.push({ step, op, how });
  }
  const isOneArithmetic = new Set(steps.map((step) => run.record(step, node.op.tap)?.dtype)).size === 1;
  const [first] = cases;
  if (node.op.kind === "linear" && isOneArithmetic && first !== undefined) {
    const all = stacked(cases.flatMap(({ op }) => op.inputs));
    const whole = bounded(model, node.op, [all], first.op.context, first.how);
    let row = 0;
    for (const { step, op } of cases) {
      const rows = op.inputs[0]?.rows ?? 0;
      found.set(step, rowsOf(whole, row, rows));
      row += rows;
    }
    return found;
  }
  for (const { step, op, how } of cases) found.set(step, bounded(model, node.op, op.inputs, op.context, how));
  return found;
}

function stacked(parts: readonly Matrix[]): Matrix {
  const columns = parts[0]?.columns ?? 0;
  const all = matrix(
    parts.reduce((rows, part) => rows + part.rows, 0),
    columns,
  );
  let at = 0;
  for (const { data } of parts) {
    all.data.set(data, at);
    at += data.length;
  }
  return all;
}

function rowsOf(of: Bounded, first: number, rows: number): Bounded {
  const { columns, expected, worst, likely, alike } = of;
  const cut = (values: Float64Array) => values.subarray(first * columns, (first + rows) * columns);
  return {
    ...of,
    ...{ rows, expected: cut(expected), worst: cut(worst), likely: cut(likely) },
    alike: alike.subarray(first, first + rows),
  };
}

/** total = inherited + added, where inherited is what the op makes of the difference of its inputs. */
function errorParts(
  here: Bounded,
  actual: Float32Array,
  there: Bounded,
  other: Float32Array,
  input: number,
): ErrorParts {
  let [total, inherited, added, scale, right] = [0, 0, 0, 0, 0];
  for (let i = 0; i < actual.length; i++) {
    const passed = (here.expected[i] as number) - (there.expected[i] as number);
    const difference = (actual[i] as number) - (other[i] as number);
    if (!Number.isFinite(passed) || !Number.isFinite(difference)) continue;
    total += difference * difference;
    inherited += passed * passed;
    added += (difference - passed) ** 2;
    scale += (other[i] as number) ** 2;
    right += (there.expected[i] as number) ** 2;
  }
  const relative = (square: number) => (square <= 0 ? 0 : Math.sqrt(square / scale));
  return {
    total: relative(total),
    inherited: relative(inherited),
    added: relative(added),
    cancelled: relative(inherited + added - total),
    amplification: input > 0 && right > 0 ? Math.sqrt(inherited / right) / input : null,
  };
}

/** Relative difference of an op's inputs between two runs, all inputs together, each by its own size. */
async function inputError(
  model: Model,
  run: TraceValues,
  other: TraceValues,
  step: number,
  node: GraphNode,
): Promise<number> {
  const weights = new OracleWeights(model);
  const of = (values: TraceValues) => opCase(model, values, step, node, (name, ids) => weights.get(name, ids));
  const [here, there] = [await of(run), await of(other)];
  return Math.hypot(
    ...here.inputs.map((x, index) => {
      const y = there.inputs[index];
      let [difference, scale] = [0, 0];
      for (let i = 0; i < x.data.length; i++) {
        const [a, e] = [x.data[i] as number, y?.data[i] ?? Number.NaN];
        if (!Number.isFinite(a - e)) continue;
        difference += (a - e) ** 2;
        scale += e * e;
      }
      return difference === 0 ? 0 : Math.sqrt(difference / scale);
    }),
  );
}
