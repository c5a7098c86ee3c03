/** The forward page over f64: runs whole steps as the engine does, or single ops through `evaluate`. */
import type { Model, OpModel } from "../model/model.ts";
import { type Op, Ops } from "../model/ops.ts";
import { ropeTable } from "../model/rope.ts";
import { evaluate, type Matrix, matrix, type OracleContext } from "./ops.ts";

/** Decoded weights in f64. Small ones are kept; large ones are decoded again when they are read again. */
export class OracleWeights {
  readonly #model: OpModel;
  readonly #kept = new Map<string, Matrix>();
  readonly #keepElements: number;

  /** `keepElements`: matrices up to this size stay in memory. */
  constructor(model: OpModel, keepElements = 1 << 22) {
    this.#model = model;
    this.#keepElements = keepElements;
  }

  /** The weight, or the rows `ids` of it. */
  get(name: string, ids?: readonly number[]): Matrix {
    const { file } = this.#model;
    const tensor = file.tensor(name);
    if (ids !== undefined) {
      const data = new Float64Array(ids.length * tensor.columns);
      ids.forEach((id, row) => {
        data.set(file.decodeRows(tensor, id, 1), row * tensor.columns);
      });
      return matrix(ids.length, tensor.columns, data);
    }
    const kept = this.#kept.get(name);
    if (kept !== undefined) return kept;
    const decoded = matrix(tensor.rows, tensor.columns, Float64Array.from(file.decodeRows(tensor)));
    if (decoded.data.length <= this.#keepElements) this.#kept.set(name, decoded);
    return decoded;
  }
}

/** What evaluating ops of one step needs beside their inputs. */
export function oracleContext(
  model: OpModel,
  weights: OracleWeights,
  posStart: number,
  tokens: readonly number[],
): OracleContext {
  const { cos, sin } = ropeTable(model.parameters.rope, posStart, tokens.length);
  return { tokens, posStart, cos, sin, weight: (name, ids) => weights.get(name, ids) };
}

interface Value {
  readonly tap: string;
  readonly matrix: Matrix;
}

class StepOps extends Ops<Value> {
  readonly #context: OracleContext;
  readonly #caches: Map<string, Matrix>;
  readonly #emit: (op: Op, output: Matrix) => void;

  constructor(context: OracleContext, caches: Map<string, Matrix>, emit: (op: Op, output: Matrix) => void) {
    super();
    this.#context = context;
    this.#caches = caches;
    this.#emit = emit;
  }

  override run(op: Op, inputs: readonly Value[]): Value {
    const output = evaluate(
      op,
      inputs.map((value) => value.matrix),
      this.#context,
    );
    this.#emit(op, output);
    return { tap: op.tap, matrix: output };
  }

  override cached(rows: Value): Value {
    const { posStart } = this.#context;
    const { columns } = rows.matrix;
    const all = matrix(posStart + rows.matrix.rows, columns);
    const earlier = this.#caches.get(rows.tap);
    if (earlier !== undefined) all.data.set(earlier.data.subarray(0, posStart * columns));
    all.data.set(rows.matrix.data, posStart * columns);
    this.#caches.set(rows.tap, all);
    return { tap: rows.tap, matrix: all };
  }
}

export class Oracle {
  readonly #model: Model;
  readonly #weights: OracleWeights;
  readonly #caches = new Map<string, Matrix>();

  constructor(model: Model) {
    this.#model = model;
    this.#weights = new OracleWeights(model);
  }

  /** Runs one step and gives the logits of its last row; `emit` sees every op's output in execution order. */
  step(posStart: number, tokens: readonly number[], emit: (op: Op, output: Matrix) => void = () => {}): Float64Array {
    const context = oracleContext(this.#model, this.#weights, posStart, tokens);
    const logits = this.#model.forward(new StepOps(context, this.#caches, emit)).matrix;
    return logits.data.subarray((logits.rows - 1) * logits.columns);
  }
}
