/** A tensor that holds something else than what was computed: another tensor, an older one, nothing, or gaps. */
import { rowsAndColumns, shapeOf } from "../../trace/dims.ts";
import type { OpCase } from "../op-case.ts";
import { type Matrix, matrix } from "../ops.ts";
import { family, type Hypothesis, type Prediction, type Seen } from "./hypothesis.ts";
import { ALL_KINDS } from "./precision.ts";
import { patched, wrongElements } from "./values.ts";

/** The first `count` elements are the same numbers; so are any two NaN. */
function startsAlike(a: Float64Array, b: Float64Array, count: number): boolean {
  for (let i = 0; i < count; i++) if (!Object.is(a[i], b[i]) && a[i] !== b[i]) return false;
  return true;
}

/** Elements of a tap in a step. */
function elements({ model, steps }: OpCase, dims: string, step: number): number {
  const { posStart, tokens } = steps[step] ?? { posStart: 0, tokens: [] };
  const { rows, columns } = rowsAndColumns(shapeOf(dims, model.axes(tokens.length, posStart + tokens.length)));
  return rows * columns;
}

/** Other taps of this step with as many elements; with the actual output those that are equal to it, number by number. */
export async function equalTaps(op: OpCase, { expected, actual }: Seen): Promise<readonly Prediction[]> {
  const { rows, columns, data } = expected;
  const layer = op.node.op.tap.replace(/[^.]*$/, "");
  const found: Prediction[] = [];
  for (const { op: other } of op.model.graph) {
    const { tap, dims } = other;
    if (tap === op.node.op.tap || elements(op, dims, op.step) !== data.length) continue;
    if (actual === null && !tap.startsWith(layer)) continue;
    const values = await op.values(tap);
    if (values === null || (actual !== null && !startsAlike(actual.data, values.data, data.length))) continue;
    found.push({ output: { rows, columns, data: values.data }, parameter: tap });
  }
  return found;
}

/** The same tap one step before: its last rows. */
export async function lastStep(op: OpCase, { expected }: Seen): Promise<readonly Prediction[]> {
  if (op.step === 0 || !op.node.op.dims.startsWith("token")) return [];
  const before = await op.values(op.node.op.tap, op.step - 1);
  const { rows, columns, data } = expected;
  if (before === null || before.columns !== columns || before.rows < rows) return [];
  return [{ output: matrix(rows, columns, before.data.slice(before.data.length - data.length)) }];
}

/** Equal to a tensor of this step or the one before as far as that goes; what lies behind its end is taken as it is. */
async function whatMemoryHeld(op: OpCase, { expected, actual }: Seen): Promise<readonly Prediction[]> {
  const { rows, columns, data } = expected;
  const zeros = { output: matrix(rows, columns), parameter: "zeros" };
  if (actual === null || actual.data.every((x) => x === 0)) return [zeros];
  for (const step of [op.step, op.step - 1]) {
    for (const { op: other } of step < 0 ? [] : op.model.graph) {
      if (step === op.step && other.tap === op.node.op.tap) break;
      const count = Math.min(data.length, elements(op, other.dims, step));
      // What takes less than half of the memory says little.
      const values = 2 * count < data.length ? null : await op.values(other.tap, step);
      if (values === null || !startsAlike(actual.data, values.data, count)) continue;
      const output = matrix(rows, columns, actual.data.slice());
      output.data.set(values.data.subarray(0, count));
      const parameter = step === op.step ? other.tap : `${other.tap} of the step before`;
      return [{ output, parameter, free: data.length - count }];
    }
  }
  return [];
}

/** Runs of neighbours that a lost write may leave. */
const MOST_RUNS = 4;

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
  if (runs.length === 0 || runs.length > MOST_RUNS || free > wrong.length / 2) return [];
  const parameter = runs.map(([from, to]) => `elements ${from} to ${to}`).join(", ");
  return [{ output: patched(expected, inRun, () => 0), parameter, free }];
}

/** Elements that may be NaN by themselves. */
const MOST_NAN = 32;

export const MEMORY: readonly Hypothesis[] = family("memory", { kinds: ALL_KINDS } as const, {
  alias: { what: "it holds another tensor of the pass", predict: equalTaps },
  "stale-step": { what: "it holds the last step's rows", predict: lastStep },
  uninitialised: { what: "never written: it holds what the memory held", predict: whatMemoryHeld },
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
