/** Our engine as one of the benchmark's processes (protocol.ts). Modes: untraced, stats, sketch, full. */
import { DEVICE_KINDS, Gpu } from "../../src/engine/device.ts";
import { Executor } from "../../src/engine/executor.ts";
import { argmax } from "../../src/engine/sampler.ts";
import { GpuWeights } from "../../src/engine/weights.ts";
import { openModel } from "../../src/model/model.ts";
import { CAPTURE_LEVELS } from "../../src/trace/capture.ts";
import { serve, timeRound } from "./protocol.ts";
import { readWork } from "./work.ts";

const { work, options } = readWork({ device: "auto" });
const gpu = await Gpu.open(DEVICE_KINDS.find((kind) => kind === options.device) ?? "auto");
const model = await openModel(work.model);
const weights = await GpuWeights.load(gpu, model.file, model.weights.keys());
const executor = new Executor(gpu, model, weights, { capacity: work.prompt.length + work.decode.length });
const { description, software } = gpu.adapter;

const facts = {
  engine: "faultline",
  device: description,
  settings: "WebGPU, f32 cache, logits of every row",
  software,
};
await serve(facts, (mode) => {
  const level = CAPTURE_LEVELS.find((each) => each === mode);
  const recording = level === undefined ? undefined : { level, wants: () => true };
  let number = 0;
  const step = async (posStart: number, tokens: readonly number[]) => {
    const outcome = await executor.step(posStart, tokens, recording);
    // Folding values into records is part of what tracing costs.
    if (recording !== undefined) for (const _ of outcome.records(number++));
    return outcome.logits;
  };
  return timeRound(work, step, argmax);
});
gpu.close();
