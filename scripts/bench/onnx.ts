/** ONNX Runtime as one of the benchmark's processes (protocol.ts), on its CPU or its WebGPU provider. Apart from our Dawn: it has its own. */
import { InferenceSession, type OnnxValue, Tensor } from "onnxruntime-node";
import { pastOf, presentOf } from "../../references/onnx/graph.ts";
import { onnxRuntimeVersion } from "../../references/onnx/runner.ts";
import { argmax } from "../../src/engine/sampler.ts";
import { openModel } from "../../src/model/model.ts";
import { ropeTable } from "../../src/model/rope.ts";
import { fusedGraph } from "./onnx-fused.ts";
import { plainGraph } from "./onnx-graph.ts";
import { serve, timeRound } from "./protocol.ts";
import { readWork } from "./work.ts";

const { work, options } = readWork({ provider: "cpu", weights: "f32", threads: "0" });
const model = await openModel(work.model);
const { rope, vocab } = model.parameters;
const narrow = options.weights === "4bit";
const graph = narrow ? fusedGraph(model, work.prompt.length + work.decode.length) : plainGraph(model);
const gpu = options.provider === "webgpu";
const pasts = [...graph.pasts];
const session = await InferenceSession.create(graph.bytes, {
  executionProviders: [options.provider],
  externalData: graph.externalData,
  graphOptimizationLevel: "all",
  intraOpNumThreads: Number(options.threads),
  // What falls back to the CPU without a word would be measured as the GPU's.
  ...(gpu ? { extra: { session: { disable_cpu_ep_fallback: "1" } } } : {}),
  // The caches stay where they are.
  ...(gpu ? { preferredOutputLocation: Object.fromEntries(pasts.map(([tap]) => [presentOf(tap), "gpu-buffer"])) } : {}),
});

let present = new Map<string, OnnxValue>();

async function step(posStart: number, tokens: readonly number[]): Promise<Float32Array> {
  const rows = tokens.length;
  const keys = posStart + rows;
  const table = ropeTable(rope, posStart, rows);
  const shape = [1, rows, rope.dimensions / 2];
  const visible = Uint8Array.from({ length: rows * keys }, (_, i) =>
    Number(i % keys <= posStart + Math.floor(i / keys)),
  );
  const past = pasts.map(([tap, shape]): [string, OnnxValue] => {
    const kept = posStart === 0 ? undefined : present.get(tap);
    return [pastOf(tap), kept ?? new Tensor("float32", new Float32Array(0), shape)];
  });
  const inputs = {
    tokens: new Tensor("int64", BigInt64Array.from(tokens, BigInt), [rows]),
    cos: new Tensor("float32", Float32Array.from(table.cos), shape),
    sin: new Tensor("float32", Float32Array.from(table.sin), shape),
    visible: new Tensor("bool", visible, [rows, keys]),
    last_key: new Tensor("int32", Int32Array.of(keys - 1), [1]),
    keys: new Tensor("int32", Int32Array.of(keys), []),
    ...Object.fromEntries(past),
  };
  const wanted = Object.entries(inputs).filter(([name]) => session.inputNames.includes(name));
  const outputs = await session.run(Object.fromEntries(wanted));
  for (const tensor of present.values()) if (gpu && "dispose" in tensor) tensor.dispose();
  present = new Map(
    pasts.flatMap(([tap]) => (outputs[presentOf(tap)] ? [[tap, outputs[presentOf(tap)] as OnnxValue]] : [])),
  );
  const logits = outputs.logits?.data;
  if (!(logits instanceof Float32Array)) throw new Error("ONNX Runtime gave no logits");
  return logits.subarray((rows - 1) * vocab);
}

const facts = {
  engine: `ONNX Runtime ${await onnxRuntimeVersion()}`,
  device: gpu ? "WebGPU" : "CPU",
  settings: `${narrow ? "4-bit weights (MatMulNBits, accuracy level 4), GroupQueryAttention" : "f32 weights"}, f32 cache, logits of every row`,
};
await serve(facts, () => timeRound(work, step, argmax));
await session.release();
