/** One op alone on ONNX Runtime's CPU kernels. Shapes are open in its graphs, so that ops of one sort share a session. */
import type { InferenceSession, Tensor } from "onnxruntime-node";
import type { OpModel } from "../../src/model/model.ts";
import type { Op } from "../../src/model/ops.ts";
import { type Axis, type AxisSizes, elementsOf, parseDims } from "../../src/trace/dims.ts";
import { OnnxBuilder, STEP_INPUTS } from "./graph.ts";
import { encodeModel, valueInfo } from "./proto.ts";
import { onnxRuntime, stepInputs } from "./runner.ts";

export interface OnnxOp {
  /** Its file holds the op's weights. */
  readonly model: OpModel;
  readonly op: Op;
  readonly tokens: readonly number[];
  /** Position of the first token. */
  readonly posStart: number;
  /** Flat row-major, with their dims; cached ones hold the rows of all positions up to the last token. */
  readonly inputs: readonly Float32Array<ArrayBuffer>[];
  readonly inputDims: readonly string[];
}

export class OnnxOps {
  readonly #ort: Awaited<ReturnType<typeof onnxRuntime>>;
  readonly #sessions = new Map<string, Promise<InferenceSession>>();

  private constructor(ort: Awaited<ReturnType<typeof onnxRuntime>>) {
    this.#ort = ort;
  }

  /** Loads the library. Throws InputError where it does not run on this machine. */
  static async open(): Promise<OnnxOps> {
    return new OnnxOps(await onnxRuntime());
  }

  /** The op's output in f32, flat row-major. Weights are decoded by this program. */
  async run({ model, op, tokens, posStart, inputs, inputDims }: OnnxOp): Promise<Float32Array> {
    const { Tensor } = this.#ort;
    const builder = new OnnxBuilder(model);
    builder.run(
      op,
      inputs.map((_, i) => `input ${i}`),
    );
    const sizes = model.axes(tokens.length, posStart + tokens.length);
    const feeds: Record<string, Tensor> = {};
    for (const [i, input] of inputs.entries())
      feeds[`input ${i}`] = new Tensor("float32", input, shapeAsEmitted(op, inputDims[i] ?? "", sizes));
    for (const name of op.weights) {
      const tensor = model.file.tensor(name);
      feeds[name] = new Tensor("float32", model.file.decodeRows(tensor), tensor.shape);
    }
    const read = new Set(builder.nodes.flatMap(({ input }) => input));
    for (const [name, tensor] of Object.entries(stepInputs(Tensor, model, posStart, tokens)))
      if (read.has(name)) feeds[name] = tensor;
    const session = await this.#session(op.tap, builder, feeds);
    const data = (await session.run(feeds, [op.tap]))[op.tap]?.data;
    if (!(data instanceof Float32Array)) throw new Error(`ONNX Runtime gave no f32 values of ${op.tap}`);
    return data;
  }

  /** Frees the library's side. */
  async close(): Promise<void> {
    for (const session of this.#sessions.values()) await (await session).release();
    this.#sessions.clear();
  }

  #session(tap: string, { nodes, constants }: OnnxBuilder, feeds: Readonly<Record<string, Tensor>>) {
    const initializer = [...constants.values()];
    const key = JSON.stringify([nodes, initializer]);
    const found = this.#sessions.get(key);
    if (found !== undefined) return found;
    const open = ({ dims }: Tensor, name: string) => dims.map((_, axis) => `${name}/${axis}`);
    const bytes = encodeModel({
      ...{ name: tap, node: nodes, initializer },
      input: Object.entries(feeds).map(([name, tensor]) => {
        const element = name in STEP_INPUTS ? STEP_INPUTS[name as keyof typeof STEP_INPUTS].element : "float";
        return valueInfo(name, element, open(tensor, name));
      }),
      output: [valueInfo(tap, "float")],
    });
    const session = this.#ort.InferenceSession.create(bytes, {
      executionProviders: ["cpu"],
      graphOptimizationLevel: "disabled",
      enableMemPattern: false,
      intraOpNumThreads: 1,
    });
    this.#sessions.set(key, session);
    return session;
  }
}

/** The shape that the graph gives an input: heads as (kv_head, group) where the op knows of both. */
function shapeAsEmitted(op: Op, dims: string, sizes: AxisSizes): number[] {
  const size = (axis: Axis) => elementsOf(axis.map((name) => sizes[name] ?? 0));
  const isHeads = (axis: Axis) => axis.join() === "head" && op.kind === "attn_ctx";
  return parseDims(dims).flatMap((axis) =>
    isHeads(axis) && op.kind === "attn_ctx" ? [op.kvHeads, op.heads / op.kvHeads] : [size(axis)],
  );
}
