/** A dump folder -> a source: dump.json and the headers of its arrays; data are read later, one array at a time. */
import { realpathSync } from "node:fs";
import { isAbsolute, join, relative, sep } from "node:path";
import { InputError } from "../../src/trace/errors.ts";
import { readText } from "../../src/trace/files.ts";
import { type Dump, dumpSchema } from "../dump-schema.ts";
import { readElements } from "./elements.ts";
import { readNpyHeader } from "./npy.ts";
import type { Source, SourceOptions } from "./source.ts";
import { checkPositions, checkStep, mapPath, parseBy, parseJson, saysItsTokens } from "./source-facts.ts";

/** Opens a dump folder. Throws InputError naming what is wrong in dump.json or with an array. */
export function readDumpFolder(folder: string, options: SourceOptions = {}): Source {
  const path = join(folder, "dump.json");
  const dump = readDump(path);
  if (options.tokens !== undefined) throw saysItsTokens(path);
  const root = realpathSync(folder);
  const tensors = dump.tensors
    .map((tensor, index) => ({ ...tensor, seq: tensor.seq ?? index }))
    .sort((a, b) => a.seq - b.seq)
    .map((tensor) => {
      const where = `${path}: tensor ${tensor.seq} (${tensor.name})`;
      checkStep(where, tensor.step, dump.steps);
      const array = readNpyHeader(fileInside(root, folder, tensor.file, where));
      if (array.element === "bf16" && tensor.dtype !== "bf16") {
        throw new InputError(`${where} has elements of type u2, which are read as bf16 only where dtype says bf16`);
      }
      return {
        step: tensor.step,
        name: tensor.name,
        op: tensor.op,
        weight: tensor.weight,
        dtype: tensor.dtype ?? dump.producer.dtype,
        shape: array.shape,
        where,
        content: { kind: "values" as const, read: () => readElements(array) },
      };
    });
  const { producer, prompt, steps, model, names } = dump;
  return { producer, names: mapPath(names, folder), model, prompt, steps, tensors, leftOut: [] };
}

/** The path of a file that lies in the folder, links followed. */
function fileInside(root: string, folder: string, file: string, where: string): string {
  const path = join(folder, file);
  let real = path;
  try {
    real = realpathSync(path);
  } catch {
    // No such file: the reader says so, unless its name alone leads out of the folder.
    real = join(root, file);
  }
  const way = relative(root, real);
  if (isAbsolute(file) || isAbsolute(way) || way === ".." || way.startsWith(`..${sep}`)) {
    throw new InputError(`${where} lies outside the folder (${file}); give a path inside it`);
  }
  return path;
}

function readDump(path: string): Dump {
  const text = readText(path, "a dump folder has one (docs/writing-a-dumper.md)");
  const dump = parseBy(dumpSchema, parseJson(text, path), path, "dump");
  checkPositions(path, dump.steps);
  return dump;
}
