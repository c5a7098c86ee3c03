/** What `inspect` prints. */

import { z } from "zod";
import type { GrowthRow } from "../compare/growth.ts";
import type { RecordSummary } from "../trace/reader.ts";
import type { Manifest } from "../trace/record.ts";
import { knownStatistic } from "../trace/statistics.ts";
import { isResidualStream } from "../trace/taps.ts";
import { colors } from "./colors.ts";
import { type Versus, versusJson, versusSchema, versusText } from "./inspect-vs.ts";
import { figure, short, visible } from "./numbers.ts";
import { scaleOf, sparkline } from "./sparkline.ts";
import { table } from "./table.ts";

export interface InspectFacts {
  readonly path: string;
  readonly manifest: Manifest;
  readonly partial: boolean;
  readonly records: number;
  readonly steps: number;
  readonly step: number;
  readonly growth: readonly GrowthRow[];
  readonly taps: readonly RecordSummary[];
  /** Null without a reference. */
  readonly versus: Versus | null;
}

/** A number, or its name where JSON has none; null where it is not known. */
const jsonNumber = z.union([z.number(), z.enum(["NaN", "Inf", "-Inf"])]).nullable();
const jsonOf = (value: number | null) =>
  value === null || Number.isFinite(value) ? value : (short(value) as "NaN" | "Inf" | "-Inf");

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
      count: z.number().int(),
      nan: z.number().int(),
      inf: z.number().int(),
      zero: z.number().int(),
      min: jsonNumber,
      max: jsonNumber,
      max_abs: jsonNumber,
      max_abs_index: z.number().int(),
      mean: jsonNumber,
      rms: jsonNumber,
      hash: z.string(),
    }),
  ),
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
      ...{ tap, op, dims, shape, count: s.count, nan: s.nanCount, inf: s.infCount, zero: s.zeroCount },
      ...{ min: jsonOf(knownStatistic("min", s)), max: jsonOf(knownStatistic("max", s)) },
      ...{ max_abs: jsonOf(knownStatistic("maxAbs", s)), max_abs_index: s.maxAbsIndex },
      ...{ mean: jsonOf(knownStatistic("mean", s)), rms: jsonOf(knownStatistic("rms", s)) },
      ...{ hash: hash.toString(16).padStart(16, "0") },
    })),
    vs: facts.versus === null ? null : versusJson(facts.versus),
  });
}

export function inspectText(facts: InspectFacts): string {
  const { taps, versus } = facts;
  return [
    header(facts),
    taps.length > 0 ? tapTable(taps) : growth(facts),
    ...(versus === null ? [] : [versusText(versus, taps.length > 0)]),
  ].join("\n");
}

function header({ path, manifest, partial, records, steps, step }: InspectFacts): string {
  const { producer, model } = manifest;
  const tokens = manifest.tokens[step];
  const pieces = manifest.pieces[step] ?? [];
  const first = pieces.slice(0, 24).map(visible).join("");
  const lines = [
    `${colors.bold(path)}: ${records} records, ${steps} step${steps === 1 ? "" : "s"}${partial ? colors.yellow(" (partial: the run did not finish)") : ""}`,
    `${model.file} (${model.architecture}, ${model.quantisation ?? "unknown blocks"}) by ${producer.name} ${producer.version} on ${producer.device}, ${producer.dtype}`,
    tokens === undefined
      ? `step ${step}`
      : `step ${step}: ${tokens.length} token${tokens.length === 1 ? "" : "s"}, "${first}${pieces.length > 24 ? "..." : ""}"`,
  ];
  return `${lines.join("\n")}\n`;
}

function growth({ growth: rows }: InspectFacts): string {
  if (rows.length === 0) return "The residual stream was not recorded; --tap '*' shows what was.\n";
  const columns = [
    { title: "tap", align: "left" as const },
    ...["RMS", "max |x|", "mean", "growth", "increment", "drift", "NaN/Inf"].map((title) => ({ title })),
  ];
  const rms = rows.filter(({ tap }) => isResidualStream(tap)).map((row) => row.rms);
  const flips = rows.filter((row) => row.flips).length;
  const curve = `RMS from ${rows[0]?.tap} on: ${sparkline(rms)}${scaleOf(rms).isLog ? " (by its logarithm)" : ""}; the mean changes its sign ${flips === 1 ? "once" : `${flips} times`} (+-)\n\n`;
  return `${rms.length < 3 ? "" : curve}${table(
    columns,
    rows.map((row) => [
      row.tap,
      figure(row.rms),
      figure(row.maxAbs),
      figure(row.mean),
      row.growth === null ? "" : `${row.growth.toFixed(1)}x`,
      short(row.increment),
      `${row.flips ? "+- " : ""}${short(row.drift)}`,
      row.nonFinite === 0 ? "0" : colors.red(String(row.nonFinite)),
    ]),
  )}`;
}

function tapTable(rows: readonly RecordSummary[]): string {
  const columns = [
    { title: "tap", align: "left" as const },
    { title: "shape", align: "left" as const },
    ...["RMS", "mean", "min", "max", "zeros", "NaN", "Inf", "hash"].map((title) => ({ title })),
  ];
  return table(
    columns,
    rows.map(({ tap, shape, statistics: s, hash }) => [
      tap,
      shape.join("x"),
      ...(["rms", "mean", "min", "max"] as const).map((name) => figure(knownStatistic(name, s))),
      String(s.zeroCount),
      s.nanCount === 0 ? "0" : colors.red(String(s.nanCount)),
      s.infCount === 0 ? "0" : colors.red(String(s.infCount)),
      hash === 0n ? "?" : hash.toString(16).padStart(16, "0").slice(0, 8),
    ]),
  );
}
