/** An output of somebody's own kernel held against the f64 oracle, by the bound that its own inputs give. */
import { type BudgetFacts, judgeOutput } from "../compare/within-budget.ts";
import { type Arithmetic, arithmeticOf } from "../oracle/arithmetic.ts";
import { bounded } from "../oracle/bounds.ts";
import { OracleWeights, oracleContext } from "../oracle/oracle.ts";
import { InputError } from "../trace/errors.ts";
import type { Declared, Given, Kind, Numbers } from "./given.ts";
import { opOf } from "./op-of.ts";

/**
 * Judges `output`, flat row-major, of an op of this kind on these inputs: the right values are computed in f64, and the rigorous bound
 * of docs/numerics.md says how far off any right computation may be (sums in any order). Throws InputError where lengths do not
 * go together, naming them, and for what cannot be declared.
 */
export function withinBudget<K extends Kind>(
  kind: K,
  output: Numbers,
  given: Given[K],
  declared: Declared = {},
): BudgetFacts {
  checkDeclared(declared);
  const { model, op, inputs, tokens, posStart, count } = opOf(kind, given);
  if (output.length !== count) {
    throw new InputError(`${kind}: the output has ${output.length} elements; of these inputs it has ${count}`);
  }
  const context = oracleContext(model, new OracleWeights(model), posStart, tokens);
  const right = bounded(model, op, inputs, context, arithmeticFor(declared));
  return judgeOutput(kind, right, Float32Array.from(output), declared.dtype ?? "f32");
}

const FORMATS = ["f32", "f16", "bf16"];
/** What may be declared. Anything else would be judged as if it had not been said. */
const DECLARED: { readonly [K in keyof Declared]-?: readonly string[] } = {
  ...{ dtype: FORMATS, accumulate: FORMATS, kv: FORMATS, weights: ["decoded"], inputs: ["stored"], between: ["f32"] },
  ...{ angles: ["f64"], activations: ["q8_0", "q8_1", "q8_k"] },
};

function checkDeclared(declared: Declared): void {
  for (const [name, value] of Object.entries(declared)) {
    const known = Object.hasOwn(DECLARED, name) ? DECLARED[name as keyof Declared] : undefined;
    if (known === undefined) {
      throw new InputError(`"${name}" is nothing to declare; there are ${Object.keys(DECLARED).join(", ")}`);
    }
    if (value !== undefined && !known.includes(value)) {
      throw new InputError(`${name} is declared "${value}"; there are ${known.join(", ")}`);
    }
  }
}

function arithmeticFor({ dtype = "f32", angles, activations, ...settings }: Declared): Arithmetic {
  if (activations !== undefined && dtype !== "f32") {
    throw new InputError(`activations in ${activations} go with a dtype of f32, not ${dtype}`);
  }
  const facts = { ...settings, ...(angles === undefined ? {} : { rope_table: angles }) };
  return arithmeticOf(activations ?? dtype, { name: "given", version: "", device: "", dtype, settings: facts });
}
