/** The weights of a GGUF file as ggml's own decoders give them: the independent voice on what a block holds. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InputError } from "../../src/trace/errors.ts";
import { runProgram } from "../program.ts";
import { type LlamaCppOptions, llamaCppPrograms } from "./dump.ts";

/** A decoded tensor. */
export interface DecodedTensor {
  readonly rows: number;
  readonly columns: number;
  /** ggml's name of the block type, in lower case: q4_k, f16, ... */
  readonly type: string;
  /** `hashOf` its elements, row-major. */
  readonly hash: bigint;
}

const LINE = /^(\d+) (\d+) (\S+) ([0-9a-f]{16}) (.*)$/;

/** Every tensor of a model decoded by ggml, by name. Throws InputError where llama.cpp cannot read the file. */
export async function decodedHashes(
  model: string,
  options: LlamaCppOptions = {},
): Promise<ReadonlyMap<string, DecodedTensor>> {
  const { decode } = await llamaCppPrograms(options);
  const lines: string[] = [];
  await runProgram("llama.cpp", decode, [model], { onLine: (line) => lines.push(line) });
  return new Map(lines.map((line) => tensorOf(line, model)));
}

function tensorOf(line: string, model: string): [name: string, tensor: DecodedTensor] {
  const [, rows, columns, type, hash, name] = LINE.exec(line) ?? [];
  if (type === undefined || name === undefined) {
    throw new InputError(`${model}: "${line}" is no tensor; a name in it has a line break; convert the model again`);
  }
  return [name, { rows: Number(rows), columns: Number(columns), type, hash: BigInt(`0x${hash}`) }];
}

/** One tensor decoded by ggml to f32, flat row-major. Throws InputError where the file has no such tensor. */
export async function decodedValues(
  model: string,
  tensor: string,
  options: LlamaCppOptions = {},
): Promise<Float32Array> {
  const { decode } = await llamaCppPrograms(options);
  const folder = await mkdtemp(join(tmpdir(), "faultline-decode-"));
  try {
    const file = join(folder, "values.f32");
    await runProgram("llama.cpp", decode, [model, "--values", tensor, file]);
    const { buffer, byteOffset, byteLength } = await readFile(file);
    return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
