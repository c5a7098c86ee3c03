/** The Python of the cache with references/python on its path: one process that answers requests, one line each. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished } from "vitest";
import { Trace } from "../../src/trace/reader.ts";
import type { Statistics } from "../../src/trace/statistics.ts";
import { cached } from "./cache.ts";

export const pythonFolder = join(import.meta.dirname, "../../references/python");

/** Runs a program in a folder, with the package on its path. */
export function runPython(folder: string, program: string) {
  const env = { ...process.env, PYTHONPATH: pythonFolder };
  return spawnSync(cached("python/bin/python"), ["-c", program], { cwd: folder, env, encoding: "utf8" });
}

/** What became of a request: a result, or the ValueError that refused it. */
export type Answer = { readonly result: unknown } | { readonly refused: string };

/** A process that runs until `end`; whatever it does but answer is an error here. */
export class PythonServer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #errors = "";

  constructor(script: string) {
    this.#process = spawn(cached("python/bin/python"), [script, pythonFolder]);
    this.#process.stderr.on("data", (bytes: Buffer) => {
      this.#errors += bytes.toString();
    });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** One request at a time. */
  async ask(request: Readonly<Record<string, unknown>>): Promise<Answer> {
    this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`python ended: ${this.#errors}`);
    const answer = JSON.parse(value) as Answer | { failed: string };
    if ("failed" in answer || this.#errors !== "") throw new Error(`${JSON.stringify(answer)} ${this.#errors}`);
    return answer;
  }

  async end(): Promise<void> {
    this.#process.stdin.end();
    if (this.#process.exitCode === null) await once(this.#process, "exit");
  }
}

export const LEVELS = ["full", "sketch", "stats"] as const;
export type Level = (typeof LEVELS)[number];

interface Numbers {
  readonly shape: readonly number[];
  readonly bytes: string;
  readonly dtype: string;
}

interface PythonRead {
  readonly manifest: unknown;
  readonly partial: boolean;
  readonly rows: number;
  readonly records: readonly (Record<string, unknown> & Record<"row_rms" | "sketch" | "values", Numbers | null>)[];
}

/** What Python reads of a file. */
async function readInPython(python: PythonServer, path: string): Promise<PythonRead> {
  const answer = await python.ask({ do: "read", path });
  if ("refused" in answer) throw new Error(answer.refused);
  return answer.result as PythonRead;
}

const hexOf = (numbers: Float32Array | Float64Array) =>
  Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength).toString("hex");
const statisticsHex = (s: Statistics) =>
  hexOf(
    Float64Array.of(s.count, s.nanCount, s.infCount, s.zeroCount, s.min, s.max, s.maxAbs, s.maxAbsIndex, s.mean, s.rms),
  );

/** Every bit that a record holds; what a capture level leaves out is empty. */
export async function bitsOf(trace: Trace, index: number, level: Level = "full") {
  const { statistics, rowRms, sketch, values, hash, ...facts } = await trace.load(index);
  return {
    ...facts,
    statistics: statisticsHex(statistics),
    rowRms: hexOf(rowRms),
    sketch: level === "stats" ? "" : hexOf(sketch),
    values: level !== "full" || values === null ? null : hexOf(values),
    hash: String(hash),
  };
}

/** Expects that Python reads of a file what we read, every record and every bit. */
export async function expectReadAlike(python: PythonServer, ours: Trace): Promise<void> {
  const { manifest, partial, rows, records } = await readInPython(python, ours.path);
  expect({ manifest, partial, rows }).toEqual({
    manifest: ours.manifest,
    partial: ours.partial,
    rows: ours.records.length,
  });
  for (const [index, { row_rms, sketch, values, pos_start, elapsed_us, ...facts }] of records.entries()) {
    const bits = { rowRms: row_rms?.bytes, sketch: sketch?.bytes ?? "", values: values?.bytes ?? null };
    expect({ ...facts, posStart: pos_start, elapsedUs: elapsed_us, ...bits }).toEqual(await bitsOf(ours, index));
    const shape: readonly number[] = ours.records[index]?.shape ?? [];
    const rowShape = shape.includes(0) ? [0] : shape.slice(0, -1);
    expect([row_rms?.shape, row_rms?.dtype]).toEqual([rowShape, "float32"]);
    if (sketch !== null) expect([sketch.shape, sketch.dtype]).toEqual([[...rowShape, 16], "float32"]);
    if (values !== null) expect([values.shape, values.dtype]).toEqual([shape, "float32"]);
  }
}

/** Opens a trace until the test is over. */
export async function traceOpened(path: string): Promise<Trace> {
  const trace = await Trace.open(path);
  onTestFinished(() => trace.close());
  return trace;
}
