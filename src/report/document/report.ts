/** A judgement as one document: all words and figures of a report, none of its formats. */
import { type At, type ChoicesAt, choicesOf, detailsOf } from "../../compare/details.ts";
import { blindSpotsOf } from "./blind-spots.ts";
import { detailOf } from "./detail.ts";
import { determinismSection } from "./determinism.ts";
import { factsOf } from "./facts.ts";
import { findingsOf } from "./findings.ts";
import { headlineOf } from "./headline.ts";
import { opsOf, stepsOf, tapsOf } from "./ops.ts";
import { type Report, type ReportTap, reportSchema } from "./schema.ts";
import { type ReportSources, sideName } from "./sources.ts";
import { figure, worded } from "./wording.ts";

/** The document of a report. Reads values of the ops that it looks at closely. */
export async function reportOf(given: ReportSources): Promise<Report> {
  const sources = trusted(given);
  const { envelope, comparison, audit, blindSpots, expected, actual, version, created } = sources;
  const [taps, steps] = [tapsOf(actual), stepsOf(actual)];
  // In the order of `taps`, whose names are worded.
  const tapAt = new Map([...new Set(actual.records.map(({ tap }) => tap))].map((tap, i) => [tap, i]));
  const stepAt = new Map(steps.map(({ number }, index) => [number, index]));
  const index = ({ step, tap }: { step: number; tap: string }) => ({
    step: stepAt.get(step) ?? 0,
    tap: tapAt.get(tap) ?? 0,
  });
  const findings = findingsOf(sources).filter(({ at }) => stepAt.has(at.step) && tapAt.has(at.tap));
  const isPair = expected !== null && comparison !== null;
  const accused = findings.map(({ at }) => at);
  const seen = piecesSeen(sources);
  const details = isPair ? await detailsOf(expected, actual, comparison.tokens, accused) : [];
  const choices = isPair ? await choicesOf(expected, actual, comparison.tokens) : [];
  return reportSchema.parse({
    ...{ schema: "faultline.report/1", version, created, steps, taps },
    ...headlineOf(sources, findings),
    facts: [...whereFacts(accused, taps, tapAt), ...factsOf(sources)].map(([label, value]) => [label, worded(value)]),
    warnings: [...new Set([...(comparison?.warnings ?? []), ...(audit?.warnings ?? [])])].map((each) => worded(each)),
    blindSpots: blindSpotsOf(blindSpots),
    sides: {
      expected: expected === null ? null : worded(sideName(expected)),
      actual: worded(sideName(actual)),
      envelope: envelope === undefined ? null : worded(sideName(envelope)),
    },
    columns: [...new Set(taps.filter(({ layer }) => layer !== null).map(({ column }) => column))],
    ops: opsOf(sources).map(({ at, ...op }) => ({ ...index(at), ...op })),
    findings: findings.map(({ at, ...finding }) => ({ ...index(at), ...finding })),
    details: details.map((each) => ({ ...index(each), ...detailOf(each, actual) })),
    tokens: tokensOf(sources),
    logits: choices.map((each) => choiceOf(each, sources, seen)),
    sections: sources.determinism === null ? [] : [determinismSection(sources.determinism)],
  } satisfies Report);
}

/** Without an envelope that the comparison left out: it took no part. */
function trusted({ envelope, ...sources }: ReportSources): ReportSources {
  return envelope === undefined || sources.comparison?.envelope == null ? sources : { ...sources, envelope };
}

/** Where the first op at fault stands, in words: a tap's name says it only to those who know the names. */
function whereFacts([first]: readonly At[], taps: readonly ReportTap[], tapAt: ReadonlyMap<string, number>) {
  const tap = first === undefined ? undefined : taps[tapAt.get(first.tap) ?? -1];
  if (tap === undefined) return [];
  const last = Math.max(...taps.map(({ layer }) => layer ?? 0));
  const place = tap.layer === null ? "outside the layers" : `layer ${tap.layer} of 0 to ${last}`;
  const fed = tap.inputs.length === 0 ? "" : `, fed by ${tap.inputs.join(", ")}`;
  return [["where", `${place}: ${tap.column}${tap.kind === tap.column ? "" : ` (${tap.kind})`}${fed}`] as const];
}

function tokensOf({ comparison, actual }: ReportSources): Report["tokens"] {
  const list = (ids: readonly number[], pieces: readonly string[]) =>
    ids.map((id, i) => ({ id, piece: worded(pieces[i] ?? "") }));
  const { tokens, pieces } = actual.manifest;
  const alone = list(tokens.flat(), pieces.flat());
  const both = comparison?.tokens;
  return {
    expected: both === undefined ? null : list(both.expected, both.expectedPieces),
    actual: both === undefined ? alone : list(both.actual, both.actualPieces),
    prompt: tokens[0]?.length ?? 0,
    firstDifference: both?.difference?.position ?? null,
  };
}

/** Texts of the tokens that ran: all that a trace knows of a vocabulary. */
function piecesSeen({ actual: { manifest } }: ReportSources): Map<number, string> {
  const ids = manifest.tokens.flat();
  const pieces = manifest.pieces.flat();
  return new Map(ids.flatMap((id, i) => (pieces[i] === undefined ? [] : [[id, pieces[i]] as const])));
}

function choiceOf(
  { position, kl, expected, actual }: ChoicesAt,
  sources: ReportSources,
  seen: ReadonlyMap<number, string>,
): Report["logits"][number] {
  const { piece, comparison } = sources;
  const pieceOf = piece ?? ((id: number) => seen.get(id) ?? `<${id}>`);
  const chosen = (of: ChoicesAt["expected"]) =>
    of.map(({ id, logit, probability }) => ({
      id,
      piece: worded(pieceOf(id)),
      logit: figure(logit),
      probability: figure(probability),
    }));
  const after = worded(comparison?.tokens.actualPieces[position] ?? "");
  return { position, kl: figure(kl), after, expected: chosen(expected), actual: chosen(actual) };
}
