/** Traces in Python are the traces of TypeScript: read alike, and written alike to the bit. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { compareTraces } from "../../src/compare/compare.ts";
import { rowsAndColumns } from "../../src/trace/dims.ts";
import { Trace } from "../../src/trace/reader.ts";
import type { TraceRecord } from "../../src/trace/record.ts";
import { SKETCH_SIZE } from "../../src/trace/sketch.ts";
import { faultline } from "../support/cli.ts";
import { bitsOf, expectReadAlike, LEVELS, type Level, PythonServer, traceOpened } from "../support/python.ts";
import { normals } from "../support/random.ts";
import { openTrace, recordOf, traceFrom, type Unnumbered } from "../support/traces.ts";

const HF_TRACE = join(import.meta.dirname, "../../models/faultline-tiny-f16.hf.arrow");
const MODEL = join(import.meta.dirname, "../../models/faultline-tiny-f16.gguf");
const DIMS = ["", "embd", "token embd", "head token key"];

const folder = mkdtempSync(join(tmpdir(), "faultline-python-"));
const python = new PythonServer(join(import.meta.dirname, "python_server.py"));
afterAll(async () => {
  await python.end();
  rmSync(folder, { recursive: true });
});

/** The same values, written by Python; opened. */
async function rewritten(source: string, capture: string): Promise<Trace> {
  const target = join(folder, "rewritten.arrow");
  expect(await python.ask({ do: "rewrite", source, target, capture })).toEqual({ result: null });
  expect(existsSync(`${target}.partial`)).toBe(false);
  return Trace.open(target);
}

/** Expects that Python's trace holds the bits of ours, as far as a level goes. */
async function expectSameBits(ours: Trace, theirs: Trace, level: Level): Promise<void> {
  expect(theirs.records.length).toBe(ours.records.length);
  for (const index of ours.records.keys()) {
    expect(await bitsOf(theirs, index)).toEqual(await bitsOf(ours, index, level));
  }
}

/** Floats by their bits: NaN of any payload, subnormals, zeros of both signs, the largest, and small numbers with ties. */
const SPECIAL = [0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000];
const bitsOfFloat = fc.oneof(
  { weight: 3, arbitrary: fc.float({ noNaN: true, min: -8, max: 8 }).map((x) => bitsFrom(x)) },
  { weight: 1, arbitrary: fc.constantFrom(...SPECIAL, 0x7fc00000, 0xffc12345, 0x7f800001) },
  { weight: 1, arbitrary: fc.integer({ min: -3, max: 3 }).map((x) => bitsFrom(x)) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffffffff }) },
);
function bitsFrom(x: number): number {
  return new Uint32Array(Float32Array.of(x).buffer)[0] ?? 0;
}

const tensor = fc
  .array(fc.integer({ min: 0, max: 9 }), { minLength: 0, maxLength: 3 })
  .chain((shape) =>
    fc.tuple(fc.constant(shape), fc.array(bitsOfFloat, { minLength: product(shape), maxLength: product(shape) })),
  );
const product = (shape: readonly number[]) => shape.reduce((all, size) => all * size, 1);

const recordsOf = (tensors: readonly (readonly [number[], number[]])[]): Unnumbered[] =>
  tensors.map(([shape, bits], i) =>
    recordOf(`blk.${i}.q_proj`, DIMS[shape.length] ?? "", shape, new Float32Array(Uint32Array.from(bits).buffer), {
      ...{ step: i % 2, posStart: 7 * (i % 2), inputs: i % 3 === 0 ? ["embed", "ü"] : [], weights: ["w"].slice(i % 2) },
      dtype: i % 2 === 0 ? "f32" : "f16",
    }),
  );

