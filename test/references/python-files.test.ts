/** Traces in Python that broke off, or are none: read as far as TypeScript reads them, refused in one line; so is what no trace may hold. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { TraceError } from "../../src/trace/errors.ts";
import { Trace } from "../../src/trace/reader.ts";
import { expectReadAlike, PythonServer, traceOpened } from "../support/python.ts";
import { normals } from "../support/random.ts";
import { recordOf, traceFrom } from "../support/traces.ts";

const HF_TRACE = join(import.meta.dirname, "../../models/faultline-tiny-f16.hf.arrow");

const folder = mkdtempSync(join(tmpdir(), "faultline-python-files-"));
const python = new PythonServer(join(import.meta.dirname, "python_server.py"));
afterAll(async () => {
  await python.end();
  rmSync(folder, { recursive: true });
});

describe("a file that broke off", () => {
  const two = () =>
    traceFrom(
      [0, 1, 2].map((i) => recordOf(`blk.${i}.output`, "token embd", [2, 5], normals(i, 10), { step: i })),
      [[1, 2], [3], [4]],
    );

  it("is read up to the same batch as by us, at every length", async () => {
    const { path } = await two();
    const target = join(folder, "stopped.arrow");
    expect(await python.ask({ do: "rewrite", source: path, target, stop: true })).toEqual({ result: null });
    expect(existsSync(target)).toBe(false);
    const cut = join(folder, "cut.arrow");
    const found = new Set<number>();
    // Ours as one batch, Python's as one for each record; names of its later batches extend its dictionaries.
    for (const whole of [path, `${target}.partial`]) {
      const bytes = readFileSync(whole);
      for (let length = 0; length < bytes.length; length += 97) {
        writeFileSync(cut, bytes.subarray(0, length));
        const ours = await Trace.open(cut).catch((error: unknown) => String(error));
        if (typeof ours === "string") {
          expect(await python.ask({ do: "read", path: cut })).toMatchObject({
            refused: expect.stringMatching(/^[^\n]+$/),
          });
          found.add(0);
        } else {
          await expectReadAlike(python, ours);
          expect(ours.partial).toBe(true);
          found.add(ours.records.length);
          await ours.close();
        }
      }
    }
    expect([...found].sort()).toEqual([0, 1, 2, 3]);
  });

  it("keeps the steps before an error in the engine", async () => {
    const { path } = await two();
    const target = join(folder, "error.arrow");
    expect(await python.ask({ do: "rewrite", source: path, target, stop: true })).toEqual({ result: null });
    const trace = await traceOpened(`${target}.partial`);
    expect(trace.records.map(({ tap }) => tap)).toEqual(["blk.0.output", "blk.1.output", "blk.2.output"]);
    expect(trace.manifest.tokens).toEqual([[1, 2], [3], [4]]);
    // One tap a batch: two batches extend the four dictionaries' one that grows, none replaces it.
    const inStream = await python.ask({ do: "dictionaries", path: trace.path });
    expect(inStream).toEqual({ result: { batches: 3, whole: 4, extended: 2, replaced: 0 } });
  });

  it("is whole once it is finished, with complete dictionaries", async () => {
    const { path } = await two();
    const target = join(folder, "finished.arrow");
    expect(await python.ask({ do: "rewrite", source: path, target, batches: true })).toEqual({ result: null });
    const inFile = await python.ask({ do: "dictionaries", path: target });
    expect(inFile).toEqual({ result: { batches: 3, whole: 4, extended: 0, replaced: 0 } });
    await expectReadAlike(python, await traceOpened(target));
  });
});

describe("bad files", () => {
  const refusal = async (bytes: Uint8Array) => {
    const path = join(folder, "bad.arrow");
    writeFileSync(path, bytes);
    await expect(Trace.open(path)).rejects.toThrow(TraceError);
    return python.ask({ do: "read", path });
  };
  const hf = readFileSync(HF_TRACE);
  /** Another text of the same length, at both places of the metadata. */
  const changed = (from: string, to: string) => Buffer.from(hf.toString("latin1").replaceAll(from, to), "latin1");

  it.each<readonly [string, () => Uint8Array, RegExp]>([
    ["empty", () => new Uint8Array(0), /not a trace \(an Arrow file starts with ARROW1\)/],
    ["text", () => Buffer.from("hello"), /not a trace/],
    [
      "magic alone",
      () => Buffer.from("ARROW1\0\0"),
      /broke off before its first batch \(8 bytes\); make the trace again/,
    ],
    ["magic twice", () => Buffer.from("ARROW1\0\0ARROW1"), /damaged .*; make the trace again/],
    ["no trace", () => changed("faultline.version", "faultlime.version"), /no faultline\.version in its metadata/],
    ["no manifest", () => changed('{"producer":{', '["producer":{'), /faultline\.manifest is not JSON/],
    ["lacks a column", () => changed("zero_count", "zero_kount"), /lacks the column zero_count; see/],
  ])("%s is refused in one line", async (_, bytes, words) => {
    expect(await refusal(bytes())).toEqual({ refused: expect.stringMatching(words) });
  });

  it("a missing file and a folder are refused in one line", async () => {
    for (const path of [join(folder, "missing.arrow"), folder]) {
      expect(await python.ask({ do: "read", path })).toEqual({
        refused: expect.stringMatching(/^[^\n]*: no such file; /),
      });
    }
  });

  it.each([
    ["whole", 0],
    ["partial", 10],
  ])("any byte of a %s file changed is read, or refused in one line", async (_, cut) => {
    const { path: whole } = await traceFrom([recordOf("embed", "token embd", [2, 3], normals(1, 6))], [[1, 2]]);
    const bytes = readFileSync(whole);
    const path = join(folder, "flipped.arrow");
    let refused = 0;
    for (let at = 0; at < bytes.length - cut; at += 7) {
      const flipped = Uint8Array.from(bytes.subarray(0, bytes.length - cut));
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      writeFileSync(path, flipped);
      const answer = await python.ask({ do: "read", path });
      if ("refused" in answer) {
        expect(answer.refused).toMatch(/^[^\n]+$/);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(50);
  });
});

