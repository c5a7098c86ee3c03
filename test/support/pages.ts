/** The data of a page that was written. */
import { readFileSync } from "node:fs";
import { type Report, reportSchema } from "../../src/report/document/schema.ts";

export function dataOf(path: string): Report {
  const [, json = ""] =
    /<script type="application\/json" id="report">(.*)<\/script>/.exec(readFileSync(path, "utf8")) ?? [];
  return reportSchema.parse(JSON.parse(json));
}
