/**
 * How tight the audit's bounds are: traces of one model, each audited; for each name of tap the largest own error and the largest share
 * of the statistical bound that any element of any op takes. Prints Markdown: npm run audit-table -- MODEL TRACE...
 */
import { basename, dirname, join } from "node:path";
import { auditTrace } from "../src/compare/audit.ts";
import { openModel } from "../src/model/model.ts";
import { tightness } from "../src/report/audit-facts.ts";
import { Trace } from "../src/trace/reader.ts";

const [path = "", ...traces] = process.argv.slice(2);
const model = await openModel(path);
const rows = new Map<string, string[]>();
const notes: string[] = [];
for (const file of traces) {
  const trace = await Trace.open(file);
  const started = performance.now();
  const { ops, counts, verdict } = await auditTrace(model, trace);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const { name, version } = trace.manifest.producer;
  const place = join(basename(dirname(file)), basename(file));
  notes.push(
    `- ${place}, ${name} ${version}: ${verdict}; of ${ops.length} ops ${counts.clean} clean, ${counts.suspicious} suspicious, ${counts.likely + counts.proved} at fault; ${seconds} s`,
  );
  for (const [tap, { relL2, ofLikely, ofWorst }] of tightness(ops)) {
    const cell = `${relL2.toExponential(1)}, ${(100 * ofLikely).toFixed(0)} %, ${(100 * ofWorst).toPrecision(2)} %`;
    rows.set(tap, [...(rows.get(tap) ?? []), cell]);
  }
  await trace.close();
}
const head = ["tap", ...traces.map((file) => join(basename(dirname(file)), basename(file)))];
for (const cells of [head, head.map(() => "---"), ...[...rows].map(([tap, list]) => [tap, ...list])]) {
  process.stdout.write(`| ${cells.join(" | ")} |\n`);
}
process.stdout.write(`\n${notes.join("\n")}\n`);
