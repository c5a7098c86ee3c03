/**
 * Judges runs that ought to agree to the bit, from hashes alone: the same run again, over memory filled with something else, with
 * and without a trace. A difference here is a race or stale memory, not a divergence.
 */

/** What is kept of one op of a run. */
export interface Fingerprint {
  readonly step: number;
  readonly tap: string;
  readonly op: string;
  readonly hash: bigint;
}

export interface RunPrints {
  /** Every op of every step, in execution order; none where the run was not traced. The base run is. */
  readonly ops: readonly Fingerprint[];
  /** The last row of each step's logits. */
  readonly logits: readonly Fingerprint[];
}

/** How each check differs from the base run. What may differ follows from it. */
export const CHECKS = {
  repeat: { kind: "plain", what: "the same run again on the same device" },
  fresh: { kind: "plain", what: "the same run on a fresh device" },
  nan: { kind: "memory", what: "memory filled with NaN before it is written" },
  noise: { kind: "memory", what: "memory filled with noise before it is written" },
  last: { kind: "memory", what: "memory as a run over other tokens left it" },
  untraced: { kind: "observer", what: "the logits of a run without a trace" },
  sketch: { kind: "observer", what: "a run traced at level sketch" },
  full: { kind: "observer", what: "a run traced at level full" },
} as const;
export type CheckName = keyof typeof CHECKS;

/** Runs under one condition; more than one tells whether a difference is the condition's. */
export interface Condition {
  readonly name: CheckName;
  readonly runs: readonly RunPrints[];
}

export interface Difference {
  /** Place among the ops of the base run. */
  readonly index: number;
  readonly step: number;
  readonly tap: string;
  readonly op: string;
  /** Ops after it, and how many of them differ too; for logits alone both count logits. */
  readonly following: number;
  readonly differing: number;
}

export interface Check {
  readonly name: CheckName;
  readonly runs: number;
  /** Hashes compared in each run. */
  readonly ops: number;
  /** `unjudged`: it differs, but so do runs that differ in nothing, at that op or before it. */
  readonly result: "same" | "differs" | "unjudged";
  readonly first: Difference | null;
  /** The run that differs first, from 1; the base run is run 1 of `repeat`. */
  readonly run: number | null;
}

/**
 * Why the first unstable op is one. `race`: runs over equal memory differ. `memory`: they agree, and what the memory held decides.
 * `observer`: the trace decides. `unknown`: none of these could be shown.
 */
export type Cause = "race" | "memory" | "observer" | "unknown";

export interface Judgement {
  readonly verdict: "deterministic" | "unstable";
  readonly cause: Cause | null;
  /** The first op in execution order that differs in any check. */
  readonly first: Difference | null;
  /** The first op at which runs over equal memory differ, wherever the first difference lies. */
  readonly race: Difference | null;
  readonly checks: readonly Check[];
}

/** The first place where two lists of one run's ops differ. Throws where they are not of one run, or empty: nothing would be compared. */
export function firstDifference(a: readonly Fingerprint[], b: readonly Fingerprint[]): Difference | null {
  if (a.length === 0 || a.length !== b.length) throw new Error(`${a.length} ops cannot be held against ${b.length}`);
  let found: { index: number; print: Fingerprint } | null = null;
  let differing = 0;
  for (const [index, print] of a.entries()) {
    const other = b[index];
    if (other === undefined || other.step !== print.step || other.tap !== print.tap) {
      throw new Error(`${print.tap} of step ${print.step} has no partner`);
    }
    if (other.hash === print.hash) continue;
    if (found === null) found = { index, print };
    else differing++;
  }
  if (found === null) return null;
  const { index, print } = found;
  return { index, step: print.step, tap: print.tap, op: print.op, following: a.length - index - 1, differing };
}

const earlier = (a: Difference | null, b: Difference | null) =>
  a === null || (b !== null && b.index < a.index) ? b : a;
const isBefore = (a: Difference | null, b: Difference) => a !== null && a.index <= b.index;

/**
 * Judges all conditions against the base run. A cause is given only where runs under one condition agree among themselves: two runs
 * or more of `nan` and `noise` for `race` and `memory`, of an observer's condition for `observer`.
 */
