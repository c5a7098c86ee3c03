/**
 * The forward page as ONNX Runtime runs it best: weights are constants, so that it may pack and fuse; only the logits and the caches
 * come out. In f32 the nodes are those of the reference (references/onnx); in 4 bits the matrices are MatMulNBits.
 */

import { OnnxBuilder, pastOf, presentOf, STEP_INPUTS } from "../../references/onnx/graph.ts";
import { ELEMENT, type Element, encodeModel, type Initializer, int, valueInfo } from "../../references/onnx/proto.ts";
import type { Model } from "../../src/model/model.ts";
import type { OpKind, OpOf } from "../../src/model/ops.ts";
import { BLOCK, quantised } from "./four-bits.ts";

export const WEIGHT_KINDS = ["f32", "4bit"] as const;
export type WeightKind = (typeof WEIGHT_KINDS)[number];

export interface BenchGraph {
  readonly bytes: Uint8Array;
  /** Values of the constants: "files" that lie in memory. */
  readonly externalData: readonly { readonly path: string; readonly data: Uint8Array }[];
  /** Taps whose rows are kept, with their columns. */
  readonly caches: ReadonlyMap<string, number>;
}

class BenchBuilder extends OnnxBuilder {
  readonly externals = new Map<string, Initializer>();
  readonly data: { path: string; data: Uint8Array }[] = [];
  readonly #file: Model["file"];
  readonly #kind: WeightKind;

  constructor(model: Model, kind: WeightKind) {
    super(model);
    this.#file = model.file;
    this.#kind = kind;
  }

  override run<K extends OpKind>(op: OpOf<K>, inputs: readonly string[]): string {
    const [matrix = "", bias] = op.weights;
    const fits = this.#kind === "4bit" && op.kind === "linear" && bias === undefined;
    if (fits && this.#file.tensor(matrix).columns % BLOCK === 0)
      return this.#narrow(matrix, inputs, super.run(op, inputs));
    const output = super.run(op, inputs);
    for (const name of op.weights) this.#wide(name);
    return output;
  }

  /** Puts a MatMulNBits in the place of the node just written. */
  #narrow(matrix: string, [x = ""]: readonly string[], output: string): string {
    this.nodes.pop();
    const { rows, columns } = this.#file.tensor(matrix);
    const parts = { quants: `${matrix}/quants`, scales: `${matrix}/scales`, zeros: `${matrix}/zeros` };
    if (!this.externals.has(parts.quants)) {
      const { quants, scales, zeros } = quantised(this.#file.decodeRows(this.#file.tensor(matrix)), columns);
      const blocks = columns / BLOCK;
      this.#constant(parts.quants, "uint8", [rows, blocks, BLOCK / 2], quants);
      this.#constant(parts.scales, "float", [rows * blocks], scales);
      this.#constant(parts.zeros, "uint8", [rows * Math.ceil(blocks / 2)], zeros);
    }
    const attribute = [
      int("K", columns),
      int("N", rows),
      int("bits", 4),
      int("block_size", BLOCK),
      int("accuracy_level", 4),
    ];
    const input = [x, parts.quants, parts.scales, parts.zeros];
    this.nodes.push({
      op_type: "MatMulNBits",
      domain: "com.microsoft",
      name: output,
      input,
      output: [output],
      attribute,
    });
    return output;
  }

  #wide(name: string): void {
    if (this.externals.has(name)) return;
    const tensor = this.#file.tensor(name);
    this.#constant(name, "float", tensor.shape, this.#file.decodeRows(tensor));
  }

  #constant(name: string, element: Element, dims: readonly number[], values: Float32Array | Uint8Array): void {
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const place = { location: name, offset: "0", length: `${data.length}` };
    const external_data = Object.entries(place).map(([key, value]) => ({ key, value }));
    this.externals.set(name, { name, dims, data_type: ELEMENT[element], external_data, data_location: 1 });
    this.data.push({ path: name, data });
  }
}

export function benchGraph(model: Model, kind: WeightKind): BenchGraph {
  const builder = new BenchBuilder(model, kind);
  model.forward(builder);
  const { nodes, constants, externals, caches } = builder;
  const bytes = encodeModel({
    name: model.architecture,
    node: nodes,
    initializer: [...constants.values(), ...externals.values()],
    input: [
      ...Object.entries(STEP_INPUTS).map(([name, { element, shape }]) => valueInfo(name, element, shape)),
      ...[...caches].map(([tap, columns]) => valueInfo(pastOf(tap), "float", ["past", columns])),
    ],
    output: ["logits", ...[...caches.keys()].map(presentOf)].map((name) => valueInfo(name, "float")),
  });
  return { bytes, externalData: builder.data, caches };
}
