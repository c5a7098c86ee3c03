/** Files that reports go to: refused before minutes of work where they cannot be written, and made only when there is something to write. */
import {
  accessSync,
  appendFileSync,
  constants,
  fstatSync,
  realpathSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import { devNull } from "node:os";
import { basename, dirname, join } from "node:path";
import { InputError } from "../trace/errors.ts";

/** Throws InputError, naming the option, where a file cannot be written. It is not made yet. */
export function checkWritable(flag: string, path: string): void {
  if (path === "" || path.endsWith("/")) throw new InputError(`${flag} '${path}': names no file; give one`);
  let there: Stats | undefined;
  try {
    there = statSync(path, { throwIfNoEntry: false });
    accessSync(there === undefined ? dirname(path) : path, constants.W_OK);
  } catch (error) {
    throw unwritable(flag, path, error);
  }
  if (there?.isDirectory()) throw new InputError(`${flag} ${path}: is a folder; give a file`);
  // A pipe that nobody reads would hold the command for ever; a device but these would take the report for data.
  const isPlain = there === undefined || there.isFile() || isStandardOutput(path) || isNull(there);
  if (!isPlain) throw new InputError(`${flag} ${path}: is no plain file; give one, or a new name`);
}

const isNull = ({ rdev }: Stats) => rdev !== 0 && rdev === statSync(devNull).rdev;

/** True if a file is what standard output goes to, unless that is thrown away. */
export function isStandardOutput(path: string): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  const own = fstatSync(process.stdout.fd);
  return there !== undefined && there.dev === own.dev && there.ino === own.ino && !isNull(there);
}

/** A file to be written, and the option that names it. */
export interface NamedFile {
  readonly flag: string;
  readonly path: string;
}

/** Throws InputError where two options name one file, or one names a file that is read: it would be lost. */
export function checkApart(files: readonly NamedFile[], read: readonly string[]): void {
  const taken = new Map(read.map((path) => [placeOf(path), `is read by this command, and would be lost`]));
  for (const { flag, path } of files) {
    const place = placeOf(path);
    const why = taken.get(place);
    if (why !== undefined) throw new InputError(`${flag} ${path}: ${why}; give another file`);
    taken.set(place, `is what ${flag} writes too`);
  }
}

/** Where a file is, or will be, whatever way leads there. */
function placeOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    try {
      return join(realpathSync(dirname(path)), basename(path));
    } catch {
      return path;
    }
  }
}

/** Writes a file, or adds to it as a job's page ($GITHUB_STEP_SUMMARY) takes it. Throws InputError where it cannot be written. */
export function writePage(flag: string, path: string, text: string, isAdded = false): void {
  try {
    if (isStandardOutput(path)) process.stdout.write(text);
    else if (isAdded) appendFileSync(path, text);
    else writeFileSync(path, text);
  } catch (error) {
    throw unwritable(flag, path, error);
  }
}

const unwritable = (flag: string, path: string, error: unknown) =>
  new InputError(
    `${flag} ${path}: cannot be written: ${error instanceof Error ? error.message.split(",")[0] : error}; give another file`,
  );
