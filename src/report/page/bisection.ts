/** A bisection as a report page's document: all words and figures, none of the page. */

import { verdictOf } from "../../compare/audit.ts";
import type { AuditedOp } from "../../compare/audit-node.ts";
import { type Bisection, findingOf } from "../../compare/bisection.ts";
import type { ComparedOp } from "../../compare/compare.ts";
import { type At, choicesOf, type DetailedOp, detailsOf } from "../../compare/details.ts";
import type { RecordSummary, Trace } from "../../trace/reader.ts";
import { layerOfTap, nameInLayer } from "../../trace/taps.ts";
import { bisectionSentence, bisectionVerdict } from "../bisection.ts";
import { blindSpotPhrases } from "../blind-spots.ts";
import { decisive } from "../comparison-facts.ts";
import type { DeterminismFacts } from "../determinism.ts";
import { elementPlace, placeWords } from "../element-place.ts";
import { type Detail, type Report, type ReportOp, type ReportTap, reportSchema } from "./document.ts";
import { factsOf, type ReportSources, sideName } from "./facts.ts";
import { type Finding, findingsOf } from "./findings.ts";
import { figure, statisticsOf, worded } from "./wording.ts";

/** The document of `bisect --html`. Reads values of the ops that it looks at closely. */
export async function bisectionReport(sources: ReportSources): Promise<Report> {
  const { bisection, expected, actual, piece, version, created } = sources;
  const { comparison, blindSpots } = bisection;
  const taps = tapsOf(actual);
  const places = new Map(taps.map(({ name }, index) => [name, index]));
  const steps = stepsOf(actual);
  const stepAt = new Map(steps.map(({ number }, index) => [number, index]));
  const index = ({ step, tap }: At) => ({ step: stepAt.get(step) ?? 0, tap: places.get(tap) ?? 0 });
  const findings = findingsOf(bisection).filter(({ at }) => stepAt.has(at.step) && places.has(at.tap));
  const details = await detailsOf(
    expected,
    actual,
    comparison.tokens,
    findings.map(({ at }) => at),
  );
  const choices = await choicesOf(expected, actual, comparison.tokens);
  const chosen = (of: (typeof choices)[number]["expected"]) =>
    of.map(({ id, logit, probability }) => ({
      id,
      piece: worded(piece(id)),
      logit: figure(logit),
      probability: figure(probability),
    }));
  const { tokens } = comparison;
  const list = (ids: readonly number[], pieces: readonly string[]) =>
    ids.map((id, i) => ({ id, piece: worded(pieces[i] ?? "") }));
  return reportSchema.parse({
    ...{ schema: "faultline.report/1", version, created },
    verdict: bisectionVerdict(bisection),
    finding: findingOf(bisection),
    ...headline(bisection, findings),
    facts: factsOf(sources).map(([label, value]) => [label, worded(value)]),
    warnings: comparison.warnings.map((warning) => worded(warning)),
    blindSpots: blindSpotPhrases(blindSpots.filter(({ everywhere }) => everywhere)).map(({ ids, why }) => ({
      id: ids,
      reason: worded(why),
    })),
    sides: { expected: worded(sideName(expected)), actual: worded(sideName(actual)) },
    steps,
    columns: [...new Set(taps.filter(({ layer }) => layer !== null).map(({ column }) => column))],
    taps,
    ops: opsOf(sources).map(({ at, ...op }) => ({ ...index(at), ...op })),
    findings: findings.map(({ at, ...finding }) => ({ ...index(at), ...finding })),
    details: details.map((each) => ({ ...index(each), ...detailOf(each, actual) })),
    tokens: {
      expected: list(tokens.expected, tokens.expectedPieces),
      actual: list(tokens.actual, tokens.actualPieces),
      prompt: actual.manifest.tokens[0]?.length ?? 0,
      firstDifference: tokens.difference?.position ?? null,
    },
    logits: choices.map(({ position, kl, expected: e, actual: a }) => ({
      position,
      after: worded(tokens.actualPieces[position] ?? ""),
      kl: figure(kl),
      expected: chosen(e),
      actual: chosen(a),
    })),
    determinism: sources.determinism === null ? null : determinismOf(sources.determinism),
  } satisfies Report);
}

