/** A trace's growth beside a reference's: both curves, their ratio, and one sentence. */
import { z } from "zod";
import type { Comparison } from "../compare/compare.ts";
import type { RmsPair } from "../compare/growth.ts";
import { isResidualStream } from "../trace/taps.ts";
import { colors } from "./colors.ts";
import { blindLines, weakEvidence } from "./comparison.ts";
import { first, isBlind } from "./comparison-facts.ts";
import { apart, figure, nearOne } from "./numbers.ts";
import { scaleOf, sparkline } from "./sparkline.ts";
import { type TableData, table } from "./table.ts";

export interface Versus {
  readonly path: string;
  /** Of all steps. */
  readonly comparison: Comparison;
  /** Of the step that is shown: the residual stream, and the taps asked for. */
  readonly stream: readonly RmsPair[];
  readonly taps: readonly RmsPair[];
}

const finite = (value: number | null) => (value !== null && Number.isFinite(value) ? value : null);
const pairSchema = z.object({
  tap: z.string(),
  /** Null where it is not known or not finite. */
  rms: z.number().nullable(),
  reference: z.number().nullable(),
  ratio: z.number().nullable(),
});

export const versusSchema = z.object({
  trace: z.string(),
  producer: z.string(),
  verdict: z.enum(["match", "divergent"]),
  /** The answer in one sentence. */
  sentence: z.string(),
  first: z.object({ tap: z.string(), step: z.number().int() }).nullable(),
  /** Ops allowed to differ by as much as they are large. */
  cannot_be_seen: z.number().int(),
  /** The second trusted trace; null without one. */
  envelope: z.string().nullable(),
  warnings: z.array(z.string()),
  growth: z.array(pairSchema),
  taps: z.array(pairSchema),
});

export function versusJson(versus: Versus): z.infer<typeof versusSchema> {
  const { path, comparison, stream, taps } = versus;
  const at = first(comparison);
  const pair = ({ tap, rms, reference, ratio }: RmsPair) => ({
    ...{ tap, rms: finite(rms), reference: finite(reference), ratio: finite(ratio) },
  });
  return {
    ...{ trace: path, producer: comparison.expected.manifest.producer.name, verdict: comparison.verdict },
    sentence: versusSentence(versus),
    first: at === null ? null : { tap: at.tap, step: at.step },
    cannot_be_seen: comparison.ops.filter(isBlind).length,
    ...{ envelope: comparison.envelope, warnings: [...comparison.warnings] },
    ...{ growth: stream.map(pair), taps: taps.map(pair) },
  };
}

/**
 * Grows as the reference does, or departs first at an op. RMS differ by no more than the rows do (triangle inequality), so a stream
 * within budgets below 1 grows alike; budgets from 1 on bound nothing, and then only what was seen is said.
 */
export function versusSentence({ comparison, stream }: Versus): string {
  const ratios = stream.flatMap(({ ratio }) => finite(ratio) ?? []);
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
  const alike =
    ratios.length === 0 ? "" : `RMS ${nearOne(least)} to ${nearOne(most)} times the reference's along the stream`;
  if (comparison.verdict === "match") {
    const { ops } = comparison;
    const claim = ops.some(isBlind) ? "is not seen to depart from the reference" : "grows as the reference does";
    return `${claim}: ${alike === "" ? "" : `${alike}, and `}none of ${ops.length} ops is beyond its budget${weakEvidence(comparison)}`;
  }
  const at = first(comparison);
  // Tokens that differ accuse no op: from there on the two compute different things.
  const claim = at?.kind === "token" ? "runs other tokens than the reference" : "departs from the reference";
  return `${claim}${alike === "" ? "" : ` (${alike})`}; first: ${at?.sentence ?? ""}`;
}

/** Sizes of both sides and their ratio. */
export const versusTable = (pairs: readonly RmsPair[]): TableData => ({
  columns: [{ title: "tap", align: "left" }, ...["RMS", "reference", "ratio"].map((title) => ({ title }))],
  rows: pairs.map(({ tap, rms, reference, ratio }) => [
    tap,
    ...(rms === null || reference === null ? [figure(rms), figure(reference)] : apart(rms, reference)),
    ratio === null ? "" : nearOne(ratio),
  ]),
});

/** The verdict in one line. */
export const versusVerdict = (versus: Versus): string =>
  `${versus.comparison.verdict === "match" ? colors.green(colors.bold("match")) : colors.red(colors.bold("divergent"))}: ${versusSentence(versus)}`;

/** What a reader must know of the verdict, both curves, and the table. */
export function versusText(versus: Versus, wantsTaps: boolean): string {
  const { path, comparison, stream, taps } = versus;
  const curve = stream.filter(({ tap }) => isResidualStream(tap));
  const [own, theirs] = [curve.map(({ rms }) => rms), curve.map(({ reference }) => reference)];
  const scale = scaleOf([...own, ...theirs]);
  const { columns, rows } = versusTable(wantsTaps ? taps : stream);
  return [
    ...comparison.warnings.map((warning) => colors.yellow(`note: ${warning}`)),
    ...blindLines(comparison),
    "",
    ...(curve.length < 3
      ? []
      : [
          `RMS, ${curve[0]?.tap} to ${curve.at(-1)?.tap}${scale.isLog ? ", by its logarithm" : ""}`,
          `  here       ${sparkline(own, scale)}`,
          `  reference  ${sparkline(theirs, scale)}  ${path}\n`,
        ]),
    ...(rows.length === 0 ? [] : [table(columns, rows)]),
  ].join("\n");
}
