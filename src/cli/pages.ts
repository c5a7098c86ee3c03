/** Files that reports go to: refused before minutes of work where they cannot be written, and made only when there is something to write. */
import { accessSync, appendFileSync, constants, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { InputError } from "../trace/errors.ts";

/** Throws InputError, naming the option, where a file cannot be written. It is not made yet. */
export function checkWritable(flag: string, path: string): void {
  let isFolder = false;
  try {
    const there = statSync(path, { throwIfNoEntry: false });
    isFolder = there?.isDirectory() ?? false;
    accessSync(there === undefined ? dirname(path) : path, constants.W_OK);
  } catch (error) {
    throw unwritable(flag, path, error);
  }
  if (isFolder) throw new InputError(`${flag} ${path}: is a folder; give a file`);
}

/** Writes a file, or adds to it as a job's page ($GITHUB_STEP_SUMMARY) takes it. Throws InputError where it cannot be written. */
export function writePage(flag: string, path: string, text: string, isAdded = false): void {
  try {
    if (isAdded) appendFileSync(path, text);
    else writeFileSync(path, text);
  } catch (error) {
    throw unwritable(flag, path, error);
  }
}

const unwritable = (flag: string, path: string, error: unknown) =>
  new InputError(
    `${flag} ${path}: cannot be written: ${error instanceof Error ? error.message.split(",")[0] : error}; give another file`,
  );
