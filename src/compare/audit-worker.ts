/** A worker thread of an audit: opens model and traces for itself, and judges the ops whose numbers it is sent. */
import { parentPort, workerData } from "node:worker_threads";
import { openModel } from "../model/model.ts";
import { Trace } from "../trace/reader.ts";
import { auditNode } from "./audit-node.ts";
import { TraceValues } from "./run-values.ts";

/** What a worker is started with: paths, for nothing open can be handed over. */
export interface AuditWork {
  readonly model: string;
  readonly layers: string | null;
  readonly trace: string;
  readonly against: string | null;
}

const port = parentPort;
if (port !== null) {
  const work = workerData as AuditWork;
  const model = await openModel(work.model, work.layers === null ? {} : { layers: work.layers });
  const open = async (path: string) => new TraceValues(await Trace.open(path), model);
  const run = await open(work.trace);
  const against = work.against === null ? null : await open(work.against);
  port.on("message", async (index: number) => {
    const node = model.graph[index];
    port.postMessage(node === undefined ? [] : await auditNode({ model, run, against }, node));
  });
  port.postMessage(null);
}
