/** A report as JUnit XML: a test case a tap. What is accused fails; what differs because of that, or may, is skipped and says so. */
import { furtherUp } from "../document/further-up.ts";
import { type Outcome, opsByTap, outcomeOf } from "../document/outcome.ts";
import type { Report } from "../document/schema.ts";
import { escaped } from "./escape.ts";

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
  const cases = report.taps.map((tap, index) => {
    const outcome = outcomes[index] ?? "not-compared";
    const anew = STANDS.has(outcome) ? undefined : above.get(index);
    const fails = isAccused(index) && anew === undefined;
    const why = isAccused(index) && anew !== undefined ? differsAnew(anew) : SKIPPED[outcome];
    return { tap, index, outcome, fails, why };
  });
  const whole = report.verdict === "divergent" && !cases.some(({ fails }) => fails);
  const failures = cases.filter(({ fails }) => fails).length + (whole ? 1 : 0);
  const skipped = cases.filter(({ fails, why }) => !fails && why !== undefined).length;
  const lines = cases.map(({ tap, index, outcome, fails, why }) => {
    const name = `classname="${tap.layer === null ? "model" : `layer ${tap.layer}`}" name="${escaped(tap.name)}"`;
    if (fails) return `<testcase ${name}>${failure(outcome, messageOf(report, index, outcome))}</testcase>`;
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
