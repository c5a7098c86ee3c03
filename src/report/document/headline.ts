/** The sentence that a report begins with, and the figures that prove it. */
import { findingOf } from "../../compare/bisection.ts";
import { bisectionSentence, bisectionVerdict } from "../bisection.ts";
import { plain } from "../colors.ts";
import { verdictLine } from "../comparison.ts";
import type { Finding } from "./findings.ts";
import type { Report } from "./schema.ts";
import { bisectionOf, type ReportSources } from "./sources.ts";
import { worded } from "./wording.ts";

type Headline = Pick<Report, "verdict" | "finding" | "sentence" | "proof">;

/** An op at fault is named first, its figures after it; else what the comparison says. */
export function headlineOf(sources: ReportSources, [first]: readonly Finding[]): Headline {
  const bisection = bisectionOf(sources);
  const { audit } = sources;
  const finding = bisection === null ? (audit?.verdict === "divergent" ? "own-fault" : "match") : findingOf(bisection);
  const verdict = bisection === null ? (audit?.verdict ?? "match") : bisectionVerdict(bisection);
  if (finding === "own-fault" && first !== undefined && first.proof !== null) {
    return { verdict, finding, sentence: `${first.sentence}; ${rest(sources)}`, proof: first.proof };
  }
  const said = bisection === null ? "" : bisectionSentence(bisection);
  return { verdict, finding, sentence: worded(said === "" ? matched(sources) : said), proof: null };
}

function rest({ audit, comparison }: ReportSources): string {
  const others = (audit?.faults.length ?? 1) - 1;
  if (others > 0) return others === 1 ? "1 more op is wrong by itself" : `${others} more ops are wrong by themselves`;
  // That the rest inherits it is known only where the rest was judged, and is clean.
  const open = (audit?.counts.suspicious ?? 0) + (audit?.counts["not-judged"] ?? 0);
  return comparison === null || open > 0 ? "no other op is found wrong" : "what differs after it inherits that";
}

function matched({ comparison, audit }: ReportSources): string {
  const compared = comparison === null ? [] : [plain(verdictLine(comparison)).replace(/^match: /, "")];
  const counts = audit?.counts;
  const judged = audit === null ? 0 : audit.ops.length - audit.counts["not-judged"];
  const open = (counts?.suspicious ?? 0) > 0 ? `, ${counts?.suspicious} suspicious` : "";
  const audited = audit === null ? [] : [`${judged} ops were recomputed from their own inputs, none at fault${open}`];
  return [...compared, ...audited].join("; ");
}
