/** JUnit's XML: the form that CI systems read test cases in. */
import { escaped } from "./escape.ts";

export interface JunitCase {
  readonly group: string;
  readonly name: string;
  readonly seconds?: number;
  /** Why it fails, or was not tried; a case without either has passed. */
  readonly failure?: { readonly type: string; readonly message: string };
  readonly skipped?: string;
}

/** The whole file. Words must be such as XML may hold (`worded`). */
export function junitXml(created: string, cases: readonly JunitCase[]): string {
  const failures = cases.filter(({ failure }) => failure !== undefined).length;
  const skipped = cases.filter(({ skipped: why }) => why !== undefined).length;
  const counts = `tests="${cases.length}" failures="${failures}" skipped="${skipped}" errors="0"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${counts}>`,
    `<testsuite name="faultline" timestamp="${escaped(created)}" ${counts}>`,
    ...cases.map(caseXml),
    "</testsuite>",
    "</testsuites>",
    "",
  ].join("\n");
}

function caseXml({ group, name, seconds, failure, skipped }: JunitCase): string {
  const time = seconds === undefined ? "" : ` time="${seconds.toFixed(6)}"`;
  const start = `<testcase classname="${escaped(group)}" name="${escaped(name)}"${time}`;
  if (failure !== undefined) {
    const message = escaped(failure.message);
    return `${start}><failure type="${escaped(failure.type)}" message="${message}">${message}</failure></testcase>`;
  }
  return skipped === undefined ? `${start}/>` : `${start}><skipped message="${escaped(skipped)}"/></testcase>`;
}
