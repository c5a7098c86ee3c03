/**
 * The cause of a divergence between two traces where the actual one has no values: at an origin the inputs are alike, so each
 * hypothesis is computed from the expected run's inputs, and its sketch held against the actual sketch.
 */
import type { Model } from "../model/model.ts";
import { missingInputs } from "../oracle/op-case.ts";
import { OracleWeights } from "../oracle/oracle.ts";
import type { Trace } from "../trace/reader.ts";
import type { ComparedOp, Comparison } from "./compare.ts";
import { type Diagnosis, diagnose, type Evidence } from "./diagnose.ts";
import { evidenceOf } from "./evidence-of-fault.ts";
import { TraceValues } from "./run-values.ts";

/** Origins that are diagnosed, at most. */
const MOST = 4;

/**
 * Diagnoses the origins of a comparison, in order. `expected` must hold the values of what feeds them. Empty where only statistics
 * are known: they tell where, not what.
 */
export async function diagnoseOrigins(
  model: Model,
  expected: Trace,
  actual: Trace,
  comparison: Comparison,
): Promise<Diagnosis[]> {
  // From the first differing token on inputs are not alike.
  const end = comparison.tokens.difference === null ? Number.POSITIVE_INFINITY : comparison.tokenStep;
  const ops = comparison.ops.filter(({ step }) => step < end);
  const [inputs, observed] = [new TraceValues(expected, model), new TraceValues(actual, model)];
  const weights = new OracleWeights(model);
  const found: Diagnosis[] = [];
  const taps = [...new Set(ops.filter(({ isOrigin }) => isOrigin).map(({ tap }) => tap))];
  for (const tap of taps.slice(0, MOST)) {
    const node = model.graph.find(({ op }) => op.tap === tap);
    if (node === undefined) continue;
    const evidence: Evidence[] = [];
    for (const { step, verdict, judgement } of chosen(ops.filter((op) => op.tap === tap))) {
      if (otherRows(inputs, observed, step) || (await missingInputs(inputs, step, node)).length > 0) continue;
      const sketch = await observed.sketch(step, tap);
      if (sketch === null) continue;
      const isFault = verdict !== "alike";
      const known = { step, isFault, values: null, sketch, tolerance: judgement.allowed };
      evidence.push(await evidenceOf(model, inputs, node, known, weights));
    }
    const [first, ...others] = evidence;
    if (first?.isFault) found.push(await diagnose([first, ...others]));
  }
  return found;
}

/** True where a step's rows are not the same positions in both: an output is no partner of the other's inputs. */
export function otherRows(expected: TraceValues, actual: TraceValues, step: number): boolean {
  const [one, other] = [expected.steps[step], actual.steps[step]];
  return one?.posStart !== other?.posStart || one?.tokens.length !== other?.tokens.length;
}

/** The first two steps at fault, and the last one before them that is not: after them inputs are no longer alike. */
function chosen(ops: readonly ComparedOp[]): ComparedOp[] {
  const origins = ops.filter(({ isOrigin }) => isOrigin);
  const first = origins[0]?.step ?? 0;
  const before = ops.filter(({ step, verdict }) => step < first && verdict === "alike");
  return [...origins.slice(0, 2), ...before.slice(-1)];
}
