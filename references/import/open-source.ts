/** A path -> a source, by what the path is. */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../../src/trace/errors.ts";
import { readDumpFolder } from "./dump-folder.ts";
import { isEvalLog, readEvalLog } from "./eval-log.ts";
import { readSafetensors } from "./safetensors.ts";
import type { Source, SourceOptions } from "./source.ts";
import { readStatisticsLines } from "./statistics-lines.ts";

interface Kind {
  readonly title: string;
  readonly is: (path: string, isFolder: boolean) => boolean;
  readonly open: (path: string, options: SourceOptions) => Source;
}

/** What can be imported; the first that fits. */
const KINDS: readonly Kind[] = [
  { title: "a folder with dump.json", is: (_, isFolder) => isFolder, open: readDumpFolder },
  { title: "a .safetensors file", is: (path) => path.endsWith(".safetensors"), open: readSafetensors },
  { title: "a .jsonl file of statistics", is: (path) => path.endsWith(".jsonl"), open: readStatisticsLines },
  { title: "a log of llama-eval-callback", is: (path) => isEvalLog(beginning(path)), open: readEvalLog },
];

/** A log names its first tensor early: after the lines of loading a model, where these go to the same place. */
const BEGINNING_BYTES = 1 << 20;

/** Opens what another engine left. Throws InputError where it is none of the kinds. */
export function openSource(path: string, options: SourceOptions = {}): Source {
  const facts = statSync(path, { throwIfNoEntry: false });
  const kinds = KINDS.map((kind) => kind.title).join(", ");
  if (facts === undefined || !(facts.isFile() || facts.isDirectory()))
    throw new InputError(`${path}: no such file or folder; give ${kinds} (docs/writing-a-dumper.md)`);
  const kind = KINDS.find((each) => each.is(path, facts.isDirectory()));
  if (kind === undefined) throw new InputError(`${path}: is none of ${kinds} (docs/writing-a-dumper.md)`);
  return kind.open(path, options);
}

/** The folder that a source's relative names start from. */
export function folderOf(path: string): string {
  return statSync(path).isDirectory() ? path : join(path, "..");
}

function beginning(path: string): string {
  const bytes = Buffer.alloc(BEGINNING_BYTES);
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    throw new InputError(`${path}: not readable`);
  }
  try {
    return bytes.toString("utf8", 0, readSync(file, bytes, 0, BEGINNING_BYTES, 0));
  } finally {
    closeSync(file);
  }
}
