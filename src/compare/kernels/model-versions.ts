/**
 * Two versions of the kernels on one model over the same tokens: the first op whose bits differ, and whether each version is right
 * by its own inputs wherever bits differ. Facts only; src/report has the words.
 */
import type { Model } from "../../model/model.ts";
import type { OpKind } from "../../model/ops.ts";
import { rowsAndColumns } from "../../trace/dims.ts";
import { TraceError } from "../../trace/errors.ts";
import type { RecordSummary, Trace } from "../../trace/reader.ts";
import { auditTrace, isFault } from "../audit.ts";
import type { AuditedOp } from "../audit-node.ts";
import { type ChangedRange, changedRange, type Difference, firstDifference } from "../determinism.ts";

/** The element at which two finite values lie furthest apart. */
export interface LargestDifference {
  readonly row: number;
  readonly column: number;
  readonly own: number;
  readonly other: number;
}

/** The first op whose bits differ. All that it was computed from is the same. */
export interface FirstDiffering extends Difference, ChangedRange {
  readonly dims: string;
  readonly shape: readonly [rows: number, columns: number];
  /** Null where no element is finite on both sides and of another value. */
  readonly largest: LargestDifference | null;
  /** Elements that are NaN or Inf on one side alone. */
  readonly oneSided: number;
  /** False where both versions have the same kernels for it: a run that does not repeat itself. */
  readonly isTouched: boolean;
}

/** One version at the ops whose bits differ. */
export interface JudgedVersion {
  /** Of the first op; null where it could not be judged. */
  readonly first: AuditedOp | null;
  readonly judged: number;
  readonly notJudged: number;
  /** Ops that are wrong by themselves, in execution order. */
  readonly faults: readonly AuditedOp[];
}

export interface ModelVersions {
  /**
   * same-bits: all ops. both-right: every op that was judged is within its bounds on both sides. wrong: one is not. not-judged: bits
   * differ, and no op that differs could be judged.
   */
  readonly verdict: "same-bits" | "both-right" | "wrong" | "not-judged";
  /** Ops of all steps that were compared. */
  readonly ops: number;
  readonly first: FirstDiffering | null;
  /** Null where all bits are the same. */
  readonly own: JudgedVersion | null;
  readonly other: JudgedVersion | null;
}

export interface VersionTraces {
  /** Of the same tokens, at level full. */
  readonly own: Trace;
  readonly other: Trace;
  /** Kinds of op that another text computes. Others differ by what they are given, but for the first. */
  readonly touched: ReadonlySet<OpKind>;
  readonly progress?: (done: number, total: number) => void;
}

/** Compares and judges. Throws TraceError where the traces are not of one run of the model. */
export async function compareVersions(model: Model, { own, other, touched, progress }: VersionTraces) {
  const taps = new Set(model.graph.map(({ op }) => op.tap));
  const ops = ({ records }: Trace) => records.filter(({ tap }) => taps.has(tap));
  const [here, there] = [ops(own), ops(other)];
  const difference = firstDifference(here, there);
  const same: ModelVersions = { verdict: "same-bits", ops: here.length, first: null, own: null, other: null };
  if (difference === null) return same;
  const differing = here.filter((record, i) => record.hash !== there[i]?.hash);
  const first = await firstDiffering(difference, own, other, touched);
  const asked = differing.filter(({ tap, op }) => tap === first.tap || touched.has(op as OpKind));
  const [left, right] = [
    await judgedVersion(model, own, first, asked, progress),
    await judgedVersion(model, other, first, asked, progress),
  ];
  const verdict =
    left.faults.length + right.faults.length > 0
      ? "wrong"
      : left.judged === 0 || right.judged === 0
        ? "not-judged"
        : "both-right";
  return { ...same, verdict, first, own: left, other: right } satisfies ModelVersions;
}

async function firstDiffering(
  difference: Difference,
  own: Trace,
  other: Trace,
  touched: ReadonlySet<OpKind>,
): Promise<FirstDiffering> {
  const place = ({ records }: Trace) =>
    records.findIndex(({ step, tap }) => step === difference.step && tap === difference.tap);
  const [a, b] = [await own.values(place(own)), await other.values(place(other))];
  const { shape, dims } = own.records[place(own)] ?? { shape: [a.length], dims: "" };
  const { rows, columns } = rowsAndColumns(shape);
  const range = changedRange(a, b, columns);
  if (range === null) throw new TraceError(`${difference.tap}: hashes differ, values do not; please report this`);
  let [at, furthest, oneSided] = [-1, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number];
    if (Number.isFinite(x) !== Number.isFinite(y)) oneSided++;
    const apart = Math.abs(x - y);
    if (apart > furthest && Number.isFinite(apart)) [at, furthest] = [i, apart];
  }
  const largest =
    at < 0
      ? null
      : { row: Math.floor(at / columns), column: at % columns, own: a[at] as number, other: b[at] as number };
  return {
    ...difference,
    ...range,
    dims,
    shape: [rows, columns],
    largest,
    oneSided,
    isTouched: touched.has(difference.op as OpKind),
  };
}

/** The audit of these ops, each from its own run's inputs. */
async function judgedVersion(
  model: Model,
  trace: Trace,
  first: Difference,
  asked: readonly RecordSummary[],
  progress: VersionTraces["progress"],
): Promise<JudgedVersion> {
  const taps = new Set(asked.map(({ tap }) => tap));
  const keys = new Set(asked.map(({ step, tap }) => `${step} ${tap}`));
  const options = { wants: (tap: string) => taps.has(tap), ...(progress === undefined ? {} : { progress }) };
  try {
    const audit = await auditTrace(model, trace, options);
    const ops = audit.ops.filter(({ step, tap }) => keys.has(`${step} ${tap}`));
    const judged = ops.filter(({ own }) => own !== null && own.verdict !== "not-judged");
    return {
      first: judged.find(({ step, tap }) => step === first.step && tap === first.tap) ?? null,
      ...{ judged: judged.length, notJudged: ops.length - judged.length, faults: judged.filter(isFault) },
    };
  } catch (error) {
    // None of the ops has inputs that it could be recomputed from: they are NaN.
    if (error instanceof TraceError) return { first: null, judged: 0, notJudged: asked.length, faults: [] };
    throw error;
  }
}
