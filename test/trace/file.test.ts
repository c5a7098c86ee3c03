/** A trace written is the trace read: whole, broken off at any byte, and by a second Arrow implementation. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TraceError } from "../../src/trace/errors.ts";
import { Trace } from "../../src/trace/reader.ts";
import { type Manifest, type RecordPlan, recordFromValues, type TraceRecord } from "../../src/trace/record.ts";
import { TraceWriter, vocabularyOf } from "../../src/trace/writer.ts";
import { cached } from "../support/cache.ts";
import { normals } from "../support/random.ts";
import { recordOf, traceFrom } from "../support/traces.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-trace-"));

const MANIFEST: Manifest = {
  producer: { name: "test", version: "1", device: "none", dtype: "f32", settings: { a: 1, b: null, c: "x" } },
  model: {
    file: "m.gguf",
    size: 1,
    sha256: null,
    architecture: "llama",
    hyperParameters: { layers: 2 },
    quantisation: null,
  },
  prompt: "für \u202e 😀",
  tokens: [[1, 2, 3]],
  pieces: [["f", "ür", "😀"]],
  faults: [],
  created: "2026-01-01T00:00:00.000Z",
};

function plan(tap: string, shape: readonly number[], step = 0): RecordPlan {
  const dims = shape.length === 3 ? "head token key" : "token embd";
  return {
    step,
    posStart: 0,
    tap,
    op: "linear",
    dtype: "f32",
    dims,
    layer: 3,
    shape,
    inputs: ["embed", "ü"],
    weights: [],
  };
}

const special = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, -0, 1e-45, -3.4e38, 7);
const RECORDS: Omit<TraceRecord, "seq">[] = [
  recordFromValues({ ...plan("embed", [3, 5]), layer: null }, 0, normals(1, 15), { sketch: true, values: true }),
  recordFromValues(plan("blk.3.attn_scores", [2, 3, 4]), 0, normals(2, 24), { sketch: true, values: false }),
  recordFromValues(plan("blk.3.q_proj", [1, 6]), 0, special, { sketch: false, values: true }),
  recordFromValues(plan("blk.3.k_proj", [1, 6]), 0, new Float32Array(6).fill(Number.NaN), {
    sketch: true,
    values: true,
  }),
  recordFromValues(plan("blk.3.k_proj", [400, 1000], 1), 0, normals(3, 400_000), { sketch: true, values: true }),
  {
    ...recordFromValues(plan("embed", [1, 2], 1), 0, normals(4, 2), { sketch: false, values: false }),
    elapsedUs: 12.5,
  },
];

function write(path: string, records = RECORDS): string {
  const writer = new TraceWriter(path, MANIFEST, vocabularyOf(records));
  for (const record of records) writer.write(record);
  writer.finish({ ...MANIFEST, tokens: [[1, 2, 3], [4]], pieces: [["f", "ür", "😀"], ["x"]] });
  return path;
}

describe("write and read", () => {
  it("gives back every record and the final manifest", async () => {
    const trace = await Trace.open(write(join(folder, "a.arrow")));
    expect(trace.partial).toBe(false);
    expect(trace.manifest.tokens).toEqual([[1, 2, 3], [4]]);
    expect(trace.manifest.prompt).toBe(MANIFEST.prompt);
    expect(trace.records.length).toBe(RECORDS.length);
    for (const [i, record] of RECORDS.entries()) {
      const { hasSketch, hasValues, ...summary } = trace.records[i] ?? { hasSketch: false, hasValues: false };
      const { sketch, values, ...facts } = record;
      expect(summary).toEqual({ ...facts, seq: i });
      expect(hasSketch).toBe(sketch.length > 0);
      expect(hasValues).toBe(values !== null);
      const loaded = await trace.load(i);
      expect(loaded.sketch).toEqual(sketch);
      expect(loaded.values).toEqual(values);
    }
    await trace.close();
    expect(existsSync(join(folder, "a.arrow.partial"))).toBe(false);
  });

  it("refuses a trace without records and leaves nothing", () => {
    const path = join(folder, "empty.arrow");
    const writer = new TraceWriter(path, MANIFEST, vocabularyOf([]));
    expect(() => writer.finish(MANIFEST)).toThrow(TraceError);
    expect(existsSync(path) || existsSync(`${path}.partial`)).toBe(false);
  });

  it("refuses a record that contradicts itself, or was not announced", () => {
    const writer = new TraceWriter(join(folder, "bad.arrow"), MANIFEST, vocabularyOf(RECORDS));
    const record = RECORDS[0];
    if (record === undefined) throw new Error("no record");
    expect(() => writer.write({ ...record, shape: [3, 4] })).toThrow(/counts 15/);
    expect(() => writer.write({ ...record, sketch: new Float32Array(3) })).toThrow(/sketch of 3/);
    writer.write({ ...record, tap: "unknown" });
    expect(() => writer.flush()).toThrow(/not announced/);
    writer.discard();
  });
});

describe("a broken file", () => {
  it("is a partial trace or a TraceError at every length, and never anything else", async () => {
    const small = RECORDS.filter((record) => record.statistics.count < 100);
    const bytes = readFileSync(write(join(folder, "whole.arrow"), small));
    const path = join(folder, "cut.arrow");
    let partial = 0;
    for (let length = 0; length < bytes.length; length += 37) {
      writeFileSync(path, bytes.subarray(0, length));
      try {
        const trace = await Trace.open(path);
        expect(trace.partial).toBe(true);
        expect(trace.records.length).toBe(small.length);
        partial++;
        await trace.close();
      } catch (error) {
        expect(error).toBeInstanceOf(TraceError);
      }
    }
    expect(partial).toBeGreaterThan(0);
  });

  it("keeps the steps before a break", async () => {
    const writer = new TraceWriter(join(folder, "stopped.arrow"), MANIFEST, vocabularyOf(RECORDS));
    for (const record of RECORDS) {
      writer.write(record);
      writer.flush();
    }
    writer.close();
    const bytes = readFileSync(writer.partialPath);
    writeFileSync(writer.partialPath, bytes.subarray(0, bytes.length - 100));
    const trace = await Trace.open(writer.partialPath);
    expect(trace.partial).toBe(true);
    expect(trace.records.map((record) => record.tap)).toEqual(RECORDS.slice(0, 5).map((record) => record.tap));
    expect((await trace.load(4)).values).toEqual(RECORDS[4]?.values);
    await trace.close();
  });
});

describe("pyarrow", () => {
  it("reads the file and recomputes statistics, sketch and hash from the values", () => {
    const path = write(join(folder, "python.arrow"));
    const script = join(import.meta.dirname, "recompute.py");
    const output = execFileSync(cached("python/bin/python"), [script, path], { encoding: "utf8" });
    expect(JSON.parse(output)).toEqual({ version: "1", records: 6, recomputed: 4, steps: [[1, 2, 3], [4]] });
  });
});

describe("law: read after write is the identity", () => {
  it("for values of any bits", async () => {
    const value = fc.float().map(Math.fround);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(value, { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 5 }),
        async (lists) => {
          const records = lists.map((list, i) =>
            recordFromValues(plan(`blk.${i}.q_proj`, [1, list.length]), 0, Float32Array.from(list), {
              sketch: i % 2 === 0,
              values: true,
            }),
          );
          const trace = await Trace.open(write(join(folder, "law.arrow"), records));
          for (const [i, record] of records.entries()) expect((await trace.load(i)).values).toEqual(record.values);
          await trace.close();
        },
      ),
      { numRuns: 30 },
    );
  });
});

it("a record that holds another number of values than its count says is refused: reading on would give its neighbour's", async () => {
  const record = (tap: string) => recordOf(tap, "token embd", [7, 767], new Float32Array(7 * 767).fill(1));
  const { path } = await traceFrom([record("embed")], [[1, 2, 3, 4, 5, 6, 7]]);
  const bytes = readFileSync(path);
  const end = Buffer.alloc(4);
  end.writeUInt32LE(7 * 767);
  // The last place of that number is the end of the values' list.
  bytes.writeUInt32LE(7 * 766, bytes.lastIndexOf(end));
  writeFileSync(path, bytes);
  await expect(Trace.open(path)).rejects.toThrow("embed of step 0 holds 5362 values, its count says 5369");
});
