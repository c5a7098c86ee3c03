/** The built program in processes of its own. */
import { spawnSync } from "node:child_process";
import { PROGRAM, ROOT } from "./places.ts";

export interface Finished {
  readonly wallMs: number;
  readonly stdout: string;
}

/** Runs `faultline ARGS` and waits. Throws with its last words where it could not do it: exit status 2, or a signal. */
export function faultline(args: readonly string[], env: NodeJS.ProcessEnv = {}): Finished {
  const started = performance.now();
  const { stdout, status, signal, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], {
    ...{ cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 28 },
    env: { ...process.env, ...env },
  });
  const wallMs = performance.now() - started;
  const last = stderr.trim().split("\n").at(-1);
  if (status !== 0 && status !== 1) throw new Error(`faultline ${args[0]} (${signal ?? status}): ${last}`);
  return { wallMs, stdout };
}
