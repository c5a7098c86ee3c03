/** A kernel of another author, called as its description says, in the place of one of this program's. */
import type { TensorInfo, WeightFile } from "../../model/gguf.ts";
import { ropeTable } from "../../model/rope.ts";
import { InputError } from "../../trace/errors.ts";
import { Buffers } from "../buffers.ts";
import type { Gpu } from "../device.ts";
import { GpuValidationError } from "../errors.ts";
import { type Binding, bindGroup, Pipelines, readSource } from "../kernels.ts";
import { GRID_LIMIT, roundHalf } from "../lowering.ts";
import { borderedOutput, boundDispatches, type PreparedKernel, prepared } from "../prepared.ts";
import type { SingleOp } from "../single-op.ts";
import { packRows } from "../weights.ts";
import type { Description, Field } from "./description.ts";
import type { Expression, Facts } from "./expression.ts";
import { BUFFERS, factsOf, type WeightLayout } from "./op-facts.ts";

/** Rounding asks nothing of it. */
const NO_STEP = { tokens: 0, posStart: 0, keys: 0 };

export class ForeignKernel {
  readonly path: string;
  readonly description: Description;
  readonly #gpu: Gpu;
  readonly #own: Pipelines;
  readonly #code: string;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  #module: Promise<GPUShaderModule> | undefined;

  constructor(gpu: Gpu, path: string, description: Description) {
    this.#gpu = gpu;
    this.#own = new Pipelines(gpu);
    this.path = path;
    this.description = description;
    this.#code = readSource(path);
  }

