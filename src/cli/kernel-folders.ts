/** Folders of kernels, by the names of this program's own files: what is in them, and what differs. */
import { statSync } from "node:fs";
import type { KernelCase, KernelKind } from "../compare/kernels/cases.ts";
import { GpuValidationError } from "../engine/errors.ts";
import {
  callOf,
  fromFolder,
  KERNELS,
  type KernelName,
  kernelSource,
  type Pipelines,
  readSource,
  type SourceOf,
  sourceText,
} from "../engine/kernels.ts";
import { InputError } from "../trace/errors.ts";

/** The kernel of a kind of case. */
export const kernelOf = (kind: KernelKind): KernelName => (kind === "embed" ? "get_rows" : kind);
/** All that may compute it, by what an adapter can. */
export const kernelsOf = (kind: KernelKind): KernelName[] =>
  kind === "linear" ? ["linear", "linear_subgroup"] : [kernelOf(kind)];
export const fileOf = (kind: KernelKind) => KERNELS[kernelOf(kind)].file;

/** The file that a case goes through, as it was given; this program's own by its name. A case with a fault goes through `linear`. */
export function pathOf(
  of: KernelCase & { readonly fault?: unknown },
  { subgroups }: Pick<Pipelines, "subgroups">,
  sourceOf: SourceOf,
): string {
  const isShared = of.kind === "linear" && subgroups && of.portable !== true && of.fault === undefined;
  const kernel = isShared ? "linear_subgroup" : kernelOf(of.kind);
  return sourceOf(kernel) ?? `kernels/${KERNELS[kernel].file}`;
}

const NAMES = Object.keys(KERNELS) as KernelName[];

/** The kernels of a folder; those that it lacks are this program's own. Throws InputError where it has none of the files. */
export function kernelsIn(folder: string): SourceOf {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new InputError(`${folder}: no such folder; give a folder of kernels`);
  const sources = fromFolder(folder);
  if (NAMES.every((kernel) => sources(kernel) === null)) {
    const files = new Set(NAMES.map((kernel) => KERNELS[kernel].file));
    throw new InputError(`${folder}: has none of ${[...files].join(", ")}; give a folder of kernels`);
  }
  for (const kernel of NAMES) checkCall(kernel, sources(kernel));
  return sources;
}

/** Throws InputError where a kernel is written to be called in another way than this program calls it. */
function checkCall(kernel: KernelName, path: string | null): void {
  if (path === null) return;
  const { file } = KERNELS[kernel];
  const [theirs, ours] = [callOf(readSource(path)), callOf(kernelSource(file))];
  if (theirs === ours) return;
  throw new InputError(
    `${path}: is written for call ${theirs}, this program makes call ${ours} of ${kernel} (workgroups, bindings or constants differ); bring it to those of kernels/${file} with its line '// call ${ours}', or leave it out of the folder`,
  );
}

/** Kernels that are compiled from another text. */
export const changedKernels = (own: SourceOf, other: SourceOf): KernelName[] =>
  NAMES.filter((kernel) => sourceText(kernel, other) !== sourceText(kernel, own));

/** A kernel that was given and that the adapter refuses is its author's to mend. `what`: it does not take. `file`: this program's own. */
export function misfit(error: unknown, given: string, what: string, file: string): unknown {
  if (!(error instanceof GpuValidationError) || error.message.startsWith(given)) return error;
  const [why = ""] = error.message.split(/; please report|; run /);
  return new InputError(
    `${given}: does not take ${what}: ${why}; its entry point, bindings, constants and workgroups are those of ${file}`,
  );
}
