/** `determinism` as a report, and as a section of another. */
import { checksTable, type DeterminismFacts, determinismVerdict } from "../determinism.ts";
import { type Made, plainReport, sectionOf } from "./plain.ts";
import type { Report, ReportSection } from "./schema.ts";

export const determinismSection = (facts: DeterminismFacts): ReportSection =>
  sectionOf({
    id: "determinism",
    title: "Determinism",
    intro: `The run beside itself: ${facts.judgement.verdict}. Each check is the same tokens again, under another condition; bits must not change.`,
    lines: facts.leftOut.map(({ name, reason }) => `${name} was left out: ${reason}`),
    tables: [["Checks", checksTable(facts)]],
  });

export function determinismReport(facts: DeterminismFacts, made: Made): Report {
  const { judgement, model, device, dtype, tokens, steps, faults } = facts;
  const [sentence = "", ...others] = determinismVerdict(facts).split("\n");
  return plainReport({
    ...made,
    verdict: judgement.verdict === "unstable" ? "divergent" : "match",
    finding: judgement.verdict,
    sentence: sentence.replace(/^[^:]*: /, ""),
    facts: [
      ["model", model],
      ["run", `${dtype} on ${device}`],
      ["tokens", `${tokens.length} of the prompt, ${steps} decode steps`],
      ...(faults.length === 0 ? [] : [["planted", faults.join(", ")] as const]),
      ...others.map((line, i) => [i === 0 ? "where" : "further", line] as const),
    ],
    sections: [determinismSection(facts)],
  });
}
