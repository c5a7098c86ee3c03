/** The weights of the model's file in what `inspect` prints: beside the ops that read them, or summed up by kind. */
import { z } from "zod";
import { type FileWeight, RECORDED, type Recorded, type WeightKind, weightKinds } from "../compare/file-weights.ts";
import type { RecordSummary } from "../trace/reader.ts";
import { knownStatistic, type Statistics } from "../trace/statistics.ts";
import { colors } from "./colors.ts";
import { jsonNumber, jsonOf, statisticsFields, statisticsJson } from "./inspect-statistics.ts";
import { figure, short } from "./numbers.ts";
import { type Column, table } from "./table.ts";

export interface WeightFacts {
  readonly file: string;
  /** In the order of the model's page. */
  readonly weights: readonly FileWeight[];
  /** True where nothing was asked for: the whole file. */
  readonly isAll: boolean;
  /** Names of the weights that an op reads, by its tap; of the ops shown. */
  readonly readBy: ReadonlyMap<string, readonly string[]>;
  /** By name: what the trace recorded of these weights, and whether that is the file's. */
  readonly recorded: ReadonlyMap<string, { readonly record: RecordSummary; readonly as: Recorded }>;
}

export const hashText = (hash: bigint) => hash.toString(16).padStart(16, "0");

const kindRms = z.object({ rms: z.number(), tensor: z.string() }).nullable();
export const weightsSchema = z.object({
  file: z.string(),
  tensors: z.array(
    z.object({
      name: z.string(),
      type: z.string(),
      shape: z.array(z.number().int()),
      ...statisticsFields,
      hash: z.string(),
      /** Taps of the ops shown that read it. */
      read_by: z.array(z.string()),
      /** What the trace recorded as weight:NAME beside the file's; null where it recorded none. */
      recorded: z.enum(RECORDED).nullable(),
    }),
  ),
  kinds: z.array(
    z.object({
      kind: z.string(),
      types: z.array(z.string()),
      count: z.number().int(),
      /** RMS over the tensors of the kind. */
      least: kindRms,
      median: kindRms,
      most: kindRms,
      max_abs: jsonNumber,
      zero: z.number().int(),
      non_finite: z.number().int(),
    }),
  ),
});

export function weightsJson({ file, weights, readBy, recorded }: WeightFacts): z.infer<typeof weightsSchema> {
  const rms = (of: FileWeight | undefined) => (of ? { rms: of.statistics.rms, tensor: of.name } : null);
  return {
    file,
    tensors: weights.map(({ name, type, shape, statistics, hash }) => ({
      ...{ name, type, shape: [...shape] },
      ...statisticsJson(statistics),
      hash: hashText(hash),
      read_by: [...readBy].filter(([, names]) => names.includes(name)).map(([tap]) => tap),
      recorded: recorded.get(name)?.as ?? null,
    })),
    kinds: weightKinds(weights).map(({ kind, types, count, rms: of, maxAbs, zeros, nonFinite }) => ({
      ...{ kind, types: [...types], count, zero: zeros, non_finite: nonFinite, max_abs: jsonOf(maxAbs) },
      ...{ least: rms(of?.least), median: rms(of?.median), most: rms(of?.most) },
    })),
  };
}

/** Weights that a trace recorded and that are not the file's. */
export const strangers = ({ recorded }: WeightFacts): string[] =>
  [...recorded].filter(([, { as }]) => as === "differs").map(([name]) => name);

const bad = (count: number) => (count === 0 ? "0" : colors.red(String(count)));

const TAP_COLUMNS: readonly Column[] = [
  { title: "tap", align: "left" },
  { title: "shape", align: "left", spare: 2 },
  { title: "type", align: "left", spare: 4 },
  { title: "RMS" },
  { title: "max |x|", spare: 1 },
  { title: "mean", spare: 3 },
  { title: "zeros", spare: 5 },
  { title: "NaN/Inf" },
];

