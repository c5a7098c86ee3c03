/** What `kernels` prints: a row a kernel, each failure with its reason, and what it takes. */
import { z } from "zod";
import { type KernelJudgement, REASONS } from "../compare/kernels/judge.ts";
import { colors } from "./colors.ts";
import type { KernelFacts } from "./kernel-facts.ts";
import { baselineLines, versionLines } from "./kernel-history.ts";
import { reasonText } from "./kernel-reasons.ts";
import { onnxJson, onnxLines, onnxRow, onnxSchema, onnxTitles, onnxWords, percent } from "./kernel-voices.ts";
import { seconds, short } from "./numbers.ts";
import { type Column, table } from "./table.ts";

/** True where a kernel of this version fails; one of the other version is not ours to judge. */
export const isFailed = ({ judgements }: Pick<KernelFacts, "judgements">): boolean =>
  judgements.some(({ verdict }) => verdict === "fail");

const figure = z.number().nullable();
const reasons = z.array(z.enum(Object.keys(REASONS) as [keyof typeof REASONS]));
const shares = { nmse: figure, worst_row_nmse: figure, of_likely: figure, of_worst: figure };
export const kernelsSchema = z.object({
  schema: z.literal("faultline.kernels/1"),
  verdict: z.enum(["pass", "fail"]),
  device: z.string(),
  fault: z.string().nullable(),
  /** Of ONNX Runtime; null where it was not asked. */
  onnx_version: z.string().nullable(),
  cases: z.array(
    z.object({
      id: z.string(),
      kernel: z.string(),
      shape: z.string(),
      type: z.string().nullable(),
      data: z.string(),
      dtype: z.string(),
      verdict: z.enum(["pass", "suspicious", "fail"]),
      reasons,
      ...shares,
      milliseconds: figure,
      gigabytes_per_second: figure,
      gigaflops: figure,
      onnx: onnxSchema.nullable(),
      /** Why ONNX Runtime says nothing of this case. */
      onnx_absent: z.string().nullable(),
    }),
  ),
  /** Cases at which a kernel of another author was not tried, and what its description says of them. */
  left_out: z.array(z.object({ reason: z.string(), cases: z.number().int() })),
  baseline: z
    .object({
      path: z.string(),
      compared: z.number().int(),
      /** Cases that the history does not have. */
      unknown: z.number().int(),
      adapters: z.array(z.string()),
      versions: z.array(z.string()),
      /** Cases whose relL2 rose above 1.5 times the largest of its history. */
      alarms: z.array(z.object({ case: z.string(), before: figure, now: figure })),
    })
    .nullable(),
  /** Cases whose kernel differs in the folder of another version. */
  other_version: z
    .object({
      folder: z.string(),
      cases: z.array(
        z.object({
          id: z.string(),
          verdict: z.enum(["pass", "suspicious", "fail"]),
          same_bits: z.boolean(),
          relL2: figure,
          /** Why it fails there, as in `cases`. */
          reasons,
          ...shares,
          /** This version's time over the other's: median of pairs, and an interval that holds it with 95 %. */
          time: z.object({ median: z.number(), low: z.number(), high: z.number(), pairs: z.number().int() }).nullable(),
        }),
      ),
    })
    .nullable(),
});

const finite = (value: number | null) => (value !== null && Number.isFinite(value) ? value : null);
/** Per millisecond, in billions a second. */
const rate = (amount: number, milliseconds: number | null) =>
  milliseconds === null ? null : amount / milliseconds / 1e6;

const sharesOf = ({
  nmse,
  worstRowNmse,
  ofLikely,
  ofWorst,
}: Omit<KernelJudgement, "case" | "verdict" | "reasons">) => ({
  ...{ nmse: finite(nmse), worst_row_nmse: finite(worstRowNmse) },
  ...{ of_likely: finite(ofLikely), of_worst: finite(ofWorst) },
});

/** The document of `kernels --json`. */
export function kernelsJson({
  judgements,
  device,
  fault,
  baseline,
  otherVersion,
  onnx,
  leftOut,
}: KernelFacts): z.infer<typeof kernelsSchema> {
  return kernelsSchema.parse({
    schema: "faultline.kernels/1",
    verdict: isFailed({ judgements }) ? "fail" : "pass",
    ...{ device, fault, onnx_version: onnx.version },
    cases: judgements.map(({ case: of, verdict, reasons, ...each }) => ({
      ...{ id: of.id, kernel: of.kind, shape: of.shape, type: of.type, data: of.data, dtype: of.dtype },
      ...{ verdict, reasons: [...reasons], ...sharesOf(each), milliseconds: each.milliseconds },
      gigabytes_per_second: finite(rate(each.bytes, each.milliseconds)),
      gigaflops: finite(rate(each.operations, each.milliseconds)),
      ...onnxJson(of, onnx.voices.get(of.id)),
    })),
    left_out: leftOut.map((each) => ({ ...each })),
    baseline:
      baseline === null
        ? null
        : {
            ...{ path: baseline.path, compared: baseline.compared, unknown: baseline.unknown },
            ...{ adapters: [...baseline.adapters], versions: [...baseline.versions] },
            alarms: baseline.rises.map((rise) => ({ case: rise.case, before: rise.before, now: finite(rise.now) })),
          },
    other_version:
      otherVersion === null
        ? null
        : {
            folder: otherVersion.folder,
            cases: otherVersion.versions.map(({ other, isSame, ratio }) => ({
              ...{ id: other.case.id, verdict: other.verdict, same_bits: isSame },
              ...{ relL2: finite(Math.sqrt(other.nmse)), reasons: [...other.reasons], ...sharesOf(other) },
              ...{ time: ratio === null ? null : { ...ratio } },
            })),
          },
  });
}

