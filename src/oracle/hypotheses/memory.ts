/** A tensor that holds something else than what was computed: another tensor, an older one, nothing, or gaps. */
import { ropeTable } from "../../model/rope.ts";
import { rowsAndColumns, shapeOf } from "../../trace/dims.ts";
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis, type Prediction, type Seen } from "./hypothesis.ts";
import { ALL_KINDS } from "./precision.ts";
import { evaluated, patched, wrongElements } from "./values.ts";

/** `count` elements from `start` on are those of `whole`, number by number; any two NaN are the same. */
function holds(whole: Float64Array, start: number, values: Float64Array, count: number): boolean {
  for (let i = 0; i < count; i++) {
    if (whole[start + i] !== values[i] && !Object.is(whole[start + i], values[i])) return false;
  }
  return true;
}

/** Elements of a tap in a step. */
function elements({ model, steps }: OpCase, dims: string, step: number): number {
  const { posStart, tokens } = steps[step] ?? { posStart: 0, tokens: [] };
  const { rows, columns } = rowsAndColumns(shapeOf(dims, model.axes(tokens.length, posStart + tokens.length)));
  return rows * columns;
}

/** Values in the shape of the op's output, narrowed as it is. */
function narrowedAs({ kept }: OpCase, { rows, columns }: Matrix, whole: Float64Array): Matrix {
  if (kept === null) return { rows, columns, data: whole };
  const width = whole.length / rows;
  const of = (i: number) => whole[Math.floor(i / columns) * width + (kept[i % columns] ?? 0)] as number;
  return matrix(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, (_, i) => of(i)),
  );
}

/** What holds another tensor is wrong nearly everywhere; where it is not, no other tensor need be read. */
function mostlyWrong(expected: Matrix, actual: Matrix): boolean {
  const wrong = wrongElements(expected, actual);
  return wrong.filter((is) => is).length > wrong.length / 2;
}

/** Other taps of this step with as many elements; with the actual output those that are equal to it, number by number. */
export async function equalTaps(op: OpCase, { expected, actual }: Seen): Promise<readonly Prediction[]> {
  const { tap: own, dims } = op.node.op;
  if (actual !== null && !mostlyWrong(expected, actual)) return [];
  const count = elements(op, dims, op.step);
  const layer = own.replace(/[^.]*$/, "");
  const found: Prediction[] = [];
  for (const { op: other } of op.model.graph) {
    if (other.tap === own || elements(op, other.dims, op.step) !== count) continue;
    if (actual === null && !other.tap.startsWith(layer)) continue;
    const values = await op.values(other.tap);
    if (values === null) continue;
    const output = narrowedAs(op, expected, values.data);
    if (actual !== null && !holds(actual.data, 0, output.data, output.data.length)) continue;
    found.push({ output, parameter: other.tap });
  }
  return found;
}

/** The same tap one step before: its last rows. */
export async function lastStep(op: OpCase, { expected: { rows, columns } }: Seen): Promise<readonly Prediction[]> {
  const { tap, dims } = op.node.op;
  const before = op.step === 0 || !dims.startsWith("token") ? null : await op.values(tap, op.step - 1);
  if (before === null || before.rows < rows) return [];
  const last = before.data.slice((before.rows - rows) * before.columns);
  return [{ output: narrowedAs(op, { rows, columns, data: last }, last) }];
}

/** What the same tap should have been one step before, from its inputs then: its last row. For ops that read no cache. */
async function computedLastStep(op: OpCase, { expected: { rows } }: Seen): Promise<readonly Prediction[]> {
  const { node, steps, model } = op;
  const step = steps[op.step - 1];
  if (step === undefined || step.tokens.length < rows || !node.op.dims.startsWith("token")) return [];
  const inputs: Matrix[] = [];
  for (const { tap, cached } of node.inputs) {
    const values = cached ? null : await op.values(tap, op.step - 1);
    if (values === null) return [];
    inputs.push(values);
  }
  const table = ropeTable(model.parameters.rope, step.posStart, step.tokens.length);
  const all = evaluated(op, { inputs, context: { ...step, ...table } });
  const output = matrix(rows, all.columns, all.data.slice((all.rows - rows) * all.columns));
  return [{ output, parameter: "as it should have been" }];
}