describe("the writer refuses, in one line", () => {
  const writer = { producer: { name: "x" } };
  const record = { step: 0, pos_start: 0, tap: "embed", op: "embed", dims: "token embd", values: [[1, 2]] };
  it.each<readonly [string, object, RegExp]>([
    ["integers", { records: [{ ...record, of: "i4" }] }, /embed of step 0: values are int32; give float16/],
    [
      "another number of axes",
      { records: [{ ...record, dims: "token (head head_dim) key" }] },
      /shape \[1, 2\] for the 3 axes/,
    ],
    ["a tap twice", { records: [record, record] }, /embed of step 0 is written twice/],
    ["values beyond f32", { records: [{ ...record, of: "f8", values: [[1e300, 1]] }] }, /beyond float32's .*infinite/],
    ["a step before 0", { records: [{ ...record, step: -1 }] }, /must lie in 0 to/],
    ["nothing", { tokens: [[1]] }, /no record was written/],
    ["a step without tokens", { records: [record] }, /step 0 was written, but tokens has 0 steps/],
    ["an unknown level", { writer: { ...writer, capture: "all" } }, /capture is 'all'; one of stats, sketch, full/],
    ["a producer without a name", { writer: { producer: {} } }, /producer\.name must be a string/],
    [
      "settings of settings",
      { writer: { producer: { name: "x", settings: { a: [1] } } } },
      /producer\.settings\.a must be strings/,
    ],
    [
      "other pieces than tokens",
      { writer: { ...writer, tokens: [[1, 2]], pieces: [["a"]] } },
      /pieces and tokens differ/,
    ],
    ["a place that is none", { path: join(folder, "none", "x.arrow") }, /cannot be written/],
    ["a folder's place", { path: folder }, /cannot be written/],
  ])("%s", async (_, request, words) => {
    const answer = await python.ask({ do: "write", path: join(folder, "refused.arrow"), writer, ...request });
    expect(answer).toEqual({ refused: expect.stringMatching(words) });
    expect((answer as { refused: string }).refused).not.toContain("\n");
    expect(existsSync(join(folder, "refused.arrow"))).toBe(false);
  });
});
