/** Dump folders and .safetensors files, right or wrong in every part, and their import in this process. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { openSource } from "../../references/import/open-source.ts";
import type { SourceOptions } from "../../references/import/source.ts";
import { type ImportFacts, type ImportRun, importTrace } from "../../src/cli/import-trace.ts";
import { InputError } from "../../src/trace/errors.ts";
import { Trace } from "../../src/trace/reader.ts";
import type { TraceRecord } from "../../src/trace/record.ts";

const scratch = mkdtempSync(join(tmpdir(), "faultline-import-"));
let folders = 0;

export const scratchFolder = scratch;

export function newFolder(): string {
  const folder = join(scratch, String(folders++));
  mkdirSync(folder);
  return folder;
}

export const f32Bytes = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);
export const u16Bytes = (values: readonly number[]) => new Uint8Array(Uint16Array.from(values).buffer);

export interface Npy {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
  readonly type?: string;
  readonly fortran?: boolean;
}

export function npyBytes({ shape, data, type = "<f4", fortran = false }: Npy): Uint8Array {
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const order = fortran ? "True" : "False";
  const header = `{'descr': '${type}', 'fortran_order': ${order}, 'shape': (${axes}), }\n`;
  const start = Buffer.from("\x93NUMPY\x01\x00\x00\x00", "latin1");
  start.writeUInt16LE(header.length, 8);
  return Buffer.concat([start, Buffer.from(header, "latin1"), data]);
}

/** A tensor of a dump: its entry in dump.json, and its array or the bytes of its file. */
export interface DumpedTensor {
  readonly entry?: Readonly<Record<string, unknown>>;
  readonly name: string;
  readonly array: Npy | Uint8Array;
}

/** An f32 tensor of a dump. */
export function tensor(
  name: string,
  shape: readonly number[],
  values: readonly number[],
  entry: Readonly<Record<string, unknown>> = {},
): DumpedTensor {
  return { name, array: { shape, data: f32Bytes(values) }, entry };
}

export interface DumpSpec {
  readonly steps?: unknown;
  readonly tensors: readonly DumpedTensor[];
  readonly map?: unknown;
  readonly facts?: Readonly<Record<string, unknown>>;
}

/** Writes a dump folder; with a map its names are the map's. */
export function writeDump({ steps = [{ pos_start: 0, tokens: [1, 2] }], tensors, map, facts }: DumpSpec): string {
  const folder = newFolder();
  const entries = tensors.map(({ name, array, entry }, index) => {
    const file = `${index}.npy`;
    writeFileSync(join(folder, file), array instanceof Uint8Array ? array : npyBytes(array));
    return { name, file, ...entry };
  });
  if (map !== undefined) writeFileSync(join(folder, "map.json"), JSON.stringify(map));
  const names = map === undefined ? {} : { names: "map.json" };
  const dump = { faultline_dump: 1, producer: { name: "test" }, ...names, steps, tensors: entries, ...facts };
  writeFileSync(join(folder, "dump.json"), JSON.stringify(dump));
  return folder;
}

/** A .safetensors file; `header` replaces or adds entries. */
export function safetensorsBytes(
  tensors: Readonly<Record<string, { dtype: string; shape: readonly number[]; data: Uint8Array }>>,
  metadata?: Readonly<Record<string, unknown>>,
  header: Readonly<Record<string, unknown>> = {},
): Uint8Array {
  let offset = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
    const from = offset;
    offset += data.length;
    return [name, { dtype, shape, data_offsets: [from, offset] }];
  });
  const json = { ...(metadata ? { __metadata__: metadata } : {}), ...Object.fromEntries(entries), ...header };
  const text = Buffer.from(JSON.stringify(json));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...Object.values(tensors).map(({ data }) => data)]);
}

export interface Imported {
  readonly facts: ImportFacts;
  readonly trace: Trace;
  /** Records by tap, or by `step tap` for steps after the first. */
  readonly records: ReadonlyMap<string, TraceRecord>;
}

type Options = SourceOptions & Partial<Pick<ImportRun, "map" | "model" | "capture" | "taps">>;

/** Imports a path with everything captured. */
export async function imported(path: string, options: Options = {}): Promise<Imported> {
  const output = join(newFolder(), "out.arrow");
  const { map, model = null, capture = "full", taps, ...said } = options;
  const source = openSource(path, said);
  const facts = await importTrace({
    ...{ source, model, output, capture, quiet: true },
    ...(map === undefined ? {} : { map }),
    ...(taps === undefined ? {} : { taps }),
  });
  const trace = await Trace.open(output);
  const records = new Map<string, TraceRecord>();
  for (const index of trace.records.keys()) {
    const record = await trace.load(index);
    records.set(record.step === 0 ? record.tap : `${record.step} ${record.tap}`, record);
  }
  await trace.close();
  return { facts, trace, records };
}

/** The message of a refusal: an InputError that leaves nothing behind. */
export async function refusal(path: string, options: Options = {}): Promise<string> {
  const output = join(newFolder(), "out.arrow");
  const { map, model = null, capture = "full", taps, ...said } = options;
  try {
    const source = openSource(path, said);
    const more = { ...(map === undefined ? {} : { map }), ...(taps === undefined ? {} : { taps }) };
    await importTrace({ source, model, output, capture, quiet: true, ...more });
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    expect(existsSync(output)).toBe(false);
    expect(readdirSync(join(output, ".."))).toEqual([]);
    return (error as InputError).message;
  }
  throw new Error(`${path} was imported`);
}
