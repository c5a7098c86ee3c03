/** A report as JUnit XML: a test case a tap. What is accused fails; what differs because of that, or may, is skipped and says so. */
import { furtherUp } from "../document/further-up.ts";
import { type Outcome, opsByTap, outcomeOf } from "../document/outcome.ts";
import type { Report } from "../document/schema.ts";
import { type JunitCase, junitXml } from "./junit-xml.ts";

const FAILS: ReadonlySet<Outcome> = new Set(["own-fault", "non-finite", "origin"]);
/** Shown by the op's own numbers: wrong by itself, or NaN and Inf out of finite inputs. What is above it is no excuse. */
const STANDS: ReadonlySet<Outcome> = new Set(["own-fault", "non-finite"]);
const differsAnew = (above: string) =>
  `differs though what feeds it does not; so does ${above} further up, which may be why`;
const SKIPPED: Partial<Readonly<Record<Outcome, string>>> = {
  "not-finite-too": "NaN or Inf, and so has what feeds it",
  differs: "differs, and so does what feeds it",
  "other-context": "comes after other tokens",
  "not-compared": "not compared",
};

/** The whole file. Where nothing of a tap is accused and the verdict is divergent all the same (tokens, shapes), one case says so. */
export function reportJunit(report: Report): string {
  const ops = opsByTap(report.ops);
  const outcomes = report.taps.map((_, index) => outcomeOf(ops.get(index) ?? []));
  const isAccused = (index: number) => FAILS.has(outcomes[index] ?? "not-compared");
  const above = furtherUp(report.taps, isAccused);
  const cases = report.taps.map((tap, index): JunitCase => {
    const outcome = outcomes[index] ?? "not-compared";
    const place = { group: tap.layer === null ? "model" : `layer ${tap.layer}`, name: tap.name };
    const anew = STANDS.has(outcome) || !isAccused(index) ? undefined : above.get(index);
    if (anew !== undefined) return { ...place, skipped: differsAnew(anew) };
    if (isAccused(index)) return { ...place, failure: { type: outcome, message: messageOf(report, index, outcome) } };
    const why = SKIPPED[outcome];
    return why === undefined ? place : { ...place, skipped: why };
  });
  const isNamed = cases.some(({ failure }) => failure !== undefined);
  const whole = { group: "model", name: "verdict" };
  const verdict =
    report.verdict === "divergent" && !isNamed
      ? { ...whole, failure: { type: report.finding, message: report.sentence } }
      : whole;
  return junitXml(report.created, [verdict, ...cases]);
}

function messageOf(report: Report, tap: number, outcome: Outcome): string {
  const finding = report.findings.find((each) => each.tap === tap);
  if (finding !== undefined) {
    const side = finding.side === "expected" ? "in the reference: " : "";
    return `${side}${[finding.sentence, finding.proof].filter((part) => part !== null).join("; ")}`;
  }
  return outcome === "non-finite" ? "NaN or Inf" : "the first op that differs while nothing that feeds it does";
}