/** The sentence, and what proves it: an op at fault is named first, its figures after it. */
function headline(bisection: Bisection, [fault]: readonly Finding[]): Pick<Report, "sentence" | "proof"> {
  const sentence = bisectionSentence(bisection);
  if (findingOf(bisection) !== "own-fault" || fault === undefined || fault.proof === null) {
    return { sentence: worded(sentence || matched(bisection.comparison.ops.length)), proof: null };
  }
  const { faults = [] } = bisection.audit ?? {};
  const rest =
    faults.length > 1 ? `${faults.length - 1} more ops are wrong by themselves` : "everything after it inherits that";
  return { sentence: `${fault.sentence}; ${rest}`, proof: fault.proof };
}

const matched = (ops: number) => `all ${ops} ops that were compared are alike: none is beyond its budget`;

/** Taps in execution order, each once. */
function tapsOf({ records }: Trace): ReportTap[] {
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

function stepsOf({ records, manifest }: Trace): Report["steps"] {
  return [...new Set(records.map(({ step }) => step))]
    .sort((a, b) => a - b)
    .map((number) => {
      const pieces = manifest.pieces[number] ?? [];
      const given = manifest.tokens[number]?.length ?? 0;
      const label =
        given === 1 && number > 0 ? `step ${number}: "${worded(pieces[0] ?? "")}"` : `step ${number}: ${given} tokens`;
      return { number, label };
    });
}

/** Every op of the actual trace, with what comparison and audit say of it. */
function opsOf({ bisection, expected, actual }: ReportSources): (Omit<ReportOp, "step" | "tap"> & { at: At })[] {
  const key = ({ step, tap }: At) => `${step} ${tap}`;
  const compared = new Map<string, ComparedOp>();
  for (const op of bisection.comparison.ops) {
    const before = compared.get(key(op));
    // Rows that belong to several records of the other side: the worst of them.
    if (before === undefined || decisive(op).share > decisive(before).share) compared.set(key(op), op);
  }
  const audited = new Map((bisection.audit?.ops ?? []).map((op) => [key(op), op]));
  const partners = new Map(expected.records.map((record) => [key(record), record]));
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
      expected: partner === undefined || found === undefined ? null : statisticsOf(partner),
      actual: statisticsOf(record),
      ...ownOf(own),
    };
  });
}

function ownOf(op: AuditedOp | undefined): Pick<ReportOp, "own" | "parts"> {
  if (op === undefined) return { own: null, parts: null };
  const { own, parts, reason } = op;
  return {
    own: {
      verdict: verdictOf(op),
      relL2: figure(own?.relL2 ?? null),
      ofLikely: figure(own?.likelyShare ?? null),
      ofWorst: figure(own?.worstShare ?? null),
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

function detailOf(
  { step, posStart, dims, shape, detail }: DetailedOp,
  { manifest }: Trace,
): Omit<Detail, "step" | "tap"> {
  const { grid, heads, histogram, worst, sample } = detail;
  const hasHeads = grid.rows.some(({ outer }) => outer > 0);
  const range = (first: number, last: number) => (first === last ? `${first}` : `${first}-${last}`);
  const [tokens, columns] = [shape.at(-2) ?? 1, shape.at(-1) ?? 1];
  return {
    grid: {
      rows: grid.rows.map(
        ({ outer, first, last }) => `${hasHeads ? `head ${outer}, ` : ""}${range(posStart + first, posStart + last)}`,
      ),
      columns: grid.columns.map(({ first, last }) => range(first, last)),
      values: grid.values.map((row) => row.map(figure)),
    },
    heads: heads.map(figure),
    histogram: {
      edges: [...histogram.edges],
      below: [...histogram.below],
      above: [...histogram.above],
      equal: histogram.equal,
    },
    worst: worst.map(({ outer, token, column, expected, actual }) => ({
      place: worded(
        placeWords(
          elementPlace({ step, posStart, dims, shape }, (outer * tokens + token) * columns + column, manifest),
        ),
      ),
      expected: figure(expected),
      actual: figure(actual),
    })),
    sample: sample.map(([e, a]) => [rounded(e), rounded(a)]),
  };
}

const rounded = (value: number) => Number(value.toPrecision(4));

function determinismOf({ judgement }: DeterminismFacts): NonNullable<Report["determinism"]> {
  return {
    verdict: judgement.verdict,
    checks: judgement.checks.map(({ name, result, ops, first }) => [
      name,
      first === null ? `${result}, ${ops} hashes` : `${result}: first at ${first.tap}, step ${first.step}`,
    ]),
  };
}
