/** What stands at a report's top beside its sentence: label and value. */
import type { Trace } from "../../trace/reader.ts";
import { type ReportSources, sideName } from "./sources.ts";

type Facts = [label: string, value: string][];

export function factsOf({
  comparison,
  audit,
  auditLeftOut,
  expected,
  actual,
  envelope,
  determinism,
}: ReportSources): Facts {
  const { model, prompt, faults, tokens } = actual.manifest;
  const theirs = expected?.manifest.faults ?? [];
  const [first = [], ...steps] = tokens;
  return [
    ["model", [model.file, model.architecture, model.quantisation].filter((each) => each !== null).join(", ")],
    ["judged", sideName(actual)],
    ...listed(expected, (trace): Facts => [["reference", sideName(trace)]]),
    ...listed(envelope ?? null, (trace): Facts => [["envelope: a second reference", sideName(trace)]]),
    ["settings of the judged run", settingsOf(actual)],
    ["tokens", `${first.length} of the prompt, ${steps.length} step${steps.length === 1 ? "" : "s"} after it`],
    ...listed(prompt, (text): Facts => [["prompt", text]]),
    ...listed(comparison, comparedFacts),
    ...listed(
      audit,
      ({ counts }): Facts => [
        [
          "audit",
          `${counts.clean} ops clean, ${counts.suspicious} suspicious, ${counts.likely} likely wrong, ${counts.proved} proved wrong, ${counts["not-judged"]} not judged`,
        ],
      ],
    ),
    ...listed(audit === null ? auditLeftOut : null, (why): Facts => [["audit", `left out: ${why}`]]),
    ...listed(determinism, ({ judgement }): Facts => [["determinism", judgement.verdict]]),
    ...(faults.length === 0 ? [] : ([["planted", faults.join(", ")]] satisfies Facts)),
    ...(theirs.length === 0 ? [] : ([["planted in the reference", theirs.join(", ")]] satisfies Facts)),
  ];
}

function comparedFacts({ totals, logits, unmatched }: NonNullable<ReportSources["comparison"]>): Facts {
  const left = (side: "expected" | "actual") => unmatched.filter((each) => each.side === side).length;
  const alone = `without a partner: ${left("actual")} of them, ${left("expected")} of the reference's ${totals.expected}`;
  return [
    ["compared", `${totals.matched} of the judged run's ${totals.actual} records; ${alone}; ${totals.refused} refused`],
    ...listed(logits, ({ sameTop, rows }): Facts => [["likeliest token", `the same in ${sameTop} of ${rows} rows`]]),
  ];
}

const listed = <T>(value: T | null, facts: (value: T) => Facts): Facts => (value === null ? [] : facts(value));

function settingsOf({ manifest: { producer } }: Trace): string {
  const settings = Object.entries(producer.settings).filter(([, value]) => value !== null);
  return settings.length === 0 ? "not said" : settings.map(([name, value]) => `${name} ${value}`).join(", ");
}
