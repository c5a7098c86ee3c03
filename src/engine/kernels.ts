/** kernels/*.wgsl -> compiled pipelines, once per kernel and constants. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
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
  poison: { file: "poison.wgsl", entry: "poison" },
  row_statistics: { file: "row_statistics.wgsl", entry: "row_statistics" },
} as const;
export type KernelName = keyof typeof KERNELS;
export type Constants = Readonly<Record<string, number>>;

/** A change of a kernel's source at compile time: `find` must stand there exactly once. How faults are planted; none otherwise. */
export type Edit = readonly [find: string, replace: string];

/** A buffer, or a range of one, as a kernel sees it. */
export interface Binding {
  readonly buffer: GPUBuffer;
  readonly offset?: number;
  readonly size?: number;
}

/** Path of the source that takes a kernel's place; null for this program's own. It has the same entry point, bindings and constants. */
export type SourceOf = (kernel: KernelName) => string | null;

/** Kernels of a folder, by the names of their files; those that it lacks are this program's own. */
export const fromFolder =
  (folder: string): SourceOf =>
  (kernel) => {
    const path = join(folder, KERNELS[kernel].file);
    return existsSync(path) ? path : null;
  };

/** The source of one of this program's kernel files. */
export function kernelSource(file: string): string {
  return readFileSync(kernelPath(file), "utf8");
}

/** The source that a kernel is compiled from. */
export const sourceText = (kernel: KernelName, sourceOf: SourceOf): string =>
  readFileSync(sourceOf(kernel) ?? kernelPath(KERNELS[kernel].file), "utf8");

/** Path of a kernel's source. */
export function kernelPath(file: string): string {
  return fileURLToPath(new URL(`kernels/${file}`, packageRoot()));
}

export class Pipelines {
  readonly #gpu: Gpu;
  readonly #sourceOf: SourceOf;
  readonly #modules = new Map<string, Promise<GPUShaderModule>>();
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();

  constructor(gpu: Gpu, sourceOf: SourceOf = () => null) {
    this.#gpu = gpu;
    this.#sourceOf = sourceOf;
  }

  /** The compiled kernel. Asked for together, kernels compile side by side. Throws GpuValidationError naming the kernel. */
  get(kernel: KernelName, constants: Constants, edits: readonly Edit[] = []): Promise<GPUComputePipeline> {
    const key = `${kernel} ${JSON.stringify([constants, edits])}`;
    let pipeline = this.#pipelines.get(key);
    if (pipeline === undefined) {
      pipeline = this.#compile(kernel, constants, edits);
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  async #compile(kernel: KernelName, constants: Constants, edits: readonly Edit[]): Promise<GPUComputePipeline> {
    const { file, entry } = KERNELS[kernel];
    const other = this.#sourceOf(kernel);
    const key = `${other ?? file} ${JSON.stringify(edits)}`;
    let module = this.#modules.get(key);
    if (module === undefined) {
      module = compileModule(this.#gpu, file, edits, other);
      this.#modules.set(key, module);
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
async function compileModule(
  gpu: Gpu,
  file: string,
  edits: readonly Edit[],
  other: string | null,
): Promise<GPUShaderModule> {
  const code = edits.reduce(
    (source, edit) => edited(file, source, edit),
    other === null ? kernelSource(file) : readFileSync(other, "utf8"),
  );
  const module = gpu.device.createShaderModule({ label: file, code });
  const error = (await module.getCompilationInfo()).messages.find((message) => message.type === "error");
  if (error !== undefined)
    throw new GpuValidationError(`${other ?? `kernels/${file}`}:${error.lineNum}: ${error.message}`);
  return module;
}

function edited(file: string, source: string, [find, replace]: Edit): string {
  const times = source.split(find).length - 1;
  if (times !== 1) throw new Error(`kernels/${file} has "${find}" ${times} times; an edit needs it once`);
  return source.replace(find, () => replace);
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
    const module = gpu.device.createShaderModule({ label: file, code: kernelSource(file) });
    const { messages } = await module.getCompilationInfo();
    problems.push(...messages.map(({ lineNum, message }) => `${file}:${lineNum}: ${message}`));
  }
  return problems;
}
