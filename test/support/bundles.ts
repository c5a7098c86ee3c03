/** Bundles for tests: an op of a run with a planted fault, audited and bundled. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { auditNode } from "../../src/compare/audit-node.ts";
import { bundleOf } from "../../src/compare/bundle-write.ts";
import { TraceValues } from "../../src/compare/run-values.ts";
import type { Trace } from "../../src/trace/reader.ts";
import type { Bench } from "./faults.ts";
import { openTrace } from "./traces.ts";

const scratch = mkdtempSync(join(tmpdir(), "faultline-bundles-"));
const open: Trace[] = [];
let next = 0;

/** For afterAll. */
export async function dropBundles(): Promise<void> {
  for (const trace of open.splice(0)) await trace.close();
  rmSync(scratch, { recursive: true, force: true });
}

export const newBundleFolder = () => join(scratch, String(next++));

/** Runs with the fault (none for null), audits the tap in that step and bundles it. */
export async function bundled(bench: Bench, tap: string, step: number, fault: string | null) {
  const run = await bench.run(...(fault === null ? [] : [fault]));
  return bundledRun(bench, run, tap, step);
}

/** The same of a run in hand. */
export async function bundledRun(bench: Bench, run: Bench["clean"], tap: string, step: number) {
  const trace = await openTrace(
    run.flatMap(({ records }) => records),
    bench.steps,
  );
  open.push(trace);
  const values = new TraceValues(trace, bench.model);
  const node = bench.model.graph.find(({ op }) => op.tap === tap);
  if (node === undefined) throw new Error(`no op ${tap}`);
  const audited = (await auditNode({ model: bench.model, run: values, against: null }, node))[step];
  if (audited?.own == null) throw new Error(`${tap} was not judged: ${audited?.reason}`);
  const folder = newBundleFolder();
  await bundleOf(bench.model, values, audited, folder, "a planted fault");
  return { folder, audited, own: audited.own, run, values, trace, node };
}
