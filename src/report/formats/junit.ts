/** A report as JUnit XML: a test case a tap. What is accused fails; what differs because of that is skipped and says so. */
import { type Outcome, opsByTap, outcomeOf } from "../document/outcome.ts";
import type { Report } from "../document/schema.ts";
import { escaped } from "./escape.ts";

const FAILS: ReadonlySet<Outcome> = new Set(["own-fault", "non-finite", "origin"]);
const SKIPPED: Partial<Readonly<Record<Outcome, string>>> = {
  "not-finite-too": "NaN or Inf, and so has what feeds it",
  differs: "differs, and so does what feeds it",
  "other-context": "comes after other tokens",
  "not-compared": "not compared",
};

/** The whole file. Where nothing of a tap is accused and the verdict is divergent all the same (tokens, shapes), one case says so. */
export function reportJunit(report: Report): string {
  const ops = opsByTap(report.ops);
  const cases = report.taps.map((tap, index) => ({ tap, index, outcome: outcomeOf(ops.get(index) ?? []) }));
  const isNamed = cases.some(({ outcome }) => FAILS.has(outcome));
  const whole = report.verdict === "divergent" && !isNamed;
  const failures = cases.filter(({ outcome }) => FAILS.has(outcome)).length + (whole ? 1 : 0);
  const skipped = cases.filter(({ outcome }) => SKIPPED[outcome] !== undefined).length;
  const lines = cases.map(({ tap, index, outcome }) => {
    const name = `classname="${tap.layer === null ? "model" : `layer ${tap.layer}`}" name="${escaped(tap.name)}"`;
    const why = SKIPPED[outcome];
    if (FAILS.has(outcome))
      return `<testcase ${name}>${failure(outcome, messageOf(report, index, outcome))}</testcase>`;
    return why === undefined
      ? `<testcase ${name}/>`
      : `<testcase ${name}><skipped message="${escaped(why)}"/></testcase>`;
  });
  const counts = `tests="${cases.length + 1}" failures="${failures}" skipped="${skipped}" errors="0"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `<testsuite name="faultline" timestamp="${escaped(report.created)}" ${counts}>`,
    whole
      ? `<testcase classname="model" name="verdict">${failure(report.finding, report.sentence)}</testcase>`
      : '<testcase classname="model" name="verdict"/>',
    ...lines,
    "</testsuite>",
    "</testsuites>",
    "",
  ].join("\n");
}

const failure = (type: string, message: string) =>
  `<failure type="${escaped(type)}" message="${escaped(message)}">${escaped(message)}</failure>`;

function messageOf(report: Report, tap: number, outcome: Outcome): string {
  const finding = report.findings.find((each) => each.tap === tap);
  if (finding !== undefined) {
    const side = finding.side === "expected" ? "in the reference: " : "";
    return `${side}${[finding.sentence, finding.proof].filter((part) => part !== null).join("; ")}`;
  }
  return outcome === "non-finite" ? "NaN or Inf" : "the first op that differs while nothing that feeds it does";
}
