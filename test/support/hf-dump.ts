/** Reads a dump of the HuggingFace reference as taps, by references/maps/hf-llama.json and nothing else. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Dump, dumpSchema } from "../../references/dump-schema.ts";
import { mapSchema } from "../../references/maps/map-schema.ts";

const mapFile = join(import.meta.dirname, "../../references/maps/hf-llama.json");
const map = mapSchema.parse(JSON.parse(readFileSync(mapFile, "utf8")));

/** A little-endian f32 .npy array in C order: its shape and values. */
export function readNpy(path: string): { shape: number[]; data: Float32Array } {
  const bytes = readFileSync(path);
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", 10, start);
  if (!header.includes("'<f4'") || !header.includes("'fortran_order': False")) throw new Error(`${path}: ${header}`);
  const shape = [...(/\(([^)]*)\)/.exec(header)?.[1] ?? "").matchAll(/\d+/g)].map(Number);
  return { shape, data: new Float32Array(new Uint8Array(bytes.subarray(start)).buffer) };
}

export interface TapValues {
  readonly step: number;
  readonly tap: string;
  readonly values: Float32Array;
}

/** The dump and its tensors in the taps' layouts. Throws for a name that the map neither translates nor ignores. */
export function readDump(folder: string, headDim: number): { dump: Dump; taps: TapValues[] } {
  const dump = dumpSchema.parse(JSON.parse(readFileSync(join(folder, "dump.json"), "utf8")));
  const taps: TapValues[] = [];
  for (const { name, file, step } of dump.tensors) {
    if (map.ignore.includes(name)) continue;
    const rule = map.rules.find((rule) => pattern(rule.name).test(name));
    if (rule === undefined) throw new Error(`${name} is not in the map`);
    const tap = rule.tap.replace("{N}", pattern(rule.name).exec(name)?.[1] ?? "");
    let { shape, data } = readNpy(join(folder, file));
    if (/^(kv_)?head token head_dim$/.test(rule.axes ?? "")) data = headsInside(shape, data);
    if (rule.halves) data = neighbours(headDim, data);
    if (rule.tap.endsWith("attn_scores")) data = causal(shape, data);
    taps.push({ step, tap, values: data });
  }
  return { dump, taps };
}

const pattern = (name: string) => new RegExp(`^${name.replaceAll(".", "\\.").replace("{N}", "(\\d+)")}$`);

/** head token head_dim -> token head head_dim */
function headsInside([heads = 0, tokens = 0, dims = 0]: readonly number[], data: Float32Array): Float32Array {
  return data.map((_, i) => {
    const [dim, head, token] = [i % dims, Math.floor(i / dims) % heads, Math.floor(i / dims / heads)];
    return data[(head * tokens + token) * dims + dim] ?? Number.NaN;
  });
}

/** Rotation partners j and j + half become neighbours 2j and 2j + 1. */
function neighbours(headDim: number, data: Float32Array): Float32Array {
  return data.map((_, i) => {
    const dim = i % headDim;
    return data[i - dim + (dim % 2) * (headDim / 2) + (dim >> 1)] ?? Number.NaN;
  });
}

/** head token key, 0 where the key lies ahead. */
function causal([, tokens = 0, keys = 0]: readonly number[], data: Float32Array): Float32Array {
  return data.map((x, i) => (i % keys <= (Math.floor(i / keys) % tokens) + keys - tokens ? x : 0));
}
