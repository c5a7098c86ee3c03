/** What `inspect` prints. */

import { z } from "zod";
import type { GrowthRow } from "../compare/growth.ts";
import type { RecordSummary } from "../trace/reader.ts";
import type { Manifest } from "../trace/record.ts";
import { isResidualStream } from "../trace/taps.ts";
import { colors } from "./colors.ts";
import { jsonNumber, jsonOf, statisticsFields, statisticsJson } from "./inspect-statistics.ts";
import { type Versus, versusJson, versusSchema, versusText, versusVerdict } from "./inspect-vs.ts";
import { hashText, tapTable, type WeightFacts, weightsJson, weightsSchema, weightsText } from "./inspect-weights.ts";
import { figure, short, visible } from "./numbers.ts";
import { scaleOf, sparkline } from "./sparkline.ts";
import { type TableData, table } from "./table.ts";

export interface InspectFacts {
  readonly path: string;
  readonly manifest: Manifest;
  readonly partial: boolean;
  readonly records: number;
  readonly steps: number;
  readonly step: number;
  readonly growth: readonly GrowthRow[];
  readonly taps: readonly RecordSummary[];
  /** Null without a model. */
  readonly weights: WeightFacts | null;
  /** Null without a reference. */
  readonly versus: Versus | null;
}

export const inspectSchema = z.object({
  schema: z.literal("faultline.inspect/1"),
  trace: z.string(),
  partial: z.boolean(),
  records: z.number().int(),
  steps: z.number().int(),
  step: z.number().int(),
  model: z.string(),
  producer: z.string(),
  growth: z.array(
    z.object({
      tap: z.string(),
      layer: z.number().nullable(),
      rms: jsonNumber,
      max_abs: jsonNumber,
      mean: jsonNumber,
      growth: jsonNumber,
      increment: jsonNumber,
      drift: jsonNumber,
      sign_flip: z.boolean(),
      non_finite: z.number().int(),
    }),
  ),
  taps: z.array(
    z.object({
      tap: z.string(),
      op: z.string(),
      dims: z.string(),
      shape: z.array(z.number().int()),
      ...statisticsFields,
      hash: z.string(),
    }),
  ),
  /** Null without a model. */
  weights: weightsSchema.nullable(),
  vs: versusSchema.nullable(),
});

export function inspectJson(facts: InspectFacts): z.infer<typeof inspectSchema> {
  const { manifest } = facts;
  return inspectSchema.parse({
    schema: "faultline.inspect/1",
    trace: facts.path,
    partial: facts.partial,
    records: facts.records,
    steps: facts.steps,
    step: facts.step,
    model: manifest.model.file,
    producer: manifest.producer.name,
    growth: facts.growth.map(({ tap, layer, rms, maxAbs, mean, growth, increment, drift, flips, nonFinite }) => ({
      tap,
      layer,
      rms: jsonOf(rms),
      max_abs: jsonOf(maxAbs),
      mean: jsonOf(mean),
      growth: jsonOf(growth),
      increment: jsonOf(increment),
      drift: jsonOf(drift),
      sign_flip: flips,
      non_finite: nonFinite,
    })),
    taps: facts.taps.map(({ tap, op, dims, shape, statistics: s, hash }) => ({
      ...{ tap, op, dims, shape },
      ...{ ...statisticsJson(s), hash: hashText(hash) },
    })),
    weights: facts.weights === null ? null : weightsJson(facts.weights),
    vs: facts.versus === null ? null : versusJson(facts.versus),
  });
}

export function inspectText(facts: InspectFacts): string {
  const { taps, weights, versus } = facts;
  const isChosen = taps.length > 0 || (weights !== null && !weights.isAll);
  return [
    ...(versus === null ? [] : [versusVerdict(versus)]),
    header(facts),
    isChosen ? tapTable(taps, weights) : growth(facts),
    ...(weights === null ? [] : [weightsText(weights)]),
    ...(versus === null ? [] : [versusText(versus, isChosen)]),
  ].join("\n");
}

function header({ path, manifest, partial, records, steps, step }: InspectFacts): string {
  const { producer, model } = manifest;
  const tokens = manifest.tokens[step];
  const pieces = manifest.pieces[step] ?? [];
  const first = pieces.slice(0, 24).map(visible).join("");
  const lines = [
    `${colors.bold(path)}: ${records} records, ${steps} step${steps === 1 ? "" : "s"}${partial ? colors.yellow(" (partial: the run did not finish)") : ""}`,
    `${visible(model.file)} (${model.architecture}, ${model.quantisation ?? "unknown blocks"}) by ${visible(`${producer.name} ${producer.version}`)} on ${visible(producer.device)}, ${producer.dtype}`,
    tokens === undefined
      ? `step ${step}`
      : `step ${step}: ${tokens.length} token${tokens.length === 1 ? "" : "s"}, "${first}${pieces.length > 24 ? "..." : ""}"`,
  ];
  return `${lines.join("\n")}\n`;
}

function growth({ growth: rows }: InspectFacts): string {
  if (rows.length === 0) return "The residual stream was not recorded; --tap '*' shows what was.\n";
  const rms = rows.filter(({ tap }) => isResidualStream(tap)).map((row) => row.rms);
  const flips = rows.filter((row) => row.flips).length;
  const curve = `RMS from ${rows[0]?.tap} on: ${sparkline(rms)}${scaleOf(rms).isLog ? " (by its logarithm)" : ""}; the mean changes its sign ${flips === 1 ? "once" : `${flips} times`} (+-)\n\n`;
  const { columns, rows: cells } = growthTable(rows);
  return `${rms.length < 3 ? "" : curve}${table(columns, cells)}`;
}

/** The residual stream, layer by layer. */
export function growthTable(rows: readonly GrowthRow[]): TableData {
  return {
    columns: [
      { title: "tap", align: "left" },
      { title: "RMS" },
      { title: "max |x|", spare: 3 },
      { title: "mean", spare: 4 },
      { title: "growth", spare: 1 },
      { title: "increment", spare: 5 },
      { title: "drift", spare: 2 },
      { title: "NaN/Inf" },
    ],
    rows: rows.map((row) => [
      row.tap,
      figure(row.rms),
      figure(row.maxAbs),
      figure(row.mean),
      row.growth === null ? "" : `${row.growth.toFixed(1)}x`,
      short(row.increment),
      `${row.flips ? "+- " : ""}${short(row.drift)}`,
      row.nonFinite === 0 ? "0" : colors.red(String(row.nonFinite)),
    ]),
  };
}
