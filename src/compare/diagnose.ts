/**
 * The cause of a wrong op: every applicable hypothesis is computed from the inputs that the op was given, and the one that reproduces
 * the wrong output is the answer. A claim is proved or withheld: where none reproduces it, the answer is that nothing known does.
 */
import type { Hypothesis, Prediction } from "../oracle/hypotheses/hypothesis.ts";
import { HYPOTHESES } from "../oracle/hypotheses/table.ts";
import type { OpCase } from "../oracle/op-case.ts";
import type { Matrix } from "../oracle/ops.ts";
import { SKETCH_SIZE, sketchOf } from "../trace/sketch.ts";
import { nameInLayer } from "../trace/taps.ts";

/** One step of an op: what it was given, should have given, and gave. */
export interface Evidence {
  readonly op: OpCase;
  readonly expected: Matrix;
  /** Values where they are known, else the sketch stands for them. */
  readonly actual: Matrix | null;
  readonly sketch: Float32Array | null;
  /** Relative L2 distance that right arithmetic, on inputs known this well, may show. */
  readonly tolerance: number;
  /** True where the op is at fault in this step; a hypothesis must also fit the steps where it is not. */
  readonly isFault: boolean;
  /** What storing in half precision does to a right prediction, relative: residuals below it say nothing. */
  readonly rounding?: number;
  /** The same with all output columns, where these are only some; null where that would be too large. */
  readonly whole?: () => Promise<Evidence | null>;
}

/** A hypothesis held against what an op gave. */
export interface Candidate {
  readonly hypothesis: string;
  readonly what: string;
  readonly parameter: string | null;
  /** Relative L2 distance of its prediction from what the op gave; the worst of all steps that it was held against. */
  readonly residual: number;
  /** Elements that it takes as they are, for the bug does not say what they hold. */
  readonly free: number;
  /** A step where it does not give what the op gave, though it does in the one looked at first; else null. */
  readonly contradictedBy: number | null;
}

export interface Diagnosis {
  readonly tap: string;
  readonly step: number;
  /** What reproduces the output: one, several that do equally, or none (unknown). Plain fits only where nothing else does. */
  readonly causes: readonly Candidate[];
  /** The nearest that does not reproduce it, or reproduces it less well; null where none is nearer than the right output. */
  readonly runnerUp: Candidate | null;
  /** Distance of what the op gave from what it should have given. */
  readonly correctResidual: number;
  /** What a residual must stay within. */
  readonly tolerance: number;
  readonly evidence: "values" | "sketch";
  /** Hypotheses that were computed. */
  readonly tried: number;
}

/** A hypothesis must explain nearly all of the error's energy: be this many times nearer than the right output. */
const NEARER = 4;
/** Hypotheses whose residuals are this near to the best one's cannot be told apart. */
const TIE = 3;

const copies = (id: string) => id.startsWith("memory.") || id.startsWith("fit.");
const isFit = ({ hypothesis }: Candidate) => hypothesis.startsWith("fit.");

/**
 * Names the cause of a fault. `evidence`: steps of one op, the first of them at fault; the others, at fault or not, are what a
 * hypothesis must agree with as well.
 */