  /** The op with its inputs on the GPU. Throws GpuValidationError, and InputError for numbers that a case does not give. */
  async prepare(single: SingleOp, border: number): Promise<PreparedKernel> {
    const gpu = this.#gpu;
    const buffers = new Buffers(gpu, 0);
    try {
      return await gpu.guarded(this.path, () => this.#prepared(single, border, buffers));
    } catch (error) {
      buffers.close();
      throw error;
    }
  }

  async #prepared(single: SingleOp, border: number, buffers: Buffers): Promise<PreparedKernel> {
    const { description: of } = this;
    const facts = factsOf(single, of.weights, this.#gpu.width);
    const bytes = 4 * (facts.count ?? 0);
    const { buffer, binding: output } = borderedOutput(buffers, bytes, border);
    const named = uploaded(single, of.weights, buffers);
    // A kernel that asks how long its output is must be told; one that does not may be seen to write behind it.
    const asksLength = /\barrayLength\b/.test(this.#code);
    named.set("y", { ...output, ...(asksLength ? { size: bytes } : {}) });
    const bindings: Record<number, Binding> = {};
    for (const [number, place] of of.bindings) {
      const found = typeof place === "string" ? named.get(place) : words(`uniform ${number}`, place, facts, buffers);
      if (found === undefined) throw new Error(`no buffer ${place}`);
      bindings[number] = found;
    }
    const constants = Object.fromEntries([...of.overrides].map(([name, value]) => [name, finite(name, value, facts)]));
    const pipeline = await this.#pipeline(constants);
    const [x = 1, y = 1, z = 1] = of.workgroups.map((each, axis) => groups(each, axis, facts));
    const own = { pipeline, group: bindGroup(this.#gpu, pipeline, bindings), groups: [x, y, z] as const };
    await this.#gpu.compiled([own]);
    // This program's own rounding to half, after the kernel: what engines do that keep activations so.
    const rounding = single.dtype === "f16" ? [roundHalf(output, bytes / 4, this.#gpu.width)] : [];
    const rounded = await boundDispatches(this.#gpu, this.#own, rounding, NO_STEP, buffers);
    return prepared(this.#gpu, [own, ...rounded], {
      buffers,
      output: { buffer, border, bytes, written: { first: 0, count: bytes / 4 }, initial: null },
      close: () => buffers.close(),
    });
  }

  #pipeline(constants: Readonly<Record<string, number>>): Promise<GPUComputePipeline> {
    const key = JSON.stringify(constants);
    const pipeline = this.#pipelines.get(key) ?? this.#compile(constants);
    this.#pipelines.set(key, pipeline);
    return pipeline;
  }

  async #compile(constants: Readonly<Record<string, number>>): Promise<GPUComputePipeline> {
    this.#module ??= this.#compiledModule();
    const compute = { module: await this.#module, entryPoint: this.description.entry, constants: { ...constants } };
    return this.#gpu.device.createComputePipelineAsync({ layout: "auto", compute }).catch((error: Error) => {
      throw new GpuValidationError(error.message.split("\n")[0] ?? "");
    });
  }

  async #compiledModule(): Promise<GPUShaderModule> {
    const module = this.#gpu.device.createShaderModule({ label: this.path, code: this.#code });
    const error = (await module.getCompilationInfo()).messages.find((message) => message.type === "error");
    if (error !== undefined) throw new GpuValidationError(`${this.path}:${error.lineNum}: ${error.message}`);
    return module;
  }
}

/** Why a kernel is not tried at a case, in the words of its description; null where it is. Throws InputError for a need that is no number. */
export function leftOutAt({ needs, types, weights, bindings }: Description, single: SingleOp): string | null {
  const { op, model } = single;
  const facts = factsOf(single, weights, 1);
  const unmet = needs.find((need) => finite("needs", need, facts) === 0);
  if (unmet !== undefined) return `needs ${unmet.text}`;
  const type = op.weights[0] === undefined ? null : model.file.tensor(op.weights[0]).type.name;
  if (types !== null && type !== null && !types.includes(type)) return `takes weights in ${types.join(", ")}`;
  if (facts.bias === 1 && ![...bindings.values()].includes("bias")) return "binds no bias";
  return null;
}

/** Everything that the op reads, by name; of exactly their size, which a kernel can ask for. */
function uploaded(single: SingleOp, layout: WeightLayout, buffers: Buffers): Map<string, Binding> {
  const { model, op, tokens, posStart, inputs } = single;
  const names = BUFFERS[op.kind];
  const named = new Map<string, Binding>();
  const add = (name: string, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>) => {
    named.set(name, { ...buffers.upload(name, data), size: data.byteLength });
  };
  names.inputs.forEach((name, i) => {
    add(name, Float32Array.from(inputs[i] ?? []));
  });
  names.weights.forEach((name, i) => {
    const weight = op.weights[i];
    // Without a bias there are zeros: a kernel that always adds one is right.
    if (weight === undefined) add(name, new Float32Array(model.file.tensor(op.weights[0] ?? "").rows));
    else add(name, weightData(model.file, model.file.tensor(weight), layout));
  });
  if (op.kind === "embed") add("ids", Uint32Array.from(tokens));
  if (op.kind === "rope") {
    const { cos, sin } = ropeTable(model.parameters.rope, 0, posStart + tokens.length);
    add("cos", Float32Array.from(cos));
    add("sin", Float32Array.from(sin));
  }
  return named;
}

/** Gains and biases are f32; a matrix is as the description asks, in whole words. */
function weightData(file: WeightFile, tensor: TensorInfo, layout: WeightLayout) {
  if (layout === "f32" || tensor.shape.length === 1) return Float32Array.from(file.decodeRows(tensor));
  const rows = file.readRows(tensor);
  const bytes = layout === "gguf" ? rows : packRows(tensor, rows);
  const padded = new Uint8Array(4 * Math.ceil(bytes.length / 4));
  padded.set(bytes);
  return new Uint32Array(padded.buffer);
}

/** The largest f32. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;
const RANGES = { u32: [0, 2 ** 32 - 1], i32: [-(2 ** 31), 2 ** 31 - 1], f32: [-LARGEST, LARGEST] } as const;

/** Fields one after the other, in multiples of 16 bytes. */
function words(label: string, fields: readonly Field[], facts: Facts, buffers: Buffers): Binding {
  const data = new DataView(new ArrayBuffer(16 * Math.ceil(fields.length / 4)));
  for (const [i, { type, value }] of fields.entries()) {
    const number = finite(label, value, facts);
    const [least, most] = RANGES[type];
    const stored = type === "f32" ? Math.fround(number) : number;
    if (stored < least || stored > most || !(type === "f32" || Number.isInteger(number)))
      throw new InputError(`${label}: "${value.text}" is ${number}, which is no ${type}`);
    if (type === "f32") data.setFloat32(4 * i, stored, true);
    else data.setUint32(4 * i, stored, true);
  }
  const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
  const buffer = buffers.named(label, data.byteLength, usage);
  buffers.write(buffer, new Uint8Array(data.buffer));
  return { buffer, size: data.byteLength };
}

function finite(what: string, value: Expression, facts: Facts): number {
  const number = value.of(facts);
  if (!Number.isFinite(number)) throw new InputError(`${what}: "${value.text}" is ${number}`);
  return number;
}

function groups(value: Expression, axis: number, facts: Facts): number {
  const count = finite(`workgroups.${axis}`, value, facts);
  if (!Number.isInteger(count) || count < 1 || count > GRID_LIMIT) {
    throw new InputError(
      `workgroups.${axis}: "${value.text}" is ${count}; whole numbers from 1 to ${GRID_LIMIT} are workgroups (ceil() rounds up, needs leaves cases out)`,
    );
  }
  return count;
}