/** Where in a tensor a stretch of memory comes from: the whole stretch, or more than half of it and the tensor's end. */
function stretch(memory: Float64Array, tensor: Float64Array): { start: number; count: number } | null {
  const mark = memory.findIndex((x) => x !== 0 && !Number.isNaN(x));
  for (let at = tensor.indexOf(memory[mark] as number); at >= 0; at = tensor.indexOf(memory[mark] as number, at + 1)) {
    const start = at - mark;
    const count = Math.min(memory.length, tensor.length - start);
    if (start >= 0 && 2 * count > memory.length && holds(tensor, start, memory, count)) return { start, count };
  }
  return null;
}

/**
 * Zeros, or a stretch of another tensor of this step, the one before or the first (whose tensors are the largest, and stay
 * longest); what lies behind a tensor's end is taken as it is. A whole tensor of this step is `memory.alias`.
 */
async function whatMemoryHeld(op: OpCase, { expected, actual }: Seen): Promise<readonly Prediction[]> {
  const { rows, columns } = expected;
  if (actual === null || actual.data.every((x) => x === 0)) {
    return [{ output: matrix(rows, columns), parameter: "zeros" }];
  }
  if (op.kept !== null || !mostlyWrong(expected, actual)) return [];
  for (const step of new Set([op.step, op.step - 1, 0].filter((each) => each >= 0))) {
    for (const { op: other } of op.model.graph) {
      if (step === op.step && other.tap === op.node.op.tap) break;
      const tensor = other.tap === op.node.op.tap ? null : await op.values(other.tap, step);
      const found = tensor === null ? null : stretch(actual.data, tensor.data);
      if (found === null || (step === op.step && tensor?.data.length === found.count)) continue;
      const parameter = `${other.tap} of step ${step} from element ${found.start} on`;
      return [{ output: actual, parameter, free: actual.data.length - found.count }];
    }
  }
  return [];
}

/** Runs of neighbours that a lost write may leave. */
const MOST_RUNS = 4;
const SHORTEST_RUN = 4;

/** Few runs of wrong zeros, all else right. */
function gaps(expected: Matrix, actual: Matrix): readonly Prediction[] {
  const wrong = wrongElements(expected, actual);
  if (wrong.some((is, i) => is && actual.data[i] !== 0)) return [];
  // A run goes on over zeros that are near enough to be right.
  const inRun: boolean[] = actual.data.length === 0 ? [] : Array(actual.data.length).fill(false);
  const runs: [from: number, to: number][] = [];
  for (const [i, is] of wrong.entries()) {
    if (!is || inRun[i]) continue;
    let [from, to] = [i, i];
    while (actual.data[from - 1] === 0 && expected.data[from - 1] !== 0) from--;
    while (actual.data[to + 1] === 0 && expected.data[to + 1] !== 0) to++;
    inRun.fill(true, from, to + 1);
    runs.push([from, to]);
  }
  const free = inRun.filter((is) => is).length;
  if (runs.some(([from, to]) => to - from + 1 < SHORTEST_RUN)) return [];
  if (runs.length === 0 || runs.length > MOST_RUNS || free > wrong.length / 2) return [];
  // The same columns of every row are no accident of timing.
  const columns = new Set(runs.map(([from]) => from % expected.columns));
  if (expected.rows > 1 && runs.length >= expected.rows && columns.size === 1) return [];
  const parameter = runs.map(([from, to]) => `elements ${from} to ${to}`).join(", ");
  return [{ output: patched(expected, inRun, () => 0), parameter, free }];
}

/** Elements that may be NaN by themselves. */
const MOST_NAN = 32;

export const MEMORY: readonly Hypothesis[] = family("memory", { kinds: ALL_KINDS } as const, {
  alias: { what: "it holds another tensor of the pass", predict: equalTaps },
  "stale-step": {
    what: "it holds the last step's rows",
    predict: async (op, seen) => [...(await lastStep(op, seen)), ...(await computedLastStep(op, seen))],
  },
  uninitialised: { what: "never written: it holds what the memory held", whole: true, predict: whatMemoryHeld },
  race: {
    what: "runs of neighbouring elements were never written, all else is right",
    predict: (_op, { expected, actual }) => (actual === null ? [] : gaps(expected, actual)),
  },
  nan: {
    what: "single elements are NaN, all else is right",
    predict: (_op, { expected, actual }) => {
      if (actual === null) return [];
      const nan = Array.from(actual.data, (x, i) => Number.isNaN(x) && !Number.isNaN(expected.data[i]));
      const at = nan.flatMap((is, i) => (is ? [i] : []));
      if (at.length === 0 || at.length > MOST_NAN || at.length > nan.length / 2) return [];
      const output = patched(expected, nan, () => Number.NaN);
      return [{ output, parameter: `elements ${at.join(", ")}`, free: at.length }];
    },
  },
});
