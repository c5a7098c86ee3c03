/** The forward page run by ONNX Runtime on the CPU: kernels that share no line with ours. */
import { totalmem } from "node:os";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { type GraphNode, recordPlan } from "../../src/model/graph.ts";
import type { Model, OpModel } from "../../src/model/model.ts";
import { ropeTable } from "../../src/model/rope.ts";
import type { Recording } from "../../src/trace/capture.ts";
import { InputError } from "../../src/trace/errors.ts";
import { recordFromValues, type TraceRecord } from "../../src/trace/record.ts";
import { type OnnxGraph, onnxGraph, pastOf, presentOf, type STEP_INPUTS } from "./graph.ts";

type OnnxRuntime = typeof import("onnxruntime-node");

/** The library, loaded when it is first needed: 45 MB. Throws InputError where it has no build for this machine. */
export async function onnxRuntime(): Promise<OnnxRuntime> {
  try {
    return await import("onnxruntime-node");
  } catch (error) {
    const why = (error as Error).message.split("\n")[0];
    throw new InputError(
      `ONNX Runtime does not load on ${process.platform}-${process.arch} (${why}); run \`npm ci\` again, or take another reference`,
    );
  }
}

/** Version of the library, e.g. `1.30.0`. Throws as `OnnxRunner.create` does. */
export async function onnxRuntimeVersion(): Promise<string> {
  const { env } = await onnxRuntime();
  return env.versions.node ?? env.versions.common;
}

export class OnnxRunner {
  readonly #model: Model;
  readonly #ort: OnnxRuntime;
  readonly #graph: OnnxGraph;
  readonly #session: InferenceSession;
  /** Weights in f32, fed to every run: ONNX Runtime reads them where they stand. */
  readonly #weights: Readonly<Record<string, Tensor>>;
  /** Rows of all steps so far, of each cached tap. */
  #present: ReadonlyMap<string, Float32Array> = new Map();

  private constructor(
    model: Model,
    ort: OnnxRuntime,
    graph: OnnxGraph,
    session: InferenceSession,
    weights: Readonly<Record<string, Tensor>>,
  ) {
    this.#model = model;
    this.#ort = ort;
    this.#graph = graph;
    this.#session = session;
    this.#weights = weights;
  }

  /**
   * Builds the graph and decodes the weights, 4 bytes an element. Throws InputError where they do not fit into memory, or where the
   * library does not run on this machine.
   */
  static async create(model: Model): Promise<OnnxRunner> {
    const ort = await onnxRuntime();
    const graph = onnxGraph(model);
    checkMemory(model, graph.weights);
    const weights = Object.fromEntries(
      graph.weights.map((name) => {
        const tensor = model.file.tensor(name);
        return [name, new ort.Tensor("float32", model.file.decodeRows(tensor), tensor.shape)];
      }),
    );
    // Any optimisation would fuse taps away. Steps differ in length, so a memory plan would serve one of them.
    const session = await ort.InferenceSession.create(graph.bytes, {
      executionProviders: ["cpu"],
      graphOptimizationLevel: "disabled",
      enableMemPattern: false,
      enableCpuMemArena: false,
    });
    return new OnnxRunner(model, ort, graph, session, weights);
  }

  /** See StepRunner in src/engine/steps.ts. */
  async step(posStart: number, tokens: readonly number[], recording?: Recording) {
    const nodes = this.#model.graph.filter((node) => recording?.wants(node.op.tap));
    const caches = [...this.#graph.caches.keys()];
    const fetches = new Set(["logits", ...nodes.map((node) => node.op.tap), ...caches.map(presentOf)]);
    const feeds = {
      ...this.#weights,
      ...stepInputs(this.#ort.Tensor, this.#model, posStart, tokens),
      ...this.#past(posStart),
    };
    const outputs = await this.#session.run(feeds, [...fetches]);
    const values = (name: string): Float32Array => {
      const data = outputs[name]?.data;
      if (!(data instanceof Float32Array)) throw new Error(`ONNX Runtime gave no f32 values of ${name}`);
      return data;
    };
    this.#present = new Map(caches.map((tap) => [tap, values(presentOf(tap))]));

    const recorded = nodes.map((node) => ({ node, values: values(node.op.tap) }));
    const sizes = this.#model.axes(tokens.length, posStart + tokens.length);
    const keep = { sketch: recording?.level !== "stats", values: recording?.level === "full" };
    return {
      logits: values("logits").subarray((tokens.length - 1) * this.#model.parameters.vocab),
      records: (stepNumber: number): Omit<TraceRecord, "seq">[] =>
        recorded.map(({ node, values }) => recordFromValues(plan(node, stepNumber), 0, values, keep)),
    };

    function plan(node: GraphNode, stepNumber: number) {
      return recordPlan(node, stepNumber, posStart, sizes, "f32");
    }
  }

  /** Frees the library's side; the runner cannot be used any more. */
  async close(): Promise<void> {
    await this.#session.release();
  }

  #past(posStart: number): Record<string, Tensor> {
    const past = [...this.#graph.caches].map(([tap, columns]): [string, Tensor] => {
      const rows = this.#present.get(tap)?.subarray(0, posStart * columns) ?? new Float32Array(0);
      return [pastOf(tap), new this.#ort.Tensor("float32", rows, [posStart, columns])];
    });
    return Object.fromEntries(past);
  }
}

/** What the graph is given of a step, by the names of STEP_INPUTS. */
export function stepInputs(
  Tensor: OnnxRuntime["Tensor"],
  { parameters }: Pick<OpModel, "parameters">,
  posStart: number,
  tokens: readonly number[],
): Record<keyof typeof STEP_INPUTS, Tensor> {
  const rows = tokens.length;
  const keys = posStart + rows;
  const table = ropeTable(parameters.rope, posStart, rows);
  const tableShape = [1, rows, parameters.rope.dimensions / 2];
  const visible = Uint8Array.from({ length: rows * keys }, (_, i) =>
    Number(i % keys <= posStart + Math.floor(i / keys)),
  );
  return {
    tokens: new Tensor("int64", BigInt64Array.from(tokens, BigInt), [rows]),
    cos: new Tensor("float32", Float32Array.from(table.cos), tableShape),
    sin: new Tensor("float32", Float32Array.from(table.sin), tableShape),
    visible: new Tensor("bool", visible, [rows, keys]),
  };
}

/** Asking for more than there is gets a process killed without a word. */
function checkMemory(model: Model, weights: readonly string[]): void {
  const elements = weights.map((name) => model.file.tensor(name)).reduce((sum, t) => sum + t.rows * t.columns, 0);
  const limit = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  if (elements * 4 > limit) {
    const gib = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
    throw new InputError(
      `${model.file.name}: its weights take ${gib(elements * 4)} GiB in f32, this machine has ${gib(limit)} GiB; run some layers (--layers 0-3) or a smaller model`,
    );
  }
}
