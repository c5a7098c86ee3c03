/** `kernels` as JUnit XML: a test case a case. */
import { RISE } from "../../compare/kernels/baseline.ts";
import { worded } from "../document/wording.ts";
import type { KernelFacts } from "../kernel-facts.ts";
import { reasonText } from "../kernel-reasons.ts";
import { onnxWords } from "../kernel-voices.ts";
import { short } from "../numbers.ts";
import { type JunitCase, junitXml } from "./junit-xml.ts";

/**
 * The whole file. Cases that the kernel's description leaves out are skipped, a case for each reason. With `alarmsFail` an error that
 * rose above its history fails, as the exit status counts it.
 */
export function kernelsJunit(facts: KernelFacts, alarmsFail: boolean, created: string): string {
  const { judgements, onnx, baseline, leftOut } = facts;
  const rises = new Map((alarmsFail ? (baseline?.rises ?? []) : []).map((rise) => [rise.case, rise]));
  const cases = judgements.map((each): JunitCase => {
    const { id, kind } = each.case;
    const place = { group: kind, name: worded(id) };
    const timed = each.milliseconds === null ? place : { ...place, seconds: each.milliseconds / 1000 };
    if (each.verdict === "fail") {
      const message = worded(`${reasonText(each)}${onnxWords(each, onnx.voices.get(id))}`);
      return { ...timed, failure: { type: each.reasons[0] ?? "fail", message } };
    }
    const rise = rises.get(id);
    if (rise === undefined) return timed;
    const message = `relL2 ${short(rise.now)}, above ${RISE} times its largest so far, ${short(rise.before)}`;
    return { ...timed, failure: { type: "alarm", message } };
  });
  const left = leftOut.map(({ reason, cases: count }) => ({
    ...{ group: "not tried", name: `${count} cases` },
    skipped: worded(`the kernel ${reason}`),
  }));
  return junitXml(created, [...cases, ...left]);
}
