/** One element of a run that is not finite: where it stands, what it was made of, why it is not finite, and where it came from. */
import type { GraphNode } from "../model/graph.ts";
import type { Model } from "../model/model.ts";
import { arithmeticOf } from "../oracle/arithmetic.ts";
import { elementFacts, type Operand } from "../oracle/element.ts";
import { earlierSteps, missingInputs, type OpCase, opCase, type StepTokens } from "../oracle/op-case.ts";
import { evaluate } from "../oracle/ops.ts";
import { OracleWeights } from "../oracle/oracle.ts";
import { shapeOf } from "../trace/dims.ts";
import type { Audit } from "./audit.ts";
import { type ElementPlace, placeOf } from "./element-place.ts";
import { declaredReason, type Judged, notExplained, type Reason } from "./non-finite-reason.ts";
import type { TraceValues } from "./run-values.ts";
import { exponentiated, type Limit, limitOf, type SoftmaxRow, saturated, unshifted } from "./undeclared.ts";

export type NonFiniteValue = "NaN" | "Inf" | "-Inf";

/** An element of an op in a step. */
export interface ElementOf {
  readonly step: number;
  readonly tap: string;
  readonly index: number;
}

export interface NonFiniteElement extends ElementOf {
  readonly op: string;
  readonly dtype: string;
  readonly place: ElementPlace;
  /** Id of its row's token; null for a tensor without tokens. */
  readonly tokenId: number | null;
  readonly value: NonFiniteValue;
  /** The numbers that it is made of; empty where they are not in the trace. */
  readonly operands: readonly Operand[];
  readonly reason: Reason;
  /** All of the op's elements that are not finite: how many, of how many, the first and the last. */
  readonly extent: { readonly elements: number; readonly of: number; readonly first: number; readonly last: number };
}

/** What the story of a run is told from. */
export interface AuditedRun {
  readonly model: Model;
  readonly run: TraceValues;
  readonly audit: Audit;
}

export const nameOf = (value: number): NonFiniteValue => (Number.isNaN(value) ? "NaN" : value > 0 ? "Inf" : "-Inf");

/** An element that is not finite, with its operands and the reason. Throws where the run has no values of it. */
export async function explainElement(of: AuditedRun, { step, tap, index }: ElementOf): Promise<NonFiniteElement> {
  const { model, run } = of;
  const node = model.graph.find(({ op }) => op.tap === tap);
  const actual = await run.values(step, tap);
  if (node === undefined || actual === null) throw new Error(`step ${step} has no values of ${tap}`);
  const here = run.steps[step] ?? { posStart: 0, tokens: [] };
  const { posStart, tokens } = here;
  const sizes = model.axes(tokens.length, posStart + tokens.length);
  const place = placeOf(node.op.dims, sizes, posStart, index);
  const columns = shapeOf(node.op.dims, sizes).at(-1) ?? 1;
  const [operands, reason] = await whyNotFinite(of, step, node, actual, place);
  return {
    ...{ step, tap, index, op: node.op.kind, dtype: run.record(step, tap)?.dtype ?? "f32", place, operands, reason },
    tokenId: place.token === null ? null : (tokens[place.token] ?? null),
    value: nameOf(actual[index] as number),
    extent: extentOf(notFiniteAt(actual, columns, seenColumns(node, here, columns)), actual.length),
  };
}

/** Where an element's NaN or Inf came from: itself, then the input that it had it from, and so on up to where it was born. */
export async function trailOf(of: AuditedRun, element: ElementOf): Promise<NonFiniteElement[]> {
  const trail: NonFiniteElement[] = [];
  for (let at: ElementOf | null = element; at !== null; ) {
    const explained: NonFiniteElement = await explainElement(of, at);
    trail.push(explained);
    at = inputOf(of, explained);
  }
  return trail;
}

