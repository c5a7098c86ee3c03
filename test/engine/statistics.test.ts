/** The statistics kernel against the same in f64 on the CPU: values of all magnitudes, NaN and Inf, long and short rows. */
import { describe, expect, it } from "vitest";
import { Buffers } from "../../src/engine/buffers.ts";
import { bindGroup, Pipelines } from "../../src/engine/kernels.ts";
import { flatGrid } from "../../src/engine/lowering.ts";
import { RECORD_WORDS, tensorSummary } from "../../src/engine/row-records.ts";
import { hashOf, sketchOf } from "../../src/trace/sketch.ts";
import { statisticsOf } from "../../src/trace/statistics.ts";
import { testGpu } from "../support/engine.ts";
import { normals, uniform } from "../support/random.ts";

async function gpuSummary(
  values: Float32Array<ArrayBuffer>,
  rows: number,
  columns: number,
  words: number = RECORD_WORDS.sketch,
) {
  const gpu = await testGpu();
  const buffers = new Buffers(gpu, 0);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
  const records = buffers.named("records", rows * words * 4, usage);
  const staging = buffers.named("staging", rows * words * 4, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  const table = Uint32Array.from({ length: rows * 4 }, (_, i) => {
    const row = Math.floor(i / 4);
    return [row * columns, columns, row * columns, row][i % 4] ?? 0;
  });
  const pipeline = await new Pipelines(gpu).get("row_statistics", { WIDTH: gpu.width, RECORD: words });
  return gpu.guarded("statistics", async () => {
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    const x = buffers.upload("x", values);
    const bindings = {
      0: { buffer: buffers.uniform([0, rows]) },
      1: buffers.upload("rows", table),
      2: x,
      3: { buffer: records },
    };
    pass.setBindGroup(0, bindGroup(gpu, pipeline, bindings));
    pass.dispatchWorkgroups(...flatGrid(rows));
    pass.end();
    encoder.copyBufferToBuffer(records, 0, staging, 0, rows * words * 4);
    gpu.device.queue.submit([encoder.finish()]);
    const copy = new Uint32Array((await gpu.mapped(staging, rows * words * 4)).slice(0));
    staging.unmap();
    return tensorSummary(copy, words, columns);
  });
}

/** gamma_n of f32 for a lane of n/64 terms, a tree of 6 and the products: what a sum of n terms may be off, of the sum of |x|. */
const gamma = (columns: number) => (Math.ceil(columns / 64) + 8) * 2 ** -24;

async function check(values: Float32Array<ArrayBuffer>, rows: number, columns: number) {
  const gpu = await gpuSummary(values, rows, columns);
  const { statistics, rowRms } = statisticsOf(values, rows, columns);
  const { mean, rms, ...whole } = statistics;
  const { mean: gpuMean, rms: gpuRms, ...gpuWhole } = gpu.statistics;
  expect(gpuWhole).toEqual(whole);
  expect(gpu.hash).toBe(hashOf(values));
  if (Number.isNaN(rms)) {
    expect(gpuRms).toBeNaN();
    expect(gpuMean).toBeNaN();
  } else {
    const finite = Array.from(values).filter(Number.isFinite);
    const meanAbs = finite.reduce((sum, x) => sum + Math.abs(x), 0) / finite.length;
    expect(Math.abs(gpuMean - mean)).toBeLessThanOrEqual(gamma(columns) * meanAbs);
    expect(Math.abs(gpuRms - rms)).toBeLessThanOrEqual(gamma(columns) * rms);
  }
  const expected = sketchOf(values, rows, columns);
  for (let row = 0; row < rows; row++) {
    const part = Array.from(values.subarray(row * columns, (row + 1) * columns)).filter(Number.isFinite);
    const scale = part.reduce((sum, x) => sum + Math.abs(x), 0);
    for (let j = 0; j < 16; j++) {
      const [ours, exact] = [gpu.sketch[row * 16 + j] ?? 0, expected[row * 16 + j] ?? 0];
      // A sum beyond f32 is infinite on both sides.
      const difference = ours === exact ? 0 : Math.abs(ours - exact);
      expect(difference).toBeLessThanOrEqual(gamma(columns) * scale + 2 ** -149);
    }
    const expectedRms = rowRms[row] ?? 0;
    if (!Number.isNaN(expectedRms)) {
      expect(Math.abs((gpu.rowRms[row] ?? 0) - expectedRms)).toBeLessThanOrEqual(2 * gamma(columns) * expectedRms);
    }
  }
}

describe("the statistics kernel", () => {
  it("gives the vectors of the specification exactly", async () => {
    const values = Float32Array.from({ length: 1000 }, (_, i) => (((i * 37) % 101) - 50) / 8);
    const gpu = await gpuSummary(values, 10, 100);
    expect(gpu.sketch).toEqual(sketchOf(values, 10, 100));
    expect(gpu.hash.toString(16)).toBe("3a9bceb960dd3a6e");
    expect(gpu.statistics.rms).toBeCloseTo(3.647443453982529, 7);
  });

  it.each([
    [1, 1],
    [3, 7],
    [5, 63],
    [2, 64],
    [4, 65],
    [70, 33],
    [3, 1000],
    [2, 49152],
  ])("%d rows of %d normal numbers", async (rows, columns) => {
    await check(normals(rows * 31 + columns, rows * columns) as Float32Array<ArrayBuffer>, rows, columns);
  });

  it("counts NaN and Inf on bit patterns and leaves them out of everything else", async () => {
    const values = normals(5, 4 * 50) as Float32Array<ArrayBuffer>;
    const bits = new Uint32Array(values.buffer);
    // quiet, negative and signalling NaN, both infinities
    for (const [i, pattern] of [0x7fc00000, 0xffc00001, 0x7f800001, 0x7f800000, 0xff800000].entries())
      bits[i * 37] = pattern;
    await check(values, 4, 50);
  });

  it("a tensor without a finite element has no mean", async () => {
    await check(new Float32Array(100).fill(Number.NaN), 2, 50);
    await check(new Float32Array(3).fill(Number.NEGATIVE_INFINITY), 1, 3);
  });

  it("squares neither overflow nor vanish", async () => {
    const random = uniform(3);
    for (const magnitude of [3e38, 1e25, 1e-25, 2e-38]) {
      await check(
        Float32Array.from({ length: 300 }, () => (random() - 0.5) * magnitude),
        3,
        100,
      );
    }
  });

  it("zeros of both signs are zeros, and the largest magnitude is the first of its size", async () => {
    await check(Float32Array.of(0, -0, 2, -2, 2, -0), 1, 6);
    await check(new Float32Array(10), 2, 5);
  });

  it("without a sketch the rest is the same", async () => {
    const values = normals(8, 640) as Float32Array<ArrayBuffer>;
    const [withSketch, without] = [
      await gpuSummary(values, 10, 64),
      await gpuSummary(values, 10, 64, RECORD_WORDS.stats),
    ];
    expect(without.statistics).toEqual(withSketch.statistics);
    expect(without.hash).toBe(withSketch.hash);
    expect(without.sketch.length).toBe(0);
  });
});
