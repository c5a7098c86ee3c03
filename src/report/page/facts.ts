/** What a report is made from, and what stands at its top beside its sentence: label and value. */
import type { Bisection } from "../../compare/bisection.ts";
import type { Trace } from "../../trace/reader.ts";
import type { DeterminismFacts } from "../determinism.ts";

export interface ReportSources {
  readonly bisection: Bisection;
  readonly determinism: DeterminismFacts | null;
  readonly expected: Trace;
  readonly actual: Trace;
  /** Text of a token. */
  readonly piece: (id: number) => string;
  readonly version: string;
  /** When it is made, ISO 8601. */
  readonly created: string;
}

/** `faultline 0.1.0 on llvmpipe, f32`. */
export function sideName({ manifest: { producer } }: Trace): string {
  return `${producer.name} ${producer.version} on ${producer.device}, ${producer.dtype}`;
}

export function factsOf({ bisection, expected, actual, determinism }: ReportSources): [string, string][] {
  const { comparison, audit, auditLeftOut } = bisection;
  const { model, prompt, faults, tokens } = actual.manifest;
  const { totals, logits } = comparison;
  const [first = [], ...steps] = tokens;
  const counts = audit?.counts;
  return [
    ["model", [model.file, model.architecture, model.quantisation].filter((each) => each !== null).join(", ")],
    ["judged", sideName(actual)],
    ["reference", sideName(expected)],
    ["settings", settingsOf(actual)],
    ["tokens", `${first.length} of the prompt, ${steps.length} steps after it`],
    ...(prompt === null ? [] : [["prompt", prompt] as [string, string]]),
    [
      "compared",
      `${totals.matched} of ${totals.actual} records; ${totals.unmatched} without a partner, ${totals.refused} refused`,
    ],
    [
      "audit",
      counts === undefined
        ? `left out: ${auditLeftOut ?? ""}`
        : `${counts.clean} ops clean, ${counts.suspicious} suspicious, ${counts.likely} likely wrong, ${counts.proved} proved wrong, ${counts["not-judged"]} not judged`,
    ],
    ...(logits === null
      ? []
      : [["likeliest token", `the same in ${logits.sameTop} of ${logits.rows} rows`] as [string, string]]),
    ...(determinism === null ? [] : [["determinism", determinism.judgement.verdict] as [string, string]]),
    ...(faults.length === 0 ? [] : [["planted", faults.join(", ")] as [string, string]]),
  ];
}

function settingsOf({ manifest: { producer } }: Trace): string {
  const settings = Object.entries(producer.settings).filter(([, value]) => value !== null);
  return settings.map(([name, value]) => `${name} ${value}`).join(", ");
}
