/**
 * A .safetensors file -> a source: an 8-byte length, a JSON header of names, types, shapes and offsets, then the data. Facts come
 * from `__metadata__` (strings): steps, producer and model in the JSON of dump.json, names and prompt as they are.
 */
import { dirname } from "node:path";
import { z } from "zod";
import { elementsOf } from "../../src/trace/dims.ts";
import { InputError } from "../../src/trace/errors.ts";
import { readBytes, withFile } from "../../src/trace/files.ts";
import { ELEMENTS, type ElementName, readElements } from "./elements.ts";
import type { Source, SourceOptions } from "./source.ts";
import { checkStep, parseBy, parseJson, sourceFacts } from "./source-facts.ts";

const TYPES: Readonly<Record<string, ElementName>> = { F32: "f32", F16: "f16", BF16: "bf16", F64: "f64", I32: "i32" };

/** Largest header that is believed: that of the format's own reader. */
const HEADER_BYTES = 100_000_000;

const size = z.number().int().nonnegative();
const tensorSchema = z.looseObject({ dtype: z.string(), shape: z.array(size), data_offsets: z.tuple([size, size]) });
const headerSchema = z.looseObject({ __metadata__: z.record(z.string(), z.string()).default({}) });

/** Opens a file. Throws InputError naming what is wrong with it. A tensor `step.K.NAME` is NAME of step K. */
export function readSafetensors(path: string, options: SourceOptions = {}): Source {
  const { header, dataOffset, dataBytes } = readHeader(path);
  const { __metadata__: metadata, ...entries } = parseBy(headerSchema, header, path, "header");
  const facts = sourceFacts(factsOf(metadata, path), path, dirname(path), options);
  const tensors = Object.entries(entries).map(([fullName, entry]) => {
    const where = `${path}: tensor ${fullName}`;
    const { dtype, shape, data_offsets } = parseBy(tensorSchema, entry, where, "entry");
    const [from, to] = data_offsets;
    const element = Object.hasOwn(TYPES, dtype) ? TYPES[dtype] : undefined;
    if (element === undefined)
      throw new InputError(`${where} has elements of type ${dtype}; ${Object.keys(TYPES).join(", ")} are read`);
    const bytes = elementsOf(shape) * ELEMENTS[element].bytes;
    if (to - from !== bytes)
      throw new InputError(`${where} has ${to - from} bytes, shape [${shape.join(", ")}] of ${dtype} takes ${bytes}`);
    if (to > dataBytes)
      throw new InputError(`${where} ends at byte ${to} of ${dataBytes}; the file is cut short, write it again`);
    const [, step = "0", name = fullName] = /^step\.(\d+)\.(.+)$/s.exec(fullName) ?? [];
    checkStep(where, Number(step), facts.steps);
    const array = { path, element, shape, dataOffset: dataOffset + from };
    return {
      ...{ step: Number(step), name, op: "", weight: "", shape, where, offset: from },
      dtype: element === "f32" || element === "f64" || element === "i32" ? facts.producer.dtype : element,
      content: { kind: "values" as const, read: () => readElements(array) },
    };
  });
  if (tensors.length === 0) throw new InputError(`${path}: holds no tensor; was it written to its end?`);
  // A JSON object has no order; data have.
  return { ...facts, tensors: tensors.sort((a, b) => a.step - b.step || a.offset - b.offset), leftOut: [] };
}

function readHeader(path: string): { header: unknown; dataOffset: number; dataBytes: number } {
  return withFile(path, "give a .safetensors file", (file) => {
    const start = Buffer.alloc(8);
    start.set(readBytes(file, 0, 8));
    const length = Number(start.readBigUInt64LE(0));
    if (length > HEADER_BYTES || length + 8 > file.size)
      throw new InputError(`${path}: ${file.size} bytes long, with a header of ${length}; it is cut short or damaged`);
    const text = Buffer.from(readBytes(file, 8, length)).toString("utf8");
    return { header: parseJson(text, `${path}: header`), dataOffset: 8 + length, dataBytes: file.size - 8 - length };
  });
}

const JSON_KEYS = ["steps", "producer", "model"] as const;

/** The keys of ours among the metadata; `producer` and `model` may be plain names. */
function factsOf(metadata: Readonly<Record<string, string>>, path: string): Record<string, unknown> {
  const facts: Record<string, unknown> = {};
  for (const key of ["names", "prompt"]) if (metadata[key] !== undefined) facts[key] = metadata[key];
  for (const key of JSON_KEYS) {
    const text = metadata[key];
    if (text === undefined) continue;
    const isPlain = key !== "steps" && !text.trimStart().startsWith("{");
    facts[key] = isPlain
      ? { [key === "model" ? "file" : "name"]: text }
      : parseJson(text, `${path}: __metadata__.${key}`);
  }
  return facts;
}
