/** Folders that commands write into: their own for as long as they run, and those that -o names. */
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { InputError } from "../trace/errors.ts";
import { note } from "./progress.ts";

/** Ctrl-C ends a process without its `finally`s; what stands on "exit" still runs. */
const INTERRUPTED = 130;

/** Does the work in a folder of its own, which is gone afterwards: also where the work fails, and where Ctrl-C ends the process. */
export async function inTemporaryFolder<T>(name: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), `faultline-${name}-`));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const interrupt = () => {
    note("faultline: interrupted");
    process.exit(INTERRUPTED);
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  process.on("exit", remove);
  for (const signal of signals) process.on(signal, interrupt);
  try {
    return await work(folder);
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
    process.off("exit", remove);
    remove();
  }
}

/** The folder of -o, made where there is none. Throws InputError where a file has its name, and where it cannot be made. */
export function madeFolder(path: string): string {
  try {
    makeWithParents(path);
    return path;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split(",")[0] : String(error);
    throw new InputError(`${path}: cannot be made a folder (${reason}); choose another place with -o`);
  }
}

/** One folder at a time: Node's own `recursive` never ends where a parent takes no entries (/proc). */
function makeWithParents(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  const parent = dirname(path);
  if (parent !== path) makeWithParents(parent);
  mkdirSync(path);
}
