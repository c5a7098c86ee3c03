/** What a case should give, by the f64 oracle, with the bounds of the audit. */
import { type Arithmetic, arithmeticOf, BLOCKS_OF_32 } from "../../oracle/arithmetic.ts";
import type { Bounded } from "../../oracle/bounded.ts";
import { alternative, bounded } from "../../oracle/bounds.ts";
import { type Matrix, matrix, type OracleContext } from "../../oracle/ops.ts";
import { OracleWeights, oracleContext } from "../../oracle/oracle.ts";
import { rowsAndColumns, shapeOf } from "../../trace/dims.ts";
import type { Manifest } from "../../trace/record.ts";
import type { OpKernelCase } from "./cases.ts";

/** Who wrote a kernel, as far as its arithmetic goes. */
export type Author = Pick<Manifest["producer"], "name" | "version" | "settings">;

/** This program's kernels: their order of sums, their angles. */
const OWN: Author = { name: "faultline", version: "", settings: { rope_table: "f64", sum_order: BLOCKS_OF_32 } };
/** Angles are given, in this program's table; sums may have any order. */
const ANY_ORDER: Author = { name: "faultline", version: "", settings: { rope_table: "f64" } };

/** Kernels of other authors: sums in any order; their inputs are what they were given, and what they store is rounded once. */
export function anyKernels(how: { readonly decodesWeights: boolean; readonly exactAngles: boolean }): Author {
  const settings = { inputs: "stored", between: "f32" };
  const decoded = how.decodesWeights ? { weights: "decoded" } : {};
  const angles = how.exactAngles ? { rope_table: "f64" } : {};
  return { name: "any", version: "", settings: { ...settings, ...decoded, ...angles } };
}

export class Answer {
  readonly #of: OpKernelCase;
  readonly #inputs: readonly Matrix[];
  readonly #context: OracleContext;
  /** Within the bounds of how the kernel's author declares to compute. */
  readonly right: Bounded;

  constructor(of: OpKernelCase, author: Author = OWN) {
    const { model, tokens, posStart } = of;
    const sizes = model.axes(tokens.length, posStart + tokens.length);
    this.#of = of;
    this.#inputs = of.inputs.map((input, i) => {
      const { rows, columns } = rowsAndColumns(shapeOf(of.inputDims[i] ?? "", sizes));
      return matrix(rows, columns, Float64Array.from(input));
    });
    this.#context = oracleContext(model, new OracleWeights(model), posStart, tokens);
    this.right = bounded(model, of.op, this.#inputs, this.#context, this.#how(author));
  }

  /** What else is right for another program: sums in any order, and where the op leaves it open another reading of its inputs. */
  *elsewhere(): Generator<Bounded> {
    const { model, op } = this.#of;
    const how = this.#how(ANY_ORDER);
    yield bounded(model, op, this.#inputs, this.#context, how);
    const other = alternative(op, this.#inputs, this.#context, how);
    if (other !== null) yield other;
  }

  #how(author: Author): Arithmetic {
    const { dtype } = this.#of;
    return arithmeticOf(dtype, { ...author, device: "", dtype });
  }
}
