/**
 * The forward page as ONNX Runtime runs it best: weights are constants, so that it may pack and fuse; only the logits and the caches
 * come out. In f32 the nodes are those of the reference (references/onnx); in 4 bits matrices are MatMulNBits, and what lies between
 * the projections is one GroupQueryAttention (onnx-fused.ts), as its own exporters write language models.
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
  /** Taps whose rows are kept, with the shape of their past before the first step. */
  readonly pasts: ReadonlyMap<string, readonly number[]>;
}

interface StepInput {
  readonly element: Element;
  readonly shape: readonly (string | number)[];
}
type Pasts = ReadonlyMap<string, readonly (string | number)[]>;

export class BenchBuilder extends OnnxBuilder {
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
      this.constant(parts.quants, "uint8", [rows, blocks, BLOCK / 2], quants);
      this.constant(parts.scales, "float", [rows * blocks], scales);
      this.constant(parts.zeros, "uint8", [rows * Math.ceil(blocks / 2)], zeros);
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
    this.constant(name, "float", tensor.shape, this.#file.decodeRows(tensor));
  }

  constant(name: string, element: Element, dims: readonly number[], values: Float32Array | Uint8Array): void {
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const place = { location: name, offset: "0", length: `${data.length}` };
    const external_data = Object.entries(place).map(([key, value]) => ({ key, value }));
    this.externals.set(name, { name, dims, data_type: ELEMENT[element], external_data, data_location: 1 });
    this.data.push({ path: name, data });
  }
}

/** The graph as it was built. `steps` are its inputs beside the pasts, which are of these shapes. */
export function graphOf(builder: BenchBuilder, steps: Readonly<Record<string, StepInput>>, pasts: Pasts): BenchGraph {
  const { nodes, constants, externals, data } = builder;
  const bytes = encodeModel({
    name: "bench",
    node: nodes,
    initializer: [...constants.values(), ...externals.values()],
    input: [
      ...Object.entries(steps).map(([name, { element, shape }]) => valueInfo(name, element, shape)),
      ...[...pasts].map(([tap, shape]) => valueInfo(pastOf(tap), "float", shape)),
    ],
    output: ["logits", ...[...pasts.keys()].map(presentOf)].map((name) => valueInfo(name, "float")),
  });
  const none = (shape: readonly (string | number)[]) => shape.map((axis) => (typeof axis === "string" ? 0 : axis));
  return { bytes, externalData: data, pasts: new Map([...pasts].map(([tap, shape]) => [tap, none(shape)])) };
}

/** The reference's nodes. */
export function plainGraph(model: Model): BenchGraph {
  const builder = new BenchBuilder(model, "f32");
  model.forward(builder);
  const pasts = [...builder.caches].map(([tap, columns]) => [tap, ["past", columns]] as const);
  return graphOf(builder, STEP_INPUTS, new Map(pasts));
}
