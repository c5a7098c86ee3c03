/** The command line as a user has it: a process of its own. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect } from "vitest";
import { PROGRAM } from "./program.ts";

const root = join(import.meta.dirname, "../..");

/** Runs `faultline ARGS` and waits. `errors`: lines of standard error but the GPU library's own warnings. */
export function faultline(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { cwd: root, encoding: "utf8" });
  const errors = stderr.split("\n").filter((line) => line !== "" && !line.startsWith("Warning: max"));
  return { status, stdout, stderr, errors };
}

/** Expects that a command could not do it: one line that matches, nothing on standard output, exit status 2. */
export function expectRefused(args: readonly string[], words: RegExp): void {
  const { status, stdout, errors } = faultline(...args);
  expect({ status, stdout, errors }, args.join(" ")).toEqual({
    status: 2,
    stdout: "",
    errors: [expect.stringMatching(words)],
  });
}
