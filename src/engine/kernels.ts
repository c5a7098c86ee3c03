/** kernels/*.wgsl -> compiled pipelines, once per kernel and constants. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../model/package-root.ts";
import type { Gpu } from "./device.ts";
import { GpuValidationError } from "./errors.ts";

/** Each kernel's file and entry point. */
export const KERNELS = {
  linear: { file: "weight_blocks.wgsl", entry: "linear" },
  get_rows: { file: "weight_blocks.wgsl", entry: "get_rows" },
  rms_norm: { file: "rms_norm.wgsl", entry: "rms_norm" },
  rope: { file: "rope.wgsl", entry: "rope" },
  attn_scores: { file: "attn_scores.wgsl", entry: "attn_scores" },
  causal_softmax: { file: "causal_softmax.wgsl", entry: "causal_softmax" },
  attn_ctx: { file: "attn_ctx.wgsl", entry: "attn_ctx" },
  swiglu: { file: "swiglu.wgsl", entry: "swiglu" },
  add: { file: "add.wgsl", entry: "add" },
  kv_store: { file: "kv_store.wgsl", entry: "kv_store" },
  round_half: { file: "round_half.wgsl", entry: "round_half" },
  row_statistics: { file: "row_statistics.wgsl", entry: "row_statistics" },
} as const;
export type KernelName = keyof typeof KERNELS;
export type Constants = Readonly<Record<string, number>>;

/** A buffer, or a range of one, as a kernel sees it. */
export interface Binding {
  readonly buffer: GPUBuffer;
  readonly offset?: number;
  readonly size?: number;
}

/** Path of a kernel's source. */
export function kernelPath(file: string): string {
  return fileURLToPath(new URL(`kernels/${file}`, packageRoot()));
}

export class Pipelines {
  readonly #gpu: Gpu;
  readonly #modules = new Map<string, Promise<GPUShaderModule>>();
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** The compiled kernel. Asked for together, kernels compile side by side. Throws GpuValidationError naming the kernel. */
  get(kernel: KernelName, constants: Constants): Promise<GPUComputePipeline> {
    const key = `${kernel} ${JSON.stringify(constants)}`;
    let pipeline = this.#pipelines.get(key);
    if (pipeline === undefined) {
      pipeline = this.#compile(kernel, constants);
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  async #compile(kernel: KernelName, constants: Constants): Promise<GPUComputePipeline> {
    const { file, entry } = KERNELS[kernel];
    let module = this.#modules.get(file);
    if (module === undefined) {
      module = compileModule(this.#gpu, file);
      this.#modules.set(file, module);
    }
    const compute = { module: await module, entryPoint: entry, constants: { ...constants } };
    return this.#gpu.device
      .createComputePipelineAsync({ label: kernel, layout: "auto", compute })
      .catch((error: Error) => {
        const why = error.message.split("\n")[0];
        throw new GpuValidationError(`kernel ${kernel} ${JSON.stringify(constants)}: ${why}; please report this`);
      });
  }
}

/** Kernels compile side by side, so their errors come from the compiler's own report, not from error scopes. */
async function compileModule(gpu: Gpu, file: string): Promise<GPUShaderModule> {
  const module = gpu.device.createShaderModule({ label: file, code: readFileSync(kernelPath(file), "utf8") });
  const error = (await module.getCompilationInfo()).messages.find((message) => message.type === "error");
  if (error !== undefined) throw new GpuValidationError(`kernels/${file}:${error.lineNum}: ${error.message}`);
  return module;
}

/** Binds resources by binding number. */
export function bindGroup(
  gpu: Gpu,
  pipeline: GPUComputePipeline,
  bindings: Readonly<Record<number, Binding>>,
): GPUBindGroup {
  return gpu.device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: Object.entries(bindings).map(([binding, resource]) => ({ binding: Number(binding), resource })),
  });
}

/** Compiles each kernel file alone and gives what the compiler objects to, `file:line: message`. */
export async function kernelProblems(gpu: Gpu, files: readonly string[]): Promise<string[]> {
  const problems: string[] = [];
  for (const file of files) {
    const module = gpu.device.createShaderModule({ label: file, code: readFileSync(kernelPath(file), "utf8") });
    const { messages } = await module.getCompilationInfo();
    problems.push(...messages.map(({ lineNum, message }) => `${file}:${lineNum}: ${message}`));
  }
  return problems;
}
