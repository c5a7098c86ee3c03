/** A model's run for its trace, with progress on the terminal and Ctrl-C heard. */
import { setImmediate } from "node:timers/promises";
import { type TraceRun, traceModel } from "../run/trace-model.ts";
import { InterruptedError } from "../trace/errors.ts";
import type { TraceFacts } from "../trace/trace-facts.ts";
import { onTerminal } from "./progress.ts";

const INTERRUPTED = 130;

/** Ctrl-C once: the step under way is finished and written, and the run ends with InterruptedError. Twice: the process ends at once. */
export async function traced(
  run: Omit<TraceRun, "watch" | "signal"> & { readonly quiet?: boolean | undefined },
): Promise<TraceFacts> {
  const abort = new AbortController();
  const interrupt = () => {
    if (abort.signal.aborted) process.exit(INTERRUPTED);
    abort.abort();
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, interrupt);
  try {
    const facts = await traceModel({ ...run, watch: onTerminal(run.quiet), signal: abort.signal });
    // The oracle never waits: a signal of its last step is delivered here.
    await setImmediate();
    if (abort.signal.aborted) throw new InterruptedError(`interrupted in the last step; ${run.output} is complete`);
    return facts;
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
}