/** The element of another op that an element has its NaN or Inf from; null where it was born here, or in a weight. */
function inputOf({ model, run }: AuditedRun, { step, tap, reason }: NonFiniteElement): ElementOf | null {
  if (reason.kind !== "input" || reason.input.source === "weight") return null;
  const { which, row, column } = reason.input;
  const input = model.graph.find(({ op }) => op.tap === tap)?.inputs[which];
  if (input === undefined) return null;
  const startOf = (at: number) => run.steps[at]?.posStart ?? 0;
  const at = input.cached ? (earlierSteps(run, step).findLast((each) => startOf(each) <= row) ?? step) : step;
  const columns = run.record(at, input.tap)?.shape.at(-1) ?? 1;
  return { step: at, tap: input.tap, index: (input.cached ? row - startOf(at) : row) * columns + column };
}

async function whyNotFinite(
  { model, run, audit }: AuditedRun,
  step: number,
  node: GraphNode,
  actual: Float32Array,
  place: ElementPlace,
): Promise<readonly [readonly Operand[], Reason]> {
  const audited = audit.ops.find((each) => each.step === step && each.tap === node.op.tap);
  const [missing] = await missingInputs(run, step, node);
  // An op whose inputs are all not finite was recomputed, though nothing was left to judge.
  const why =
    (audited?.own == null ? audited?.reason : null) ??
    (missing === undefined ? null : `its input ${run.problem(missing[0], missing[1])}`);
  if (why !== null) return [[], { kind: "unknown", why, certain: true }];
  const weights = new OracleWeights(model);
  const of = await opCase(model, run, step, node, (name, ids) => weights.get(name, ids));
  const facts = elementFacts(of, place.row, place.column);
  const judged: Judged = {
    kind: node.op.kind,
    how: arithmeticOf(run.record(step, node.op.tap)?.dtype ?? "f32", run.trace.manifest.producer),
    actual: actual[place.index] as number,
    facts,
    overflowsByAudit: audited?.own?.nonFinite.unexplained === 0 && audited.own.nonFinite.overflowed > 0,
  };
  const declared = declaredReason(judged);
  if (declared !== null) return [facts.operands, declared];
  const limit = Number.isNaN(judged.actual) ? null : limitOf(evaluate(node.op, of.inputs, of.context).data, actual);
  return [facts.operands, undeclaredReason(of, actual, judged, limit, place) ?? notExplained(judged, limit)];
}

/** What another arithmetic than the declared one would make of the whole op, where that is just what it is. */
function undeclaredReason(
  of: OpCase,
  actual: Float32Array,
  { kind, facts, actual: value }: Judged,
  limit: Limit | null,
  { index, row, column }: ElementPlace,
): Reason | null {
  const [x] = of.inputs;
  if (facts.notFinite.length > 0 || x === undefined) return null;
  if (facts.row !== null) {
    const { posStart, tokens } = of.context;
    const rows = Array.from({ length: x.rows }, (_, at): SoftmaxRow => {
      const seen = [at * x.columns, at * x.columns + posStart + (at % tokens.length) + 1] as const;
      return { scores: x.data.subarray(...seen), actual: actual.subarray(...seen) };
    });
    return unshifted(rows, row, column);
  }
  if (limit !== null) return saturated(limit, facts.right);
  return kind === "swiglu" && Number.isNaN(value) ? exponentiated(x.data, actual, index) : null;
}

/**
 * Indices of a tensor's elements that are not finite, in order. `seen` gives how many columns of a row count: a score of -Inf beyond
 * them is a mask, and no number of a run.
 */
export function* notFiniteAt(values: Float32Array, columns: number, seen: (row: number) => number): Generator<number> {
  for (let row = 0; row * columns < values.length; row++) {
    const end = seen(row);
    for (let column = 0; column < columns; column++) {
      const value = values[row * columns + column] as number;
      if (!Number.isFinite(value) && (column < end || value !== Number.NEGATIVE_INFINITY)) yield row * columns + column;
    }
  }
}

/** Keys that a row of scores sees; all columns of any other op. */
export function seenColumns({ op }: GraphNode, { posStart, tokens }: StepTokens, columns: number) {
  return op.kind === "attn_scores" ? (row: number) => posStart + (row % tokens.length) + 1 : () => columns;
}

function extentOf(indices: Iterable<number>, of: number): NonFiniteElement["extent"] {
  let [elements, first, last] = [0, -1, -1];
  for (const index of indices) {
    elements++;
    if (first < 0) first = index;
    last = index;
  }
  return { elements, of, first, last };
}