describe("law: Python's numbers are ours to the bit", () => {
  it("for shapes and values of any kind, at every capture level", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(tensor, { minLength: 1, maxLength: 8 }),
        fc.constantFrom(...LEVELS),
        async (tensors, level) => {
          const ours = await openTrace(recordsOf(tensors), [[1], [2]]);
          const theirs = await rewritten(ours.path, level);
          await expectReadAlike(python, ours);
          await expectSameBits(ours, theirs, level);
          await expectReadAlike(python, theirs);
          await Promise.all([ours.close(), theirs.close()]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("for long rows, large tensors and several batches", async () => {
    // Zeros of both signs are equal: which is the least shows who takes the first.
    const zeros = (first: number) => Float32Array.from({ length: 1000 }, (_, i) => (i % 2 === first ? -0 : 0));
    const tensors: readonly (readonly [number[], Float32Array])[] = [
      [[3, 50_000], normals(0, 150_000)],
      [[2, 300, 700], normals(1, 420_000).map((x) => x * 1e30)],
      [[4000, 16], normals(2, 64_000).map((x) => x * 1e-42)],
      [[10, 100], zeros(0)],
      [[10, 100], zeros(1)],
    ];
    const records = tensors.map(([shape, values], i) =>
      recordOf(`blk.${i}.output`, DIMS[shape.length] ?? "", shape, values),
    );
    const ours = await traceFrom(records, [[1]]);
    for (const level of LEVELS) {
      const theirs = await rewritten(ours.path, level);
      await expectSameBits(ours, theirs, level);
      await theirs.close();
    }
    await expectReadAlike(python, ours);
  });
});

describe("a trace of Transformers, written again by Python", () => {
  for (const level of LEVELS) {
    it(`matches at ${level}`, async () => {
      const [ours, theirs] = [await Trace.open(HF_TRACE), await rewritten(HF_TRACE, level)];
      await expectSameBits(ours, theirs, level);
      const { verdict, totals, warnings } = await compareTraces(ours, theirs);
      expect({ verdict, totals, warnings }).toEqual({
        verdict: "match",
        totals: { expected: 355, actual: 355, matched: 355, unmatched: 0, refused: 0 },
        warnings: [],
      });
      await Promise.all([ours.close(), theirs.close()]);
    });
  }

  it("is audited and inspected as the first one is", async () => {
    const theirs = await rewritten(HF_TRACE, "full");
    await theirs.close();
    for (const args of [["audit", "--model", MODEL], ["inspect"]]) {
      const [first, second] = [HF_TRACE, theirs.path].map((path) => {
        const { status, stdout } = faultline(...args.slice(0, 1), path, ...args.slice(1), "--json");
        return { status, stdout: stdout.replaceAll(path, "TRACE") };
      });
      expect(first?.status).toBe(0);
      expect({ ...second, stdout: JSON.parse(second?.stdout ?? "") }).toEqual({
        ...first,
        stdout: JSON.parse(first?.stdout ?? ""),
      });
    }
  });
});

describe("a trace of the GPU, written again by Python", () => {
  it("has the same hashes, counts and extremes, and sums within what f32 sums of the GPU can err", async () => {
    const source = join(folder, "gpu.arrow");
    const run = ["trace", MODEL, "--tokens", "256,1057,261", "-n", "2", "--capture", "full", "-o", source];
    expect(faultline(...run)).toMatchObject({ status: 0 });
    const [ours, theirs] = [await traceOpened(source), await rewritten(source, "full")];
    expect(theirs.records.length).toBe(ours.records.length);
    let [sums, unequal] = [0, 0];
    for (const index of ours.records.keys()) {
      const [gpu, cpu] = [await ours.load(index), await theirs.load(index)];
      const exact = ({ hash, values, statistics: { mean, rms, ...statistics } }: TraceRecord) => ({
        hash,
        values,
        statistics,
      });
      expect(exact(cpu)).toEqual(exact(gpu));
      for (const [found, right, allowed] of sumsOf(gpu, cpu)) {
        expect(Math.abs(found - right), `${gpu.tap} of step ${gpu.step}`).toBeLessThanOrEqual(allowed);
        sums++;
        if (found !== right) unequal++;
      }
    }
    // Sums in another order: were all of them equal, one side would have copied the other.
    expect(unequal).toBeGreaterThan(sums / 100);
    await theirs.close();
  });
});

/**
 * Sums of a record as the GPU and as Python have them, and how far apart they may be. A GPU sum of K terms passes n = ceil(K/64) + 8
 * roundings (docs/numerics.md), so it is off by at most g(n) = n u / (1 - n u) times the sum of magnitudes; squares pass one more, and
 * a root halves a relative error (to second order: hence g in full). What is stored as f32 is rounded once more on each side.
 */
function* sumsOf(gpu: TraceRecord, cpu: TraceRecord): Iterable<readonly [number, number, number]> {
  const u = 2 ** -24;
  const { rows, columns } = rowsAndColumns(gpu.shape);
  const n = Math.ceil(columns / 64) + 8;
  const g = (roundings: number) => (roundings * u) / (1 - roundings * u);
  const tiny = 2 ** -149;
  const values = gpu.values ?? new Float32Array(0);
  const magnitudes = Array.from({ length: rows }, (_, r) =>
    values.subarray(r * columns, (r + 1) * columns).reduce((sum, x) => sum + Math.abs(x), 0),
  );
  const all = magnitudes.reduce((sum, x) => sum + x, 0);
  yield [gpu.statistics.mean, cpu.statistics.mean, (g(n) * all) / values.length + tiny];
  yield [gpu.statistics.rms, cpu.statistics.rms, g(n + 1) * cpu.statistics.rms + tiny];
  for (let r = 0; r < rows; r++) {
    const right = cpu.rowRms[r] ?? Number.NaN;
    yield [gpu.rowRms[r] ?? Number.NaN, right, (g(n + 1) + 2 * u) * right + tiny];
    for (let j = r * SKETCH_SIZE; j < (r + 1) * SKETCH_SIZE; j++) {
      const projection = cpu.sketch[j] ?? Number.NaN;
      const allowed = g(n) * (magnitudes[r] ?? 0) + u * Math.abs(projection) + tiny;
      yield [gpu.sketch[j] ?? Number.NaN, projection, allowed];
    }
  }
}