export async function diagnose(
  evidence: readonly [Evidence, ...Evidence[]],
  hypotheses: readonly Hypothesis[] = HYPOTHESES,
): Promise<Diagnosis> {
  const [first, ...others] = evidence;
  const { op } = first.op.node;
  const correctResidual = distance(first.expected, first);
  // Any tensor without a finite number equals any other: that says nothing of where it came from.
  const isEmpty = first.actual !== null && !first.actual.data.some(Number.isFinite);
  const applicable = hypotheses.filter(
    ({ id, kinds, names }) =>
      kinds.includes(op.kind) && (names?.includes(nameInLayer(op.tap)) ?? true) && !(isEmpty && copies(id)),
  );
  const candidates: { candidate: Candidate; hypothesis: Hypothesis; best: Best }[] = [];
  for (const hypothesis of applicable) {
    const best = await bestPrediction(hypothesis, first);
    if (best !== null)
      candidates.push({
        candidate: { ...named(hypothesis, best.prediction), residual: best.residual },
        hypothesis,
        best,
      });
  }
  const reproduces = ({ residual, prediction }: Best, { tolerance }: Evidence) =>
    residual <= Math.max(tolerance, prediction.slack ?? 0) && residual * NEARER <= correctResidual;
  const fitting: Candidate[] = [];
  const failing: Candidate[] = [];
  for (const { candidate, hypothesis, best } of candidates) {
    const elsewhere = reproduces(best, first) ? await worstElsewhere(hypothesis, others) : null;
    if (elsewhere === null) failing.push(candidate);
    else if (elsewhere.contradictedBy !== null)
      failing.push({ ...candidate, contradictedBy: elsewhere.contradictedBy });
    else fitting.push({ ...candidate, residual: Math.max(candidate.residual, elsewhere.residual) });
  }
  // What says all elements comes before what leaves some open, a bug of the catalogue before a plain fit. Memory that holds another
  // tensor is the most general of equal explanations.
  const rank = (each: Candidate) => (isFit(each) ? 2 : 0) + (each.free > 0 ? 1 : 0);
  const isMemory = ({ hypothesis }: Candidate) => Number(hypothesis.startsWith("memory."));
  fitting.sort((a, b) => rank(a) - rank(b) || a.residual - b.residual);
  failing.sort((a, b) => a.residual - b.residual);
  const [best] = fitting;
  const causes =
    best === undefined
      ? []
      : fitting
          .filter(
            (each) =>
              rank(each) === rank(best) && each.residual <= Math.max(TIE * best.residual, FLOOR, first.rounding ?? 0),
          )
          .sort((a, b) => isMemory(a) - isMemory(b));
  return {
    tap: op.tap,
    step: first.op.step,
    causes,
    runnerUp:
      [...fitting, ...failing].find(
        (each) => !causes.includes(each) && !isFit(each) && each.residual < correctResidual,
      ) ?? null,
    correctResidual,
    tolerance: first.tolerance,
    evidence: first.actual === null ? "sketch" : "values",
    tried: applicable.length,
  };
}

/** Below a few roundings residuals say nothing more: 4 u. */
const FLOOR = 4 * 2 ** -24;

const named = ({ id, what }: Hypothesis, { parameter, free }: Prediction) => ({
  hypothesis: id,
  what,
  parameter: parameter ?? null,
  free: free ?? 0,
  contradictedBy: null,
});

/** The prediction that comes nearest to what the op gave. */
async function bestPrediction(hypothesis: Hypothesis, evidence: Evidence, confirming = false): Promise<Best | null> {
  const seen = hypothesis.whole && evidence.whole !== undefined ? await evidence.whole() : evidence;
  if (seen === null) return null;
  const { op, expected, actual } = seen;
  return bestOf(await hypothesis.predict(op, { expected, actual, confirming }), seen);
}

interface Best {
  readonly prediction: Prediction;
  readonly residual: number;
}

function bestOf(list: readonly Prediction[], evidence: Evidence): Best | null {
  let best: Best | null = null;
  for (const prediction of list) {
    const residual = distance(prediction.output, evidence);
    if (best === null || residual < best.residual) best = { prediction, residual };
  }
  return best;
}

/** Whether a hypothesis agrees with the other steps: reproduces them where they are at fault, changes nothing where they are not. */
async function worstElsewhere(hypothesis: Hypothesis, others: readonly Evidence[]) {
  let residual = 0;
  for (const each of others) {
    const best = await bestPrediction(hypothesis, each, true);
    const here = best?.residual ?? distance(each.expected, each);
    if (here > Math.max(each.tolerance, best?.prediction.slack ?? 0))
      return { residual: here, contradictedBy: each.op.step };
    if (each.isFault) residual = Math.max(residual, here);
  }
  return { residual, contradictedBy: null };
}

/** Relative L2 distance of an output from what the op gave; infinite where one is finite and the other is not. */
export function distance(output: Matrix, { actual, sketch }: Pick<Evidence, "actual" | "sketch">): number {
  if (actual !== null) return relative(output.data, actual.data);
  if (sketch === null) return Number.POSITIVE_INFINITY;
  const own = sketchOf(Float32Array.from(output.data), output.rows, output.columns);
  return own.length === sketch.length && own.length === output.rows * SKETCH_SIZE
    ? relative(own, sketch)
    : Number.POSITIVE_INFINITY;
}

function relative(output: ArrayLike<number>, actual: ArrayLike<number>): number {
  let [difference, scale] = [0, 0];
  for (let i = 0; i < actual.length; i++) {
    const [y, a] = [output[i] as number, actual[i] as number];
    if (Number.isFinite(y) && Number.isFinite(a)) {
      difference += (a - y) ** 2;
      scale += y * y;
    } else if (!Object.is(y, a)) return Number.POSITIVE_INFINITY;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / scale);
}
