/** A page in Markdown that reports are added to, as a job's page ($GITHUB_STEP_SUMMARY) takes them. */
import { accessSync, appendFileSync, constants, statSync } from "node:fs";
import { dirname } from "node:path";
import { InputError } from "../trace/errors.ts";

/** A page that cannot be written is refused before minutes of work; it is not made yet. Throws InputError. */
export function checkSummary(path: string): void {
  const page = statSync(path, { throwIfNoEntry: false });
  if (page?.isDirectory()) throw new InputError(`--summary ${path}: is a folder; give a file`);
  try {
    accessSync(page === undefined ? dirname(path) : path, constants.W_OK);
  } catch (error) {
    throw unwritable(path, error);
  }
}

const unwritable = (path: string, error: unknown) =>
  new InputError(
    `--summary ${path}: cannot be written: ${error instanceof Error ? error.message.split(",")[0] : error}; give another file`,
  );

/** Adds a part to a page. Throws InputError where it cannot be written. */
export function addSummary(path: string, text: string): void {
  try {
    appendFileSync(path, text);
  } catch (error) {
    throw unwritable(path, error);
  }
}