/** Ops with what they read of the file before them; weights that no op shown reads come last. */
export function tapTable(taps: readonly RecordSummary[], facts: WeightFacts | null): string {
  const byName = new Map(facts?.weights.map((weight) => [weight.name, weight]));
  const row = (name: string, type: string, shape: readonly number[], s: Statistics) => [
    name,
    shape.join("x"),
    type,
    ...(["rms", "maxAbs", "mean"] as const).map((each) => figure(knownStatistic(each, s))),
    String(s.zeroCount),
    bad(s.nanCount + s.infCount),
  ];
  const shown = new Set<string>();
  const weightRows = (name: string) => {
    const weight = byName.get(name);
    if (weight === undefined) return [];
    shown.add(name);
    const own = row(colors.dim(name), weight.type, weight.shape, weight.statistics);
    const run = facts?.recorded.get(name);
    if (run?.as !== "differs") return [own];
    const { dtype, shape, statistics } = run.record;
    return [own, row(colors.red("  as the run had it"), dtype, shape, statistics)];
  };
  const rows = taps
    .filter(({ tap }) => !byName.has(tap.replace(/^weight:/, "")))
    .flatMap(({ tap, dtype, shape, statistics }) => [
      ...(facts?.readBy.get(tap) ?? []).flatMap(weightRows),
      row(tap, dtype, shape, statistics),
    ]);
  const rest = [...byName.keys()].filter((name) => !shown.has(name)).flatMap(weightRows);
  return table(TAP_COLUMNS, [...rows, ...rest]);
}

/** The kinds of weights where nothing was asked for, and whether what the trace recorded is the file's. */
export function weightsText(facts: WeightFacts): string {
  const { weights, isAll, file } = facts;
  const kinds = isAll
    ? `Weights of ${file}, ${weights.length} tensors: RMS over the layers\n\n${kindTable(weights)}`
    : "";
  return [kinds, agreement(facts)].filter((text) => text !== "").join("\n");
}

const KIND_COLUMNS: readonly Column[] = [
  { title: "weight", align: "left" },
  { title: "type", align: "left", spare: 3 },
  { title: "tensors", spare: 6 },
  { title: "least @layer", spare: 1 },
  { title: "median", spare: 4 },
  { title: "most" },
  { title: "max |x|", spare: 2 },
  { title: "zeros", spare: 5 },
  { title: "NaN/Inf" },
];

function kindTable(weights: readonly FileWeight[]): string {
  const at = (weight: FileWeight | undefined) =>
    weight === undefined ? "" : `${short(weight.statistics.rms)}${weight.layer === null ? "" : ` @${weight.layer}`}`;
  const rows = weightKinds(weights).map(({ kind, types, count, rms, maxAbs, zeros, nonFinite }: WeightKind) => [
    ...[kind, types.join(","), String(count)],
    ...(rms === null ? ["NaN", "", ""] : [at(rms.least), ...(count === 1 ? ["", ""] : [at(rms.median), at(rms.most)])]),
    ...[short(maxAbs), String(zeros), bad(nonFinite)],
  ]);
  return table(KIND_COLUMNS, rows);
}

function agreement(facts: WeightFacts): string {
  const { file, recorded } = facts;
  if (recorded.size === 0) return "";
  const count = (as: Recorded) => [...recorded.values()].filter((each) => each.as === as).length;
  const others = (["same in f16", "same in bf16", "unknown"] as const).filter((as) => count(as) > 0);
  const words = { "same in f16": "the file's in f16", "same in bf16": "the file's in bf16", unknown: "without a hash" };
  const told = others.map((as) => `, ${count(as)} ${words[as]}`).join("");
  const names = strangers(facts);
  const more = names.length > 8 ? ` and ${names.length - 8} more` : "";
  const wrong = names.length === 0 ? "" : `; not the file's: ${names.slice(0, 8).join(", ")}${more}`;
  const line = `weights recorded in the trace: ${count("same")} of ${recorded.size} are those of ${file} to the bit${told}${wrong}\n`;
  return names.length === 0 ? line : colors.red(line);
}
