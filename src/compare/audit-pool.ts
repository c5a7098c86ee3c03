/** Worker threads that share the ops of an audit: the dearest ops first, each to whoever is free. */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { AuditedOp } from "./audit-node.ts";
import type { AuditWork } from "./audit-worker.ts";

/** Built, the worker is JavaScript; in a checkout it is TypeScript, and the thread must be taught to read that first. */
function startWorker(workerData: AuditWork): Worker {
  if (!import.meta.url.endsWith(".ts")) {
    return new Worker(new URL("./audit-worker.js", import.meta.url), { workerData });
  }
  const loader = pathToFileURL(
    createRequire(import.meta.url)
      .resolve("tsx/esm/api")
      .replace(/cjs$/, "mjs"),
  ).href;
  const worker = new URL("./audit-worker.ts", import.meta.url).href;
  const start = `import(${JSON.stringify(loader)}).then(({ register }) => { register(); return import(${JSON.stringify(worker)}); });`;
  return new Worker(start, { eval: true, workerData });
}

/** Judges ops number `order` of the model's graph in `workers` threads; `done` is told each op's judgements as they come. */
export async function auditInWorkers(
  work: AuditWork,
  order: readonly number[],
  workers: number,
  done: (audited: readonly AuditedOp[]) => void,
): Promise<void> {
  const queue = [...order];
  const run = () =>
    new Promise<void>((resolve, reject) => {
      const worker = startWorker(work);
      let isDone = false;
      worker.on("error", reject);
      worker.on("exit", (code) =>
        isDone ? resolve() : reject(new Error(`a worker of the audit ended with ${code} before its work`)),
      );
      worker.on("message", (audited: readonly AuditedOp[] | null) => {
        if (audited !== null) done(audited);
        const next = queue.shift();
        if (next !== undefined) worker.postMessage(next);
        else {
          isDone = true;
          void worker.terminate();
        }
      });
    });
  await Promise.all(Array.from({ length: Math.min(workers, order.length) }, run));
}
