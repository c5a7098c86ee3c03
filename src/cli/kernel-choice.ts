/** Which cases `faultline kernels` tries, and the bug that is planted in each. */
import { type KernelCase, kernelCases } from "../compare/kernels/cases.ts";
import { storeFault } from "../engine/chore.ts";
import type { Fault } from "../engine/faults/fault.ts";
import { parseFault } from "../engine/faults/parse.ts";
import { InputError } from "../trace/errors.ts";
import { inFolder, type OwnKernel, triedCases } from "./kernel-own.ts";
import type { KernelsOptions } from "./kernels-options.ts";

/** A case, and the bug in it; null for none. */
export interface ChosenCase {
  readonly of: KernelCase;
  readonly fault: Fault | null;
}

/** The cases that are asked for, and how many a kernel's description leaves out. Throws InputError where none is left. */
export function chosenCases({ filter, as, fault, kernels }: KernelsOptions, own: OwnKernel | null) {
  const isNamed = named(filter ?? "");
  // A kernel of one's own is the one for every adapter, and bugs are planted in that one.
  const isOne = own !== null || fault !== undefined;
  const isTried = (id: string) =>
    !(isOne && id.includes(" portable ")) && (as === undefined || id.startsWith(`${as} `));
  const wanted = [...kernelCases((id) => isNamed(id) && isTried(id))];
  if (wanted.length === 0) {
    throw new InputError(
      `--filter '${filter}': no case has these words; names are like 'linear 5x33x17 Q4_0 normal f32'`,
    );
  }
  const { cases, leftOut } = triedCases(own, wanted);
  if (kernels !== undefined && cases.every(({ kind }) => inFolder(kernels, kind) === null)) {
    throw new InputError(
      `${kernels}: none of its kernels computes a case that is tried; change --filter, or leave it out`,
    );
  }
  return { chosen: fault === undefined ? cases.map((of) => ({ of, fault: null })) : planted(fault, cases), leftOut };
}

/** The cases that can have a fault. Throws InputError, with the first reason, where none can. */
function planted(text: string, cases: readonly KernelCase[]): ChosenCase[] {
  const tried = cases.map((of) => ({ of, ...plant(text, of) }));
  const chosen = tried.filter(({ fault }) => fault !== null);
  if (chosen.length > 0) return chosen;
  const refusal = tried.find(({ reason }) => reason !== undefined)?.reason;
  throw new InputError(refusal ?? `${text}: no case can have it`);
}

/** Names that hold all words, each where a word or a number begins: `normal` is not in `subnormal`, `576` is in `7x576`. */
function named(filter: string): (id: string) => boolean {
  const begins = (id: string, word: string) => {
    const sort = /^\d/.test(word) ? /\d$/ : /[a-z]$/i;
    for (let at = id.indexOf(word); at >= 0; at = id.indexOf(word, at + 1))
      if (!sort.test(id.slice(0, at))) return true;
    return false;
  };
  const words = filter.split(/\s+/).filter((word) => word !== "");
  return (id) => words.every((word) => begins(id, word));
}

/** The fault in a case, where it can have it alone. */
function plant(text: string, of: KernelCase): { fault: Fault | null; reason?: string } {
  try {
    if ("chore" in of) return { fault: storeFault(text, of.chore) };
    const { model, op } = of;
    const [id = "", parameter] = text.split(":");
    const fault = parseFault(`${id}@${op.tap}${parameter === undefined ? "" : `:${parameter}`}`, model);
    if (fault.kind.compute !== undefined) return { fault };
    return {
      fault: null,
      reason: `${fault.text}: needs other ops than ${op.tap}; plant it in a whole run with 'faultline trace'`,
    };
  } catch (error) {
    if (error instanceof InputError) return { fault: null, reason: error.message };
    throw error;
  }
}
