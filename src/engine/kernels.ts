/** kernels/*.wgsl -> compiled pipelines, once per kernel and constants. */
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageRoot } from "../model/package-root.ts";
import { InputError } from "../trace/errors.ts";
import type { Gpu } from "./device.ts";
import { GpuValidationError } from "./errors.ts";

/** Each kernel's file and entry point; `uses`: the kernel whose declarations its source goes before. */
export const KERNELS = {
  linear: { file: "weight_blocks.wgsl", entry: "linear" },
  linear_subgroup: { file: "linear_subgroup.wgsl", entry: "linear_subgroup", uses: "linear" },
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

/**
 * The way of being called that a kernel's text is written for: its line `// call N`, 1 where it has none. Raised whenever bindings,
 * constants or workgroups of a kernel change their meaning: called in another way than it is written for, a right kernel computes wrongly.
 */
export const callOf = (text: string): number => Number(/^\/\/ call (\d+)$/m.exec(text)?.[1] ?? 1);

/** The files that a kernel is compiled from, its own first. */
function sourcePaths(kernel: KernelName, sourceOf: SourceOf): string[] {
  const { file, uses }: { file: string; uses?: KernelName } = KERNELS[kernel];
  return [sourceOf(kernel) ?? kernelPath(file), ...(uses === undefined ? [] : sourcePaths(uses, sourceOf))];
}

/** The source that a kernel is compiled from. Throws InputError for a file that cannot be read. */
export const sourceText = (kernel: KernelName, sourceOf: SourceOf = () => null): string =>
  sourcePaths(kernel, sourceOf).map(readSource).join("");

/** The text of a kernel's file. Throws InputError where it cannot be read. */
export function readSource(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const why = error instanceof Error ? error.message.split(",")[0] : error;
    throw new InputError(`${path}: cannot be read (${why}); give a kernel in WGSL`);
  }
}

/** Path of a kernel's source. */
export function kernelPath(file: string): string {
  return fileURLToPath(new URL(`kernels/${file}`, packageRoot()));
}

/**
 * True if products go through `linear_subgroup`: where the adapter can. It is compiled with the declarations of `linear`'s file, and
 * this program's own never takes the place of another author's `linear`, whose product would not be run at all.
 */
export function usesSubgroups({ subgroups }: Pick<Gpu, "subgroups">, sourceOf: SourceOf): boolean {
  const isAlone = sourceOf("linear_subgroup") === null && sourceText("linear", sourceOf) !== sourceText("linear");
  return subgroups && !isAlone;
}

export class Pipelines {
  readonly #gpu: Gpu;
  readonly #sourceOf: SourceOf;
  readonly #modules = new Map<string, Promise<GPUShaderModule>>();
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  /** True if products go through `linear_subgroup`. */
  readonly subgroups: boolean;

  constructor(gpu: Gpu, sourceOf: SourceOf = () => null) {
    this.#gpu = gpu;
    this.#sourceOf = sourceOf;
    this.subgroups = usesSubgroups(gpu, sourceOf);
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
    const key = `${sourcePaths(kernel, this.#sourceOf)} ${JSON.stringify(edits)}`;
    let module = this.#modules.get(key);
    if (module === undefined) {
      module = compileModule(this.#gpu, kernel, edits, this.#sourceOf);
      this.#modules.set(key, module);
    }
    const compute = { module: await module, entryPoint: KERNELS[kernel].entry, constants: { ...constants } };
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
  kernel: KernelName,
  edits: readonly Edit[],
  sourceOf: SourceOf,
): Promise<GPUShaderModule> {
  const source = sourceText(kernel, sourceOf);
  const code = edits.reduce((text, edit) => edited(KERNELS[kernel].file, text, edit), source);
  const module = gpu.device.createShaderModule({ label: kernel, code });
  const error = (await module.getCompilationInfo()).messages.find((message) => message.type === "error");
  if (error !== undefined) {
    throw new GpuValidationError(`${lineOf(error.lineNum, kernel, sourceOf)}: ${error.message}`);
  }
  return module;
}

/** `file:line` of a line of a kernel's source. */
function lineOf(line: number, kernel: KernelName, sourceOf: SourceOf): string {
  const paths = sourcePaths(kernel, sourceOf);
  let rest = line;
  for (const [i, path] of paths.entries()) {
    // The last file's last line may lack its line feed.
    const lines = i + 1 < paths.length ? readFileSync(path, "utf8").split("\n").length - 1 : Number.POSITIVE_INFINITY;
    if (rest <= lines) return `${path.startsWith(kernelPath("")) ? `kernels/${basename(path)}` : path}:${rest}`;
    rest -= lines;
  }
  return `${KERNELS[kernel].file}:${line}`;
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

/** The kernels that a device can run. */
export const kernelsFor = ({ subgroups }: Pick<Gpu, "subgroups">): KernelName[] =>
  (Object.keys(KERNELS) as KernelName[]).filter((kernel) => subgroups || kernel !== "linear_subgroup");

/** Compiles every kernel and gives what the compiler objects to, `file:line: message`. */
export async function kernelProblems(gpu: Gpu): Promise<string[]> {
  const problems: string[] = [];
  for (const kernel of kernelsFor(gpu)) {
    const module = gpu.device.createShaderModule({ label: kernel, code: sourceText(kernel) });
    const { messages } = await module.getCompilationInfo();
    problems.push(...messages.map(({ lineNum, message }) => `${lineOf(lineNum, kernel, () => null)}: ${message}`));
  }
  return problems;
}
