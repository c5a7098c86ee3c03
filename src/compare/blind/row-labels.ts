/**
 * Which rows of a run must be equal whatever the weights are: the forward page run on labels instead of numbers. Two rows of one tap
 * have one label if they are computed alike from the same tokens, so equal tokens have equal rows wherever no position enters.
 */
import type { Model } from "../../model/model.ts";
import { type Op, type OpKind, Ops } from "../../model/ops.ts";
import { fmix32 } from "../../trace/sketch.ts";

/** One token of a run. */
export interface Row {
  readonly step: number;
  readonly token: number;
  readonly position: number;
  /** Index of the row that its sequence begins with. */
  readonly start: number;
}

/** One label a row, in the order of the run. Labels are 32-bit hashes: two different rows share one by chance once in 2^32. */
export type Labels = Uint32Array;

/** Labels of every tap. */
export function rowLabels(model: Model, rows: readonly Row[]): ReadonlyMap<string, Labels> {
  const interpreter = new LabelOps(rows);
  model.forward(interpreter);
  return interpreter.labels;
}

class LabelOps extends Ops<Labels> {
  readonly labels = new Map<string, Labels>();
  readonly #rows: readonly Row[];

  constructor(rows: readonly Row[]) {
    super();
    this.#rows = rows;
  }

  override run(op: Op, inputs: readonly Labels[]): Labels {
    const at = this.labels.size + 1;
    const labels = Uint32Array.from(this.#rows, (row, i) => LABEL[op.kind](at, row, i, inputs));
    this.labels.set(op.tap, labels);
    return labels;
  }

  override cached(rows: Labels): Labels {
    return rows;
  }
}

/** Order matters: mixed(a, b) is not mixed(b, a). */
const mixed = (a: number, b: number) => fmix32(Math.imul(fmix32(a ^ 0x9e3779b9), 31) + b);

type LabelOf = (op: number, row: Row, i: number, inputs: readonly Labels[]) => number;

const label = (inputs: readonly Labels[], input: number, i: number) => inputs[input]?.[i] ?? 0;
const pointwise: LabelOf = (op, _row, i, inputs) => {
  let of = op;
  for (const each of inputs) of = mixed(of, each[i] ?? 0);
  return of;
};
const positional: LabelOf = (op, { position, start }, i, inputs) =>
  mixed(mixed(mixed(op, label(inputs, 0, i)), position), start);

const LABEL: Readonly<Record<OpKind, LabelOf>> = {
  embed: (op, { token }) => mixed(op, token),
  rms_norm: pointwise,
  linear: pointwise,
  swiglu: pointwise,
  add: pointwise,
  // Position 0 is turned by no angle.
  rope: (op, row, i, inputs) => (row.position === 0 ? label(inputs, 0, i) : positional(op, row, i, inputs)),
  attn_scores: positional,
  // The softmax over one key is 1.
  causal_softmax: (op, row, i, inputs) => (row.position === 0 ? mixed(op, 0) : positional(op, row, i, inputs)),
  // Equal values have their own mean, whatever the probabilities are.
  attn_ctx: (op, row, i, inputs) => {
    const own = label(inputs, 1, i);
    for (let j = row.start; j < i; j++) {
      if (label(inputs, 1, j) !== own) return positional(op, row, i, inputs);
    }
    return mixed(op, own);
  },
};