export function judgeRuns(base: RunPrints, conditions: readonly Condition[]): Judgement {
  const compared = conditions.map((condition) => ({ condition, ...against(base, condition) }));
  const race = compared
    .filter(({ condition }) => isFilled(condition))
    .map(({ condition: { runs } }) => amongThemselves(runs))
    .reduce(earlier, null);
  const isObserver = ({ condition }: (typeof compared)[number]) => CHECKS[condition.name].kind === "observer";
  const unobserved = compared
    .filter((each) => !isObserver(each))
    .map(({ first }) => first)
    .reduce(earlier, race);
  const first = compared.map((each) => each.first).reduce(earlier, unobserved);
  const checks = compared.map((each): Check => {
    const { condition, ops } = each;
    const own = CHECKS[condition.name].kind;
    const without = own === "observer" ? unobserved : own === "memory" ? race : null;
    const result = each.first === null ? "same" : isBefore(without, each.first) ? "unjudged" : "differs";
    // The base is one of the repeated runs.
    const runs = condition.runs.length + (condition.name === "repeat" ? 1 : 0);
    return { name: condition.name, runs, ops, result, first: each.first, run: each.run };
  });
  const cause = first === null ? null : causeOf(base, conditions, first, race, unobserved);
  return { verdict: first === null ? "deterministic" : "unstable", cause, first, race, checks };
}

const isFilled = ({ name }: Condition) => name === "nan" || name === "noise";

/** The earliest difference of a condition's runs from the base. */
function against(base: RunPrints, { name, runs }: Condition) {
  let first: Difference | null = null;
  let run: number | null = null;
  for (const [number, prints] of runs.entries()) {
    const difference = differenceOf(base, prints);
    if (difference === null || isBefore(first, difference)) continue;
    first = difference;
    // Run 1 of `repeat` is the base itself.
    run = number + (name === "repeat" ? 2 : 1);
  }
  return { first, run, ops: runs.some(({ ops }) => ops.length > 0) ? base.ops.length : base.logits.length };
}

/** By all ops where both were traced. Logits stand at their op's place in the base run. */
function differenceOf(base: RunPrints, prints: RunPrints): Difference | null {
  const found = prints.ops.length > 0 ? firstDifference(base.ops, prints.ops) : null;
  if (found !== null) return found;
  const difference = firstDifference(base.logits, prints.logits);
  if (difference === null) return null;
  const index = base.ops.findIndex(({ step, tap }) => step === difference.step && tap === difference.tap);
  return { ...difference, index: index < 0 ? base.ops.length : index };
}

function amongThemselves([one, ...others]: readonly RunPrints[]): Difference | null {
  if (one === undefined) return null;
  return others.map((other) => firstDifference(one.ops, other.ops)).reduce(earlier, null);
}

function causeOf(
  base: RunPrints,
  conditions: readonly Condition[],
  first: Difference,
  race: Difference | null,
  unobserved: Difference | null,
): Cause {
  if (isBefore(race, first)) return "race";
  if (!isBefore(unobserved, first)) {
    const guilty = conditions.filter(
      (each) => CHECKS[each.name].kind === "observer" && against(base, each).first?.index === first.index,
    );
    const at = (run: RunPrints) => hashAt(first)(run) ?? logitsAt(first)(run);
    const steady = guilty.every(({ runs }) => runs.length > 1 && new Set(runs.map(at)).size === 1);
    return steady ? "observer" : "unknown";
  }
  // Every filled condition agrees with itself here: at most one hash each.
  const filled = conditions
    .filter((each) => isFilled(each) && each.runs.length > 1)
    .map(({ runs }) => runs.map(hashAt(first)));
  const plain = conditions.filter(({ name }) => name === "repeat").flatMap(({ runs }) => runs.map(hashAt(first)));
  const isPlainSteady = plain.length > 0 && plain.every((hash) => hash === hashAt(first)(base));
  const hashes = new Set([...filled.flat(), ...(isPlainSteady ? plain : [])]);
  return filled.length > 0 && hashes.size > 1 ? "memory" : "unknown";
}

const hashAt =
  ({ index }: Difference) =>
  ({ ops }: RunPrints) =>
    ops[index]?.hash;
const logitsAt =
  ({ step }: Difference) =>
  ({ logits }: RunPrints) =>
    logits.find((print) => print.step === step)?.hash;

/** The smallest rectangle of rows and columns (first and last, both included) that holds every changed element. */
export interface ChangedRange {
  readonly rows: readonly [first: number, last: number];
  readonly columns: readonly [first: number, last: number];
  readonly changed: number;
}

/** Where two tensors of rows of `columns` elements differ in bits; null where nowhere. Throws where their sizes differ. */
export function changedRange(a: Float32Array, b: Float32Array, columns: number): ChangedRange | null {
  if (a.length !== b.length) throw new Error(`${a.length} values cannot be held against ${b.length}`);
  const [left, right] = [bitsOf(a), bitsOf(b)];
  let changed = 0;
  const rows: [number, number] = [left.length, 0];
  const across: [number, number] = [columns, 0];
  for (let i = 0; i < left.length; i++) {
    if (left[i] === right[i]) continue;
    changed++;
    widen(rows, Math.floor(i / columns));
    widen(across, i % columns);
  }
  return changed === 0 ? null : { rows, columns: across, changed };
}

function widen(range: [first: number, last: number], place: number): void {
  range[0] = Math.min(range[0], place);
  range[1] = Math.max(range[1], place);
}

const bitsOf = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);
