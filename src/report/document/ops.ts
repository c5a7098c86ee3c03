/** Taps, steps and ops of the judged trace, with what comparison and audit say of each. */
import { verdictOf } from "../../compare/audit.ts";
import type { AuditedOp } from "../../compare/audit-node.ts";
import type { ComparedOp } from "../../compare/compare.ts";
import type { At } from "../../compare/details.ts";
import type { RecordSummary, Trace } from "../../trace/reader.ts";
import { layerOfTap, nameInLayer } from "../../trace/taps.ts";
import { decisive } from "../comparison-facts.ts";
import type { Report, ReportOp, ReportTap } from "./schema.ts";
import type { ReportSources } from "./sources.ts";
import { figure, statisticsOf, worded } from "./wording.ts";

/** Taps in execution order, each once. */
export function tapsOf({ records }: Trace): ReportTap[] {
  const taps = new Map<string, RecordSummary>();
  for (const record of records) if (!taps.has(record.tap)) taps.set(record.tap, record);
  return [...taps.values()].map(({ tap, op, dims, inputs, weights }) => ({
    name: worded(tap),
    kind: worded(op),
    layer: tap.startsWith("weight:") ? null : layerOfTap(tap),
    column: worded(nameInLayer(tap)),
    dims: worded(dims),
    inputs: inputs.map((input) => worded(input)),
    weights: weights.map((weight) => worded(weight)),
  }));
}

/** Steps by number, and what each was given. */
export function stepsOf({ records, manifest }: Trace): Report["steps"] {
  return [...new Set(records.map(({ step }) => step))]
    .sort((a, b) => a - b)
    .map((number) => {
      const pieces = manifest.pieces[number] ?? [];
      const given = manifest.tokens[number]?.length ?? 0;
      const label =
        given === 1 && number > 0
          ? `step ${number}: "${worded(pieces[0] ?? "")}"`
          : `step ${number}: ${given} token${given === 1 ? "" : "s"}`;
      return { number, label };
    });
}

/** Every op of the actual trace, with what comparison and audit say of it. */
export function opsOf({
  comparison,
  audit,
  expected,
  actual,
  envelope,
}: ReportSources): (Omit<ReportOp, "step" | "tap"> & { at: At })[] {
  const key = ({ step, tap }: At) => `${step} ${tap}`;
  const compared = new Map<string, ComparedOp>();
  for (const op of comparison?.ops ?? []) {
    const before = compared.get(key(op));
    // Rows that belong to several records of the other side: the worst of them.
    if (before === undefined || decisive(op).share > decisive(before).share) compared.set(key(op), op);
  }
  const audited = new Map((audit?.ops ?? []).map((op) => [key(op), op]));
  const partners = new Map((expected?.records ?? []).map((record) => [key(record), record]));
  const natural = new Map((envelope?.records ?? []).map((record) => [key(record), record]));
  return actual.records.map((record) => {
    const [found, own, partner] = [compared.get(key(record)), audited.get(key(record)), partners.get(key(record))];
    const figures = found === undefined ? null : decisive(found);
    return {
      at: record,
      verdict: found?.verdict ?? "not-compared",
      isOrigin: found?.isOrigin ?? false,
      measured: figure(figures?.relL2 ?? null),
      allowed: figure(figures?.allowed ?? null),
      share: figure(figures?.share ?? null),
      evidence: found?.evidence ?? "",
      expected: partner !== undefined && found !== undefined && isTwin(partner, record) ? statisticsOf(partner) : null,
      actual: statisticsOf(record),
      envelope: envelopeOf(found, record, natural.get(key(record))),
      ...ownOf(own),
    };
  });
}

/** Of the same rows: statistics of others would look like a difference. */
const isTwin = (a: RecordSummary, b: RecordSummary) => a.posStart === b.posStart && a.shape.join() === b.shape.join();

function envelopeOf(found: ComparedOp | undefined, record: RecordSummary, other: RecordSummary | undefined) {
  if (found === undefined || other === undefined) return null;
  const { rms, maxAbs } = isTwin(other, record) ? statisticsOf(other) : { rms: null, maxAbs: null };
  return { measured: figure(found.natural), rms, maxAbs };
}

function ownOf(op: AuditedOp | undefined): Pick<ReportOp, "own" | "parts"> {
  if (op === undefined) return { own: null, parts: null };
  const { own, parts, reason } = op;
  const notFinite = own?.nonFinite.unexplained ?? 0;
  return {
    own: {
      verdict: verdictOf(op),
      relL2: figure(own?.relL2 ?? null),
      ofLikely: figure(own?.likelyShare ?? null),
      ofWorst: notFinite > 0 ? "Inf" : figure(own?.worstShare ?? null),
      notFinite,
      reason: reason === null ? null : worded(reason),
    },
    parts:
      parts === null
        ? null
        : {
            total: figure(parts.total),
            inherited: figure(parts.inherited),
            added: figure(parts.added),
            cancelled: figure(parts.cancelled),
          },
  };
}
