/**
 * Audit of a run: every op of every step recomputed by the oracle from the run's own inputs, so that what came from above is gone
 * and only the op's own error is left, held against what rounding can do. Facts only; src/report has the words.
 */
import { availableParallelism } from "node:os";
import type { GraphNode } from "../model/graph.ts";
import { fileDigest, type Model } from "../model/model.ts";
import { tapFilter, tapMatcher } from "../trace/capture.ts";
import { InputError, TraceError } from "../trace/errors.ts";
import type { Trace } from "../trace/reader.ts";
import { type AuditedOp, auditNode } from "./audit-node.ts";
import { auditInWorkers } from "./audit-pool.ts";
import type { AuditVerdict } from "./audited-op.ts";
import { SIZES } from "./preconditions.ts";
import { TraceValues } from "./run-values.ts";

export interface Audit {
  readonly trace: { readonly path: string; readonly manifest: Trace["manifest"]; readonly partial: boolean };
  /** The second run, where one was given. */
  readonly against: string | null;
  /** divergent where an op is proved or likely to be wrong by itself. */
  readonly verdict: "match" | "divergent";
  /** In execution order: by step, then as the graph has them. */
  readonly ops: readonly AuditedOp[];
  readonly counts: Readonly<Record<AuditVerdict, number>>;
  /** Records that belong to no op of the model, with the reason. */
  readonly others: readonly { readonly tap: string; readonly step: number; readonly reason: string }[];
  readonly warnings: readonly string[];
}

export interface AuditOptions {
  /** A second run of the same tokens, to tell inherited from added error. */
  readonly against?: Trace;
  /** True for ops to be judged. */
  readonly wants?: (tap: string) => boolean;
  /** Threads; as many as the machine has unless told, none for a small model. */
  readonly workers?: number;
  readonly progress?: (done: number, total: number) => void;
}

/** Multiplications below which starting threads costs more than they bring. */
const SMALL = 3e8;

export const verdictOf = (op: AuditedOp): AuditVerdict => op.own?.verdict ?? "not-judged";
/** True for an op that is proved or likely to be wrong by itself. */
export const isFault = (op: AuditedOp): boolean => verdictOf(op) === "proved" || verdictOf(op) === "likely";

/** The ops that globs name. Throws InputError for a glob that names none. */
export function wantedOps(model: Model, globs: readonly string[]): (tap: string) => boolean {
  const idle = globs.find((glob) => !model.graph.some(({ op }) => tapMatcher([glob])(op.tap)));
  if (idle !== undefined) throw new InputError(`no op matches ${idle}; ops are named like blk.0.attn_norm, logits`);
  return tapFilter(globs);
}

/** Audits a trace of a model. Throws InputError where the model is not the trace's, TraceError where nothing can be judged. */
export async function auditTrace(model: Model, trace: Trace, options: AuditOptions = {}): Promise<Audit> {
  await checkModel(model, trace);
  const run = new TraceValues(trace, model);
  const against = options.against === undefined ? null : new TraceValues(options.against, model);
  if (against !== null) checkTokens(run, against);
  if (!trace.records.some(({ hasValues }) => hasValues)) {
    throw new TraceError(
      `${trace.path}: holds no values in ${trace.records.length} records, and an op can only be recomputed from values; trace with --capture full, or hold it against a reference with 'faultline compare' and name the cause with 'faultline diagnose'`,
    );
  }
  const wants = options.wants ?? (() => true);
  const traced = new Set(trace.records.map(({ tap }) => tap));
  const nodes = model.graph
    .map((node, index) => ({ node, index }))
    .filter(({ node }) => traced.has(node.op.tap) && wants(node.op.tap));
  const cost = new Map(nodes.map(({ node, index }) => [index, costOf(model, run, node)]));
  const order = [...cost].sort((a, b) => b[1] - a[1]).map(([index]) => index);
  const total = [...cost.values()].reduce((sum, each) => sum + each, 0);
  const workers = options.workers ?? (total < SMALL ? 0 : availableParallelism());

  const ops: AuditedOp[] = [];
  let done = 0;
  const take = (audited: readonly AuditedOp[]) => {
    ops.push(...audited);
    options.progress?.(++done, order.length);
  };
  if (workers > 0) {
    const layers = trace.manifest.producer.settings.layers;
    const work = {
      model: model.file.path,
      layers: model.layers.length === model.parameters.layers ? null : String(layers ?? model.layers.join(",")),
      trace: trace.path,
      against: options.against?.path ?? null,
    };
    await auditInWorkers(work, order, workers, take);
  } else {
    for (const { node } of nodes) take(await auditNode({ model, run, against }, node));
  }
  const place = new Map(model.graph.map(({ op }, index) => [op.tap, index]));
  ops.sort((a, b) => a.step - b.step || (place.get(a.tap) ?? 0) - (place.get(b.tap) ?? 0));
  const counts = { clean: 0, suspicious: 0, likely: 0, proved: 0, "not-judged": 0 };
  for (const op of ops) counts[verdictOf(op)]++;
  if (counts["not-judged"] === ops.length) {
    throw new TraceError(
      `${trace.path}: none of ${ops.length} ops can be recomputed (${ops[0]?.reason ?? "no tap is of this model"}); trace with --capture full and all taps`,
    );
  }
  return {
    trace: { path: trace.path, manifest: trace.manifest, partial: trace.partial },
    against: options.against?.path ?? null,
    verdict: ops.some(isFault) ? "divergent" : "match",
    ops,
    counts,
    others: othersOf(model, trace, place),
    warnings: warningsOf(model, trace),
  };
}

