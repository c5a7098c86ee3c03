/** What stands at a report's top beside its sentence: label and value. */
import type { Trace } from "../../trace/reader.ts";
import { type ReportSources, sideName } from "./sources.ts";

type Facts = [label: string, value: string][];

export function factsOf({ comparison, audit, auditLeftOut, expected, actual, determinism }: ReportSources): Facts {
  const { model, prompt, faults, tokens } = actual.manifest;
  const [first = [], ...steps] = tokens;
  return [
    ["model", [model.file, model.architecture, model.quantisation].filter((each) => each !== null).join(", ")],
    ["judged", sideName(actual)],
    ...listed(expected, (trace): Facts => [["reference", sideName(trace)]]),
    ["settings", settingsOf(actual)],
    ["tokens", `${first.length} of the prompt, ${steps.length} steps after it`],
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
  ];
}

function comparedFacts({ totals, logits }: NonNullable<ReportSources["comparison"]>): Facts {
  const left = `${totals.unmatched} without a partner, ${totals.refused} refused`;
  return [
    ["compared", `${totals.matched} of ${totals.actual} records; ${left}`],
    ...listed(logits, ({ sameTop, rows }): Facts => [["likeliest token", `the same in ${sameTop} of ${rows} rows`]]),
  ];
}

const listed = <T>(value: T | null, facts: (value: T) => Facts): Facts => (value === null ? [] : facts(value));

function settingsOf({ manifest: { producer } }: Trace): string {
  const settings = Object.entries(producer.settings).filter(([, value]) => value !== null);
  return settings.length === 0 ? "not said" : settings.map(([name, value]) => `${name} ${value}`).join(", ");
}
