/** Who is measured: our engine at every capture level, and the engines beside it. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { llamaCppBench } from "../../references/llamacpp/bench.ts";
import type { DeviceKind } from "../../src/engine/device.ts";
import { CAPTURE_LEVELS } from "../../src/trace/capture.ts";
import { Peer, type Work, workParameters } from "./protocol.ts";

/** A process that takes part. */
export interface Contender {
  readonly label: string;
  /** What one process has several of; each is measured in every round. */
  readonly modes: readonly string[];
  start(work: Work, device: DeviceKind, software: boolean): Promise<Peer>;
}

export const UNTRACED = "untraced";
const script = (name: string) => ["--import", "tsx", join(import.meta.dirname, name)];
const threads = `${availableParallelism()}`;

export const OWN: Contender = {
  label: "faultline",
  modes: [UNTRACED, ...CAPTURE_LEVELS],
  start: (work, device) =>
    Peer.start(process.execPath, [...script("own.ts"), ...workParameters(work), "--device", device]),
};

function llamaCpp(label: string, device: "cpu" | "vulkan"): Contender {
  return {
    label,
    modes: ["round"],
    start: async (work, _, software) => {
      const program = await llamaCppBench(device, (line) => console.error(line));
      // llama.cpp leaves software adapters alone unless they are named.
      const env = software && process.env.GGML_VK_VISIBLE_DEVICES === undefined ? { GGML_VK_VISIBLE_DEVICES: "0" } : {};
      return Peer.start(program, [...workParameters(work), "--device", device, "--threads", threads], env);
    },
  };
}

function onnx(label: string, provider: "cpu" | "webgpu", weights: "f32" | "4bit"): Contender {
  const options = ["--provider", provider, "--weights", weights, "--threads", threads];
  return {
    label,
    modes: ["round"],
    start: (work) => Peer.start(process.execPath, [...script("onnx.ts"), ...workParameters(work), ...options]),
  };
}

/** By the name that `--peers` knows. */
export const PEERS: Readonly<Record<string, Contender>> = {
  "llamacpp-vulkan": llamaCpp("llama.cpp Vulkan", "vulkan"),
  "llamacpp-cpu": llamaCpp("llama.cpp CPU", "cpu"),
  "onnx-webgpu": onnx("ONNX Runtime WebGPU, f32", "webgpu", "f32"),
  "onnx-webgpu-4bit": onnx("ONNX Runtime WebGPU, 4 bits", "webgpu", "4bit"),
  "onnx-cpu": onnx("ONNX Runtime CPU, f32", "cpu", "f32"),
  "onnx-cpu-4bit": onnx("ONNX Runtime CPU, 4 bits", "cpu", "4bit"),
};
