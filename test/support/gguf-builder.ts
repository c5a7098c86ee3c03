/** Writes small GGUF files, whole or broken on purpose: no test needs a download for structure. */
import { writeFileSync } from "node:fs";

/** A metadata value with its GGUF type. */
export type MetadataValue =
  | { readonly type: "u32" | "u64" | "f32" | "bool"; readonly value: number }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "i32s" | "f32s"; readonly value: readonly number[] }
  /** Any type number before any bytes: what no converter writes. */
  | { readonly type: "raw"; readonly typeId: number; readonly value: Uint8Array };

export interface TensorSpec {
  readonly name: string;
  /** Row-major, slowest first. */
  readonly shape: readonly number[];
  /** GGUF's number of the block type. */
  readonly typeId: number;
  readonly data: Uint8Array;
  /** Instead of the true offset. */
  readonly offset?: bigint;
}

export interface GgufSpec {
  readonly metadata: Readonly<Record<string, MetadataValue>>;
  readonly tensors: readonly TensorSpec[];
  readonly version?: number;
  readonly alignment?: number;
}

export const u32 = (value: number): MetadataValue => ({ type: "u32", value });
export const f32 = (value: number): MetadataValue => ({ type: "f32", value });
export const text = (value: string): MetadataValue => ({ type: "string", value });

class Bytes {
  readonly parts: Buffer[] = [];
  length = 0;
  raw(bytes: Uint8Array): void {
    this.parts.push(Buffer.from(bytes));
    this.length += bytes.length;
  }
  u32(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    this.raw(bytes);
  }
  i32(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    this.raw(bytes);
  }
  f32(value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatLE(value);
    this.raw(bytes);
  }
  u64(value: bigint): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    this.raw(bytes);
  }
  string(value: string): void {
    const bytes = Buffer.from(value, "utf8");
    this.u64(BigInt(bytes.length));
    this.raw(bytes);
  }
  pad(alignment: number): void {
    const rest = this.length % alignment;
    if (rest > 0) this.raw(new Uint8Array(alignment - rest));
  }
}

function writeValue(out: Bytes, value: MetadataValue): void {
  const array = (elementType: number, count: number) => {
    out.u32(9);
    out.u32(elementType);
    out.u64(BigInt(count));
  };
  switch (value.type) {
    case "u32":
      out.u32(4);
      out.u32(value.value);
      return;
    case "u64":
      out.u32(10);
      out.u64(BigInt(value.value));
      return;
    case "f32":
      out.u32(6);
      out.f32(value.value);
      return;
    case "bool":
      out.u32(7);
      out.raw(Uint8Array.of(value.value));
      return;
    case "string":
      out.u32(8);
      out.string(value.value);
      return;
    case "strings":
      array(8, value.value.length);
      for (const each of value.value) out.string(each);
      return;
    case "i32s":
      array(5, value.value.length);
      for (const each of value.value) out.i32(each);
      return;
    case "f32s":
      array(6, value.value.length);
      for (const each of value.value) out.f32(each);
      return;
    case "raw":
      out.u32(value.typeId);
      out.raw(value.value);
      return;
    default:
      value satisfies never;
  }
}

/** The bytes of a GGUF file. */
export function ggufBytes(spec: GgufSpec): Buffer {
  const alignment = spec.alignment ?? 32;
  const out = new Bytes();
  out.raw(Buffer.from("GGUF"));
  out.u32(spec.version ?? 3);
  out.u64(BigInt(spec.tensors.length));
  out.u64(BigInt(Object.keys(spec.metadata).length));
  for (const [key, value] of Object.entries(spec.metadata)) {
    out.string(key);
    writeValue(out, value);
  }
  let offset = 0;
  for (const tensor of spec.tensors) {
    out.string(tensor.name);
    out.u32(tensor.shape.length);
    for (const length of [...tensor.shape].reverse()) out.u64(BigInt(length));
    out.u32(tensor.typeId);
    out.u64(tensor.offset ?? BigInt(offset));
    offset += Math.ceil(tensor.data.length / alignment) * alignment;
  }
  out.pad(alignment);
  for (const tensor of spec.tensors) {
    out.raw(tensor.data);
    out.pad(alignment);
  }
  return Buffer.concat(out.parts);
}

/** f32 data of a tensor. */
export function f32Tensor(name: string, shape: readonly number[], values: Float32Array): TensorSpec {
  return { name, shape, typeId: 0, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

export function writeGguf(path: string, spec: GgufSpec): string {
  writeFileSync(path, ggufBytes(spec));
  return path;
}
