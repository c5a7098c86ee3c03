/** The op of a repro bundle recomputed from the bundle alone, and an output held against it: the audit of one op. */
import { type Arithmetic, arithmeticOf } from "../oracle/arithmetic.ts";
import { bounded } from "../oracle/bounds.ts";
import { OracleWeights, oracleContext } from "../oracle/oracle.ts";
import { InputError } from "../trace/errors.ts";
import { type OwnError, ownError } from "./audited-op.ts";
import type { Bundle } from "./bundle-read.ts";

/** What an output is stored in, and how it was computed; the bundle's own unless told. */
export interface Computed {
  readonly values: Float32Array;
  readonly dtype: string;
  readonly how: Arithmetic;
}

/** The bundle's output, or another of the same arithmetic. */
export function asRecorded({ facts, actual }: Bundle, values: Float32Array = actual): Computed {
  return { values, dtype: facts.dtype, how: arithmeticOf(facts.dtype, facts.provenance.producer) };
}

/**
 * Judges an output as the audit does. Throws InputError where the bundle's expected output is not that of its inputs (it was
 * changed), or where no element can be judged.
 */
export function replay(bundle: Bundle, { values, dtype, how }: Computed): OwnError {
  const { facts, model, op, inputs } = bundle;
  const context = oracleContext(model, new OracleWeights(model), facts.posStart, facts.tokens);
  const right = bounded(model, op, inputs, context, how);
  const changed = right.expected.findIndex((e, i) => {
    const stored = bundle.expected[i] as number;
    const isSame = e === stored || (Number.isNaN(e) && Number.isNaN(stored));
    return !isSame && !(Math.abs(e - stored) <= (right.worst[i] as number));
  });
  if (changed >= 0) {
    throw new InputError(
      `${bundle.folder}: its inputs give ${right.expected[changed]} at element ${changed}, ${facts.expected} has ${bundle.expected[changed]}; it was changed since it was written, write it again`,
    );
  }
  const own = ownError(right, values, dtype);
  const { inherited, absorbed } = own.nonFinite;
  if (inherited + absorbed === own.count) {
    throw new InputError(
      `${bundle.folder}: none of ${own.count} elements can be judged, the inputs are not finite; bundle the op that made them`,
    );
  }
  return own;
}
