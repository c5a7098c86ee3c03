/** `kernels` as a report: failures with their reasons, each kernel's worst case, times, and every case. */
import type { KernelJudgement } from "../../compare/kernels/judge.ts";
import type { KernelFacts } from "../kernel-facts.ts";
import { baselineLines } from "../kernel-history.ts";
import { failuresOf, reasonText } from "../kernel-reasons.ts";
import { onnxLines, onnxWords, percent } from "../kernel-voices.ts";
import { isFailed, leftOutLines } from "../kernels.ts";
import { seconds, short } from "../numbers.ts";
import type { Column, TableData } from "../table.ts";
import { type Made, plainReport, sectionOf } from "./plain.ts";
import type { Report } from "./schema.ts";

/** `kernel`: a kernel or a folder that was tried in the place of this program's own; null where it was these. */
export function kernelsReport(facts: KernelFacts, kernel: string | null, made: Made): Report {
  const { judgements, device, fault, elapsedMs, onnx, baseline, otherVersion } = facts;
  const failed = failuresOf(judgements);
  const isTimed = judgements.some(({ milliseconds }) => milliseconds !== null);
  const lines = [...baselineLines(facts), ...onnxLines(facts)].filter((line) => line !== "");
  return plainReport({
    ...made,
    verdict: isFailed(facts) ? "divergent" : "match",
    finding: isFailed(facts) ? "fail" : "pass",
    sentence: sentenceOf(facts, failed),
    facts: [
      ["kernels", kernel ?? "this program's own"],
      ["device", device],
      ["held against", `the f64 oracle${onnx.version === null ? "" : ` and ONNX Runtime ${onnx.version}`}`],
      ["time", seconds(elapsedMs)],
      ...(fault === null ? [] : [["planted", fault] as const]),
      ...(baseline === null ? [] : [["history", baseline.path] as const]),
      ...(otherVersion === null ? [] : [["other version", otherVersion.folder] as const]),
    ],
    warnings: leftOutLines(facts),
    sections: [
      ...(failed.length === 0
        ? []
        : [
            sectionOf({
              id: "failures",
              title: failed.length === 1 ? "What fails" : `What fails: ${failed.length} cases`,
              intro: "The furthest from its bound first; NaN is further than all.",
              tables: [["Failing cases", failures(failed, onnx), 0]],
            }),
          ]),
      sectionOf({
        id: "by-kernel",
        title: "Kernel by kernel",
        intro:
          "The worst of each kernel's cases, as a share of what rounding may do: likely, by statistics, and at worst, by the rigorous bound.",
        lines,
        tables: [["Kernels", byKernel(judgements, isTimed)]],
      }),
      ...(otherVersion === null || otherVersion.versions.length === 0 ? [] : [versionsSection(otherVersion.versions)]),
      sectionOf({
        id: "cases",
        title: "Every case",
        intro: "In the order in which they were tried.",
        tables: [["Cases", cases(judgements, isTimed)]],
      }),
    ],
  });
}

function sentenceOf({ judgements }: KernelFacts, [first, ...others]: readonly KernelJudgement[]): string {
  const kinds = new Set(judgements.map((each) => each.case.kind)).size;
  const suspicious = judgements.filter(({ verdict }) => verdict === "suspicious").length;
  if (first === undefined)
    return `${judgements.length} cases of ${kinds} kernel${kinds === 1 ? "" : "s"} within what f32 arithmetic explains${suspicious > 0 ? `; ${suspicious} suspicious, none proved` : ""}`;
  return `${others.length + 1} of ${judgements.length} cases fail; the worst: ${reasonText(first)}`;
}

const TIMES: readonly Column[] = [{ title: "ms" }, { title: "GB/s" }, { title: "GFLOP/s" }];
const left = (title: string): Column => ({ title, align: "left" });
const right = (title: string): Column => ({ title });

const times = ({ milliseconds, bytes, operations }: KernelJudgement) =>
  milliseconds === null
    ? ["", "", ""]
    : [short(milliseconds), short(bytes / milliseconds / 1e6), short(operations / milliseconds / 1e6)];

const failures = (failed: readonly KernelJudgement[], { voices }: KernelFacts["onnx"]): TableData => ({
  columns: [left("case"), left("why"), right("NMSE"), right("of bound")],
  rows: failed.map((each) => [
    each.case.id,
    `${reasonText(each).slice(each.case.id.length + 1)}${onnxWords(each, voices.get(each.case.id))}`,
    short(each.nmse),
    percent(each.ofWorst),
  ]),
});

/** NaN comes first: nothing is worse. */
const worst = (list: readonly KernelJudgement[], of: (each: KernelJudgement) => number) =>
  list.reduce((a, b) => (of(b) <= of(a) || Number.isNaN(of(a)) ? a : b));

function byKernel(judgements: readonly KernelJudgement[], isTimed: boolean): TableData {
  const kinds = [...new Set(judgements.map((each) => each.case.kind))];
  return {
    columns: [
      ...[left("kernel"), right("cases"), right("fail"), right("suspicious"), right("of likely"), right("of bound")],
      ...[left("nearest to its bound"), ...(isTimed ? [left("largest that was timed"), ...TIMES] : [])],
    ],
    rows: kinds.map((kind) => {
      const list = judgements.filter((each) => each.case.kind === kind);
      const count = (verdict: KernelJudgement["verdict"]) =>
        String(list.filter((each) => each.verdict === verdict).length);
      const nearest = worst(list, ({ ofWorst }) => ofWorst);
      const [largest] = list
        .filter(({ milliseconds, case: of }) => milliseconds !== null && of.data === "normal")
        .sort((a, b) => b.bytes - a.bytes);
      return [
        ...[kind, String(list.length), count("fail"), count("suspicious")],
        ...[percent(worst(list, ({ ofLikely }) => ofLikely).ofLikely), percent(nearest.ofWorst), nearest.case.id],
        ...(isTimed ? [largest?.case.id ?? "", ...(largest === undefined ? ["", "", ""] : times(largest))] : []),
      ];
    }),
  };
}

const cases = (judgements: readonly KernelJudgement[], isTimed: boolean): TableData => ({
  columns: [
    ...[left("case"), left("verdict"), right("NMSE"), right("of likely"), right("of bound")],
    ...(isTimed ? TIMES : []),
  ],
  rows: judgements.map((each) => [
    ...[each.case.id, each.verdict, short(each.nmse), percent(each.ofLikely), percent(each.ofWorst)],
    ...(isTimed ? times(each) : []),
  ]),
});

function versionsSection(versions: NonNullable<KernelFacts["otherVersion"]>["versions"]) {
  const same = versions.filter(({ isSame }) => isSame).length;
  const there = failuresOf(versions.map(({ other }) => other));
  return sectionOf({
    id: "versions",
    title: "Beside the other version",
    intro: `${versions.length} cases of kernels that differ there, ${same} with the same bits; ${there.length} fail there.`,
    lines: there.map((each) => `fails there: ${reasonText(each)}`).slice(0, 40),
    tables: [
      [
        "Case by case",
        {
          columns: [left("case"), left("bits"), left("there"), right("time / theirs"), left("95 %, all together")],
          rows: versions.map(({ other, isSame, ratio }) => [
            ...[other.case.id, isSame ? "same" : "other", other.verdict],
            ...(ratio === null ? ["", ""] : [short(ratio.median), `${short(ratio.low)} to ${short(ratio.high)}`]),
          ]),
        },
      ],
    ],
  });
}