const TIMES: readonly Column[] = [
  { title: "largest: ms", spare: 3 },
  { title: "GB/s", spare: 7 },
  { title: "GFLOP/s", spare: 8 },
];
const columnsOf = (onnx: KernelFacts["onnx"], isTimed: boolean): Column[] => [
  { title: "kernel", align: "left" },
  ...[
    { title: "cases" },
    { title: "fail" },
    { title: "suspicious", spare: 1 },
    { title: "NMSE, normal f32", spare: 2 },
  ],
  ...[{ title: "of likely", spare: 5 }, { title: "of bound" }],
  { title: "nearest to its bound", align: "left", spare: 4 },
  ...onnxTitles(onnx).map((title) => ({ title, spare: 6 })),
  ...(isTimed ? TIMES : []),
];

/** NaN comes first: nothing is worse. */
const worst = (list: readonly KernelJudgement[], of: (each: KernelJudgement) => number) =>
  list.reduce((a, b) => (of(b) <= of(a) || Number.isNaN(of(a)) ? a : b));

function kernelRow(
  kind: string,
  list: readonly KernelJudgement[],
  onnx: KernelFacts["onnx"],
  isTimed: boolean,
): string[] {
  const count = (verdict: KernelJudgement["verdict"]) => list.filter((each) => each.verdict === verdict).length;
  const plain = list.filter((each) => each.case.data === "normal" && each.case.dtype === "f32");
  const usual = plain.length > 0 ? plain : list;
  const [nearest, largest] = [worst(list, ({ ofWorst }) => ofWorst), worst(usual, ({ bytes }) => bytes)];
  const { milliseconds } = largest;
  const failed = count("fail");
  return [
    kind,
    String(list.length),
    failed > 0 ? colors.red(String(failed)) : "",
    count("suspicious") > 0 ? String(count("suspicious")) : "",
    short(worst(usual, ({ nmse }) => nmse).nmse),
    percent(worst(list, ({ ofLikely }) => ofLikely).ofLikely),
    percent(nearest.ofWorst),
    nearest.case.id.replace(`${kind} `, ""),
    ...onnxRow(list, usual, onnx),
    ...(isTimed ? [milliseconds, rate(largest.bytes, milliseconds), rate(largest.operations, milliseconds)] : []).map(
      short,
    ),
  ];
}

/** Failures told one by one. */
const SHOWN = 12;

/** The whole report for the terminal. Its first line is the verdict. */
export function kernelsText(facts: KernelFacts): string {
  const { judgements, device, fault, elapsedMs, baseline, onnx } = facts;
  const failed = judgements.filter(({ verdict }) => verdict === "fail");
  const suspicious = judgements.filter(({ verdict }) => verdict === "suspicious").length;
  const kinds = [...new Set(judgements.map((each) => each.case.kind))];
  const isTimed = judgements.some(({ milliseconds }) => milliseconds !== null);
  const first = failed[0];
  const alarms = baseline?.rises.length ?? 0;
  const head =
    first === undefined
      ? `${colors.green(colors.bold("pass"))}: ${judgements.length} cases of ${kinds.length} kernel${kinds.length === 1 ? "" : "s"} within what f32 arithmetic explains${suspicious > 0 ? `; ${suspicious} suspicious, none proved` : ""}${alarms > 0 ? `; ${alarms} alarm${alarms === 1 ? "" : "s"}: errors rose` : ""}`
      : `${colors.red(colors.bold("fail"))}: ${failed.length} of ${judgements.length} cases; first: ${reasonText(first)}${onnxWords(first, onnx.voices.get(first.case.id))}`;
  return [
    head,
    `${device}; ${seconds(elapsedMs)}${fault === null ? "" : `; planted: ${fault}`}`,
    ...leftOutLines(facts).map((line) => colors.yellow(line)),
    "",
    table(
      columnsOf(onnx, isTimed),
      kinds.map((kind) =>
        kernelRow(
          kind,
          judgements.filter((each) => each.case.kind === kind),
          onnx,
          isTimed,
        ),
      ),
    ),
    ...onnxLines(facts),
    ...baselineLines(facts),
    ...versionLines(facts),
    ...failed
      .slice(0, SHOWN)
      .map((each) => `${colors.red(">>")} ${reasonText(each)}${onnxWords(each, onnx.voices.get(each.case.id))}`),
    ...(failed.length > SHOWN ? [`and ${failed.length - SHOWN} more`] : []),
    ...(failed.length > 0 ? [""] : []),
  ].join("\n");
}

/** Cases that were not tried: a pass says nothing of these. */
export const leftOutLines = ({ leftOut }: Pick<KernelFacts, "leftOut">): string[] =>
  leftOut.map(({ reason, cases }) => `not tried: ${cases} cases; the kernel ${reason}`);