/** Multiplications of an op over all steps. */
function costOf(model: Model, run: TraceValues, { op }: GraphNode): number {
  const rows = run.steps.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const tensor = op.kind === "linear" ? model.file.tensor(op.weights[0] ?? "") : null;
  return rows * (tensor === null ? model.parameters.embd : tensor.rows * tensor.columns);
}

/** Throws InputError where a trace is of another model: by its sizes, and by its digest where it has one. */
export async function checkModel(model: Model, trace: Trace): Promise<void> {
  const { sha256, file, hyperParameters, architecture } = trace.manifest.model;
  if (architecture !== model.architecture) {
    throw new InputError(
      `${trace.path} is of a ${architecture} model, ${model.file.name} is ${model.architecture}; give the model that was run`,
    );
  }
  for (const name of SIZES) {
    const [traced, own] = [hyperParameters[name], model.parameters[name]];
    if (traced !== undefined && traced !== own) {
      throw new InputError(
        `${trace.path} is of ${file || "a model"} (${name} ${traced}), ${model.file.name} has ${name} ${own}; give the model that was run`,
      );
    }
  }
  if (sha256 !== null) {
    const digest = await fileDigest(model.file.path);
    if (digest !== sha256) {
      throw new InputError(
        `${trace.path} was made from ${file} with sha256 ${sha256.slice(0, 12)}, ${model.file.name} has ${digest.slice(0, 12)}; give the model that was run`,
      );
    }
  }
}

function checkTokens(run: TraceValues, against: TraceValues): void {
  const text = ({ steps }: TraceValues) =>
    steps.map(({ posStart, tokens }) => `${posStart}:${tokens.join()}`).join(";");
  if (text(run) !== text(against)) {
    throw new InputError(
      `${run.trace.path} and ${against.trace.path} ran other tokens or steps; inherited and added error need the same in both`,
    );
  }
}

function othersOf(model: Model, trace: Trace, place: ReadonlyMap<string, number>): Audit["others"] {
  const named = trace.manifest.tokens.length;
  const reasonOf = (tap: string): string | null => {
    if (place.has(tap)) return null;
    return tap.startsWith("weight:") || tap.startsWith("rope.")
      ? "a table, no op"
      : `no op of ${model.architecture} makes it`;
  };
  return trace.records.flatMap(({ tap, step }) => {
    const reason = reasonOf(tap) ?? (step < named ? null : "the trace does not name its step's tokens");
    return reason === null ? [] : [{ tap, step, reason }];
  });
}

function warningsOf(model: Model, trace: Trace): string[] {
  const { sha256 } = trace.manifest.model;
  const named = trace.manifest.tokens.length;
  const later = trace.records.filter(({ step }) => step >= named).length;
  return [
    ...(later > 0
      ? [
          `${later} of ${trace.records.length} records are of steps whose tokens the trace does not name (it names ${named}): not judged`,
        ]
      : []),
    ...(trace.partial ? [`${trace.path} is partial: it was never finished`] : []),
    ...(sha256 === null
      ? [`the trace does not say of which file it is: ${model.file.name} is taken at your word`]
      : []),
    ...(trace.manifest.faults.length > 0
      ? [`${trace.path} has planted faults: ${trace.manifest.faults.join(", ")}`]
      : []),
  ];
}
