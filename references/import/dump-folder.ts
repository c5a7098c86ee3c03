/** A dump folder -> a source: dump.json and the headers of its arrays; data are read later, one array at a time. */
import { readFileSync } from "node:fs";
import { isAbsolute, join, relative } from "node:path";
import { InputError } from "../../src/trace/errors.ts";
import { type Dump, dumpSchema } from "../dump-schema.ts";
import { BUILT_IN_MAPS } from "../maps/name-map.ts";
import { readNpy, readNpyHeader } from "./npy.ts";
import type { Source } from "./source.ts";

/** Opens a dump folder. Throws InputError naming what is wrong in dump.json or with an array. */
export function readDumpFolder(folder: string): Source {
  const path = join(folder, "dump.json");
  const dump = readDump(path);
  const tensors = dump.tensors
    .map((tensor, index) => ({ ...tensor, seq: tensor.seq ?? index }))
    .sort((a, b) => a.seq - b.seq)
    .map((tensor) => {
      const where = `${path}: tensor ${tensor.seq} (${tensor.name})`;
      if (tensor.step >= dump.steps.length) {
        throw new InputError(
          `${where} is of step ${tensor.step}, but there are ${dump.steps.length} steps; list every forward pass in steps`,
        );
      }
      const file = join(folder, tensor.file);
      if (isAbsolute(tensor.file) || relative(folder, file).startsWith("..")) {
        throw new InputError(`${where} lies outside the folder (${tensor.file}); give a path inside it`);
      }
      const header = readNpyHeader(file);
      if (header.type === "<u2" && tensor.dtype !== "bf16") {
        throw new InputError(`${where} has elements of type u2, which are read as bf16 only where dtype says bf16`);
      }
      return {
        step: tensor.step,
        name: tensor.name,
        op: tensor.op,
        weight: tensor.weight,
        dtype: tensor.dtype ?? dump.producer.dtype,
        shape: header.shape,
        where,
        content: { kind: "values" as const, read: () => readNpy(header) },
      };
    });
  const { producer, prompt, steps } = dump;
  // A map file is named from the folder.
  const names =
    dump.names === "canonical" || BUILT_IN_MAPS.some((map) => map === dump.names)
      ? dump.names
      : join(folder, dump.names);
  return { producer, names, model: dump.model, prompt, steps, tensors };
}

function readDump(path: string): Dump {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    throw new InputError(`${path}: no such file, or not readable; a dump folder has one (docs/writing-a-dumper.md)`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${path}: not JSON (${(error as Error).message}); was the dump finished?`);
  }
  const parsed = dumpSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new InputError(
      `${path}: ${issue?.path.join(".") || "dump"}: ${issue?.message}; see docs/writing-a-dumper.md`,
    );
  }
  checkPositions(path, parsed.data.steps);
  return parsed.data;
}

/** A step starts where some sequence so far ends, or earlier: a gap would be positions that no step computed. */
function checkPositions(path: string, steps: Dump["steps"]): void {
  let end = 0;
  for (const [index, { pos_start, tokens }] of steps.entries()) {
    if (pos_start > end) {
      throw new InputError(
        `${path}: step ${index} starts at position ${pos_start}, but steps before it end at ${end}; list every forward pass`,
      );
    }
    end = pos_start + tokens.length;
  }
}
