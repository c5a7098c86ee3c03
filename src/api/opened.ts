/** Traces that a call is given: open ones are used, paths are opened for the call and closed after it. */
import { modelOf } from "../compare/judged-traces.ts";
import type { Model } from "../model/model.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";

/** A trace, or the path of one. */
export type TraceOrPath = Trace | string;

/** `what` names the argument where it is neither. */
export type Open = (what: string, trace: TraceOrPath) => Promise<Trace>;

export async function withTraces<T>(work: (open: Open) => Promise<T>): Promise<T> {
  const own: Trace[] = [];
  const open: Open = async (what, of) => {
    if (of instanceof Trace) return of;
    if (typeof of !== "string") throw new InputError(`${what} is ${typeof of}; a trace or the path of one is needed`);
    const trace = await Trace.open(of);
    own.push(trace);
    return trace;
  };
  try {
    return await work(open);
  } finally {
    for (const trace of own) await trace.close();
  }
}

/** The model that a trace was made of, with the layers that it ran, for as long as the work takes. */
export async function withModelOf<T>(trace: Trace, path: string, work: (model: Model) => Promise<T>): Promise<T> {
  const model = await modelOf(trace, path);
  try {
    return await work(model);
  } finally {
    model.file.close();
  }
}
