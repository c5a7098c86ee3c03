/** A model ready to be run by any interpreter: its file, its parameters, its forward page. Runs nothing itself. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { AxisSizes } from "../trace/dims.ts";
import { ModelError } from "./errors.ts";
import { GgufFile, type WeightFile } from "./gguf.ts";
import { type GraphNode, GraphRecorder } from "./graph.ts";
import { llamaForward } from "./llama.ts";
import { axisSizes, type LlamaParameters, llamaWeights, readLlamaParameters } from "./llama-parameters.ts";
import type { Ops } from "./ops.ts";

/** What running single ops takes: a model has it, and so has a repro bundle, whose graph is one op. */
export interface OpModel {
  readonly file: WeightFile;
  readonly parameters: LlamaParameters;
  /** Layers that a pass runs, in order; all of them unless chosen. */
  readonly layers: readonly number[];
  readonly graph: readonly GraphNode[];
  /** Sizes of the axes in a step of `tokens` rows over `keys` cached positions. */
  axes(tokens: number, keys: number): AxisSizes;
}

export interface Model extends OpModel {
  readonly file: GgufFile;
  readonly architecture: string;
  /** Every weight that the page reads, with its dims. */
  readonly weights: ReadonlyMap<string, string>;
  forward<T>(ops: Ops<T>): T;
}

interface Architecture {
  readonly read: (file: GgufFile) => LlamaParameters;
  readonly weights: typeof llamaWeights;
  readonly forward: typeof llamaForward;
}

/** One row per architecture. */
const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  llama: { read: readLlamaParameters, weights: llamaWeights, forward: llamaForward },
};

/**
 * Opens a GGUF model. `layers` restricts the pass to some layers (see parseLayers).
 * Throws ModelError where the architecture is unknown or the file contradicts itself.
 */
export async function openModel(path: string, options: { layers?: string } = {}): Promise<Model> {
  const file = await GgufFile.open(path);
  try {
    return modelFrom(file, options.layers);
  } catch (error) {
    file.close();
    throw error;
  }
}

function modelFrom(file: GgufFile, layerSpec: string | undefined): Model {
  const name = file.metadata["general.architecture"];
  const architecture = typeof name === "string" && Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined;
  if (typeof name !== "string" || architecture === undefined) {
    throw new ModelError(
      `${file.name}: architecture ${JSON.stringify(name) ?? "not named"}; this program runs ${Object.keys(ARCHITECTURES).join(", ")}`,
    );
  }
  const parameters = architecture.read(file);
  const has = (weight: string) => file.tensors.has(weight);
  const weights = new Map(architecture.weights(parameters, has));
  checkAllRead(file, weights);
  const layers = parseLayers(layerSpec, parameters.layers);
  const forward = <T>(ops: Ops<T>) => architecture.forward(ops, parameters, layers, has);
  const recorder = new GraphRecorder();
  forward(recorder);
  return {
    file,
    architecture: name,
    parameters,
    layers,
    weights,
    graph: recorder.nodes,
    forward,
    axes: (tokens, keys) => axisSizes(parameters, tokens, keys),
  };
}

/** Sizes do not matter to the edges of a graph. */
const NO_SIZES: LlamaParameters = {
  ...{ embd: 1, heads: 1, kvHeads: 1, headDim: 1, ffn: 1, vocab: 1, context: 1, eps: 0, layers: 0 },
  rope: { base: 1, dimensions: 1, scaling: { type: "none" }, factors: null },
};

/** The graph of an architecture with this many layers, without a file: taps, kinds and edges. Null for an unknown one. */
export function graphOfArchitecture(name: string, layers: number): readonly GraphNode[] | null {
  const architecture = Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : undefined;
  if (architecture === undefined) return null;
  const recorder = new GraphRecorder();
  architecture.forward(recorder, NO_SIZES, [...Array(layers).keys()], () => false);
  return recorder.nodes;
}

/** Tensors that the page reads beside its weights: divisors of the rope frequencies. */
const OTHER_TENSORS = ["rope_freqs.weight"];

/** A tensor that the page does not read would be a part of the model left out without a word. */
function checkAllRead(file: GgufFile, weights: ReadonlyMap<string, string>): void {
  const unread = [...file.tensors.keys()].filter((name) => !weights.has(name) && !OTHER_TENSORS.includes(name));
  if (unread.length > 0) {
    throw new ModelError(
      `${file.name}: ${unread.length} tensors have no place in the ${file.metadata["general.architecture"]} architecture (${unread[0]}); this program would leave them out, so it does not run the model`,
    );
  }
}

/** Layers of a specification: `none`, `3`, `0-2`, `0-4,7`; all where absent. Throws ModelError for what the model lacks. */
export function parseLayers(spec: string | undefined, count: number): number[] {
  if (spec === undefined) return Array.from({ length: count }, (_, layer) => layer);
  if (spec === "none") return [];
  const layers = spec.split(",").flatMap((part) => {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || last < first || last >= count) {
      throw new ModelError(`--layers ${spec}: "${part}" is not within 0-${count - 1}; write none, 3, 0-2 or 0-4,7`);
    }
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
  return [...new Set(layers)].sort((a, b) => a - b);
}

/** SHA-256 of the model's file, in hexadecimal: what a trace is tied to. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 22 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
