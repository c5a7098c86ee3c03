/** Every GPU error becomes a named error of ours. */
import { describe, expect, it } from "vitest";
import { Gpu, namedError } from "../../src/engine/device.ts";
import { DeviceError, GpuLostError, GpuOutOfMemoryError, GpuValidationError } from "../../src/engine/errors.ts";
import { Executor } from "../../src/engine/executor.ts";
import { Pipelines } from "../../src/engine/kernels.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { InputError } from "../../src/trace/errors.ts";
import { someTokens, syntheticModel, testGpu } from "../support/engine.ts";

const STORAGE = 0x80;

describe("GPU errors", () => {
  it("a call that Dawn refuses is a GpuValidationError that names what was done", async () => {
    const gpu = await testGpu();
    const tooLarge = () => gpu.device.createBuffer({ size: gpu.limits.maxBufferSize + 4, usage: STORAGE });
    await expect(gpu.guarded("a test buffer", tooLarge)).rejects.toThrow(GpuValidationError);
    await expect(gpu.guarded("a test buffer", tooLarge)).rejects.toThrow(/^a test buffer: refused by the GPU driver/);
  });

  it("a kernel that cannot be compiled is named with its constants", async () => {
    const pipelines = new Pipelines(await testGpu());
    await expect(pipelines.get("add", { WIDTH: 100_000 })).rejects.toThrow(/kernel add \{"WIDTH":100000\}/);
  });

  it("an error outside any scope is thrown at the next wait", async () => {
    const gpu = await Gpu.open();
    gpu.device.createBuffer({ size: gpu.limits.maxBufferSize + 4, usage: STORAGE });
    await expect(gpu.finished()).rejects.toThrow(GpuValidationError);
    gpu.close();
  });

  it("out of memory has its own error with a remedy", async () => {
    await testGpu();
    const error = namedError(new GPUOutOfMemoryError("no room"), "loading");
    expect(error).toBeInstanceOf(GpuOutOfMemoryError);
    expect(error.message).toMatch(/^loading: out of GPU memory \(no room\); use/);
  });

  it("a device lost in the middle of a run is a GpuLostError", async () => {
    const gpu = await Gpu.open();
    const model = await syntheticModel();
    const weights = await GpuWeights.load(gpu, model.file, model.weights.keys());
    const executor = new Executor(gpu, model, weights, { capacity: 64 });
    await executor.step(0, someTokens(4));
    gpu.device.destroy();
    await expect(executor.step(4, [1])).rejects.toThrow(DeviceError);
    await expect(executor.step(4, [1])).rejects.toThrow(GpuLostError);
  });

  it("are the user's to read: one line each", () => {
    expect(new GpuLostError("x")).toBeInstanceOf(InputError);
    expect(namedError(new GPUValidationError("first\nsecond")).message).not.toContain("\n");
  });
});
