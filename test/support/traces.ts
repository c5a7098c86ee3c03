/** Traces for tests: records in hand -> a trace file, opened. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { parseDims } from "../../src/trace/dims.ts";
import { Trace } from "../../src/trace/reader.ts";
import { type Manifest, type RecordPlan, recordFromValues, type TraceRecord } from "../../src/trace/record.ts";
import { TraceWriter, vocabularyOf } from "../../src/trace/writer.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-traces-"));
let next = 0;

export type Unnumbered = Omit<TraceRecord, "seq">;

/** A manifest of the llama architecture for these tokens. */
export function manifestFor(
  tokens: readonly (readonly number[])[],
  changes: Partial<Manifest["model"]> = {},
): Manifest {
  return {
    producer: { name: "test", version: "1", device: "none", dtype: "f32", settings: {} },
    model: {
      ...{ file: "m.gguf", size: 1, sha256: null, architecture: "llama", hyperParameters: {}, quantisation: null },
      ...changes,
    },
    prompt: null,
    tokens: tokens.map((step) => [...step]),
    pieces: tokens.map((step) => step.map((id) => `<${id}>`)),
    faults: [],
    created: "2026-01-01T00:00:00.000Z",
  };
}

/** Writes records to a file and opens it until the test is over. */
export async function traceFrom(...given: Parameters<typeof openTrace>): Promise<Trace> {
  const trace = await openTrace(...given);
  onTestFinished(() => trace.close());
  return trace;
}

/** Writes records to a file and opens it; the caller closes it. */
export async function openTrace(
  records: readonly Unnumbered[],
  tokens: readonly (readonly number[])[],
  changes: Partial<Manifest["model"]> = {},
): Promise<Trace> {
  const path = join(folder, `${next++}.arrow`);
  const manifest = manifestFor(tokens, changes);
  const writer = new TraceWriter(path, manifest, vocabularyOf(records));
  for (const record of records) writer.write(record);
  writer.finish(manifest);
  return Trace.open(path);
}

/** What a capture level leaves of records with values. */
export function atLevel(records: readonly Unnumbered[], level: "full" | "sketch" | "stats"): Unnumbered[] {
  if (level === "full") return [...records];
  return records.map((record) => ({
    ...record,
    values: null,
    sketch: level === "stats" ? new Float32Array(0) : record.sketch,
  }));
}

/** A record of these values; its dims name the axes of its shape. */
export function recordOf(
  tap: string,
  dims: string,
  shape: readonly number[],
  values: Float32Array,
  changes: Partial<RecordPlan> = {},
): Unnumbered {
  if (parseDims(dims).length !== shape.length) throw new Error(`${dims} for [${shape.join(", ")}]`);
  const layer = /^blk\.(\d+)/.exec(tap)?.[1];
  const plan: RecordPlan = {
    ...{ step: 0, posStart: 0, tap, op: "linear", dtype: "f32", dims, shape, inputs: [], weights: [] },
    layer: layer === undefined ? null : Number(layer),
    ...changes,
  };
  return recordFromValues(plan, 0, values, { sketch: true, values: true });
}
