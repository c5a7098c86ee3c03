/** A kernel of one's own in `faultline kernels`: --wgsl FILE --as OP, and --bindings FILE.json where it is not called as ours is. */
import { statSync } from "node:fs";
import { type Author, anyKernels } from "../compare/kernels/answer.ts";
import { type KernelCase, type KernelKind, KINDS_OF_KERNEL, type OpKernelCase } from "../compare/kernels/cases.ts";
import { CHORE_KINDS } from "../compare/kernels/chores.ts";
import type { Gpu } from "../engine/device.ts";
import { DeviceError, GpuValidationError } from "../engine/errors.ts";
import { type Description, readDescription } from "../engine/foreign/description.ts";
import { type ForeignKernel, leftOutAt } from "../engine/foreign/foreign-kernel.ts";
import { BORDER, type KernelRun, runPrepared } from "../engine/kernel-run.ts";
import { fromFolder } from "../engine/kernels.ts";
import type { ChoreKind } from "../model/chores.ts";
import { InputError } from "../trace/errors.ts";
import { fileOf, kernelsOf } from "./kernel-folders.ts";

export interface OwnOptions {
  readonly wgsl?: string;
  readonly as?: string;
  readonly bindings?: string;
  readonly fault?: string;
  readonly againstKernels?: string;
  readonly kernels?: string;
}

/** A kernel that is tried in the place of this program's. */
export interface OwnKernel {
  readonly path: string;
  readonly kind: KernelKind;
  /** Null where it is called as this program's own. */
  readonly description: Description | null;
}

const isChore = (kind: KernelKind): kind is ChoreKind => CHORE_KINDS.some((each) => each === kind);

/** What --wgsl, --as and --bindings ask for; null where they are absent. Throws InputError where they do not go together. */
export function ownKernel({ wgsl, as, bindings, fault, againstKernels }: OwnOptions): OwnKernel | null {
  if (wgsl === undefined && as === undefined && bindings === undefined) return null;
  const kind = KINDS_OF_KERNEL.find((each) => each === as);
  if (as !== undefined && kind === undefined)
    throw new InputError(`--as ${as}: no such op; there are ${KINDS_OF_KERNEL.join(", ")}`);
  if (wgsl === undefined || kind === undefined) {
    throw new InputError(
      `--wgsl and --as go together: a file, and the op that it computes (${KINDS_OF_KERNEL.join(", ")})`,
    );
  }
  if (!statSync(wgsl, { throwIfNoEntry: false })?.isFile())
    throw new InputError(`${wgsl}: no such file; give a kernel in WGSL`);
  if (bindings === undefined) return { path: wgsl, kind, description: null };
  if (isChore(kind)) throw new InputError(`--bindings describe ops; ${kind} is called as kernels/${fileOf(kind)} is`);
  if (fault !== undefined || againstKernels !== undefined) {
    throw new InputError(
      `--bindings and ${fault === undefined ? "--against-kernels" : "--fault"} do not go together: these are about kernels that are called as this program's own`,
    );
  }
  return { path: wgsl, kind, description: readDescription(bindings, kind) };
}

/** The cases at which a kernel says it can be tried, and how many it leaves out for which reason. Throws InputError where none is left. */
export function triedCases(own: OwnKernel | null, cases: readonly KernelCase[]) {
  const { description = null } = own ?? {};
  if (own === null || description === null) return { cases, leftOut: [] };
  const reasons = new Map<string, number>();
  const tried = cases.filter((each) => {
    const reason = "chore" in each ? "computes an op" : reasonAt(own.path, description, each);
    if (reason !== null) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    return reason === null;
  });
  const leftOut = [...reasons].map(([reason, count]) => ({ reason, cases: count }));
  if (tried.length === 0) {
    throw new InputError(
      `${own.path}: none of ${cases.length} cases is tried: the kernel ${leftOut.map(({ reason }) => reason).join(", ")}; change its description or --filter`,
    );
  }
  return { cases: tried, leftOut };
}

function reasonAt(path: string, description: Description, of: OpKernelCase): string | null {
  try {
    return leftOutAt(description, of);
  } catch (error) {
    throw unfit(path, of, error);
  }
}

/** Runs a described kernel at a case. Throws InputError that names the kernel and the case, DeviceError where the device fails. */
export async function runOwn(gpu: Gpu, kernel: ForeignKernel, of: OpKernelCase, calls: number): Promise<KernelRun> {
  try {
    return await runPrepared(gpu, kernel.path, await kernel.prepare(of, BORDER), calls);
  } catch (error) {
    throw unfit(kernel.path, of, error);
  }
}

/** What the description of a kernel is to blame for. A line of its source is named already, and a device that fails is not its fault. */
function unfit(path: string, { id }: OpKernelCase, error: unknown): unknown {
  const isOther = error instanceof DeviceError && !(error instanceof GpuValidationError);
  if (!(error instanceof InputError) || isOther) return error;
  const own = error.message.startsWith(`${path}:`) ? error.message.slice(path.length + 1) : ` ${error.message}`;
  if (/^\d+: /.test(own)) return error;
  return new InputError(`${path}: at ${id}:${own.replace(/; please report.*/s, "")}; change its --bindings`);
}

/** What the kernels of a folder are judged by, where a kernel of a kind is there: as any other author's. */
export const inFolder = (folder: string | undefined, kind: KernelKind): OwnKernel | null => {
  const path =
    folder === undefined
      ? null
      : kernelsOf(kind)
          .map(fromFolder(folder))
          .find((each) => each !== null);
  return path == null ? null : { path, kind, description: null };
};

/** What a kernel's author may do: sums in any order, blocks multiplied as they are, angles of its own; of no author, what this program does. */
export function authorOf(own: OwnKernel | null): Author | undefined {
  if (own === null) return undefined;
  const { description } = own;
  const bound = description === null ? null : [...description.bindings.values()];
  const exactAngles = bound === null || (bound.includes("cos") && bound.includes("sin"));
  return anyKernels({ decodesWeights: description?.weights === "f32", exactAngles });
}
