/** `kernels MODEL` as a report: what the terminal says, line by line. */
import { plain } from "../colors.ts";
import { type KernelsModelFacts, kernelsModelText, kernelsModelVerdict } from "../kernels-model.ts";
import { type Made, plainReport, sectionOf } from "./plain.ts";
import type { Report } from "./schema.ts";

/** Verdicts, and the words they have at the top. */
const WORDS: Readonly<Record<KernelsModelFacts["verdict"], readonly [Report["verdict"], string]>> = {
  "same-bits": ["match", "same bits"],
  "both-right": ["match", "both right"],
  wrong: ["divergent", "wrong"],
  "not-judged": [null, "not judged"],
};

export function kernelsModelReport(facts: KernelsModelFacts, made: Made): Report {
  const [verdict, finding] = WORDS[facts.verdict];
  const [, ...lines] = kernelsModelText({ ...facts, times: null }).split("\n");
  const { times, model, device, folders } = facts;
  const parts =
    times === null
      ? []
      : ([
          ["prefill", times.prefill],
          ["decode step", times.decode],
        ] as const);
  return plainReport({
    ...made,
    ...{ verdict, finding, sentence: plain(kernelsModelVerdict(facts)) },
    facts: [
      ["model", model],
      ["device", device],
      ["kernels", `${folders.own ?? "this program's own"}, beside ${folders.other}`],
    ],
    sections: [
      sectionOf({
        id: "versions",
        title: "Both versions on the model",
        intro: "Every op that differs was recomputed from its own inputs.",
        lines: lines.filter((line) => line !== "").map((line) => line.trim()),
        tables: parts.length === 0 ? [] : [["Times, in milliseconds", timesTable(parts)]],
      }),
    ],
  });
}

type Part = NonNullable<KernelsModelFacts["times"]>["prefill"];

const timesTable = (parts: readonly (readonly [name: string, part: Part | null])[]) => ({
  columns: [
    { title: "", align: "left" as const },
    ...["one", "the other", "ratio"].map((title) => ({ title })),
    { title: "95 %, both together", align: "left" as const },
  ],
  rows: parts.flatMap(([name, part]) => {
    if (part === null) return [];
    const { median, low, high } = part.ratio;
    const [own, other, ratio] = [part.own, part.other, median].map((value) => String(Number(value.toPrecision(4))));
    const interval = `${low.toPrecision(4)} to ${high.toPrecision(4)}`;
    return [[name, own ?? "", other ?? "", ratio ?? "", interval]];
  }),
});
