/** What llama.cpp's quantiser made of a model: it takes another type where rows do not divide into the blocks that were asked for. */
import { BLOCK_TYPES } from "../../src/model/blocks.ts";
import type { GgufFile } from "../../src/model/gguf.ts";

/** A matrix that did not get what was asked for. */
export interface FallenBack {
  readonly name: string;
  /** What it is now: Q5_0, Q8_0, F16, ... */
  readonly type: string;
  /** Elements of a row. */
  readonly columns: number;
  /** Elements of the block that its rows are no multiple of; null where llama.cpp had another reason. */
  readonly block: number | null;
}

/** Elements of the super-blocks that recipes (Q4_K_M, IQ4_XS, ...) are made of. */
const SUPER_BLOCK = 256;

/**
 * The matrices of a file from `quantizeModel(..., type)` that are not what `type` says, in the file's order. A block type (Q4_0)
 * is for every matrix. A recipe (Q4_K_M) has several types by design, all of super-blocks: what fell back has rows that are no
 * multiple of 256. (llama.cpp does not fall back to F32: an F32 matrix is one that it never quantises.)
 */
export function fallenBack(file: Pick<GgufFile, "tensors">, type: string): FallenBack[] {
  const asked = BLOCK_TYPES.find(({ name }) => name === type.toUpperCase());
  const elements = asked?.elements ?? SUPER_BLOCK;
  return [...file.tensors.values()].flatMap(({ name, shape, type: got, columns }) => {
    const divides = columns % elements === 0;
    const asAsked = asked === undefined ? divides || got.name === "F32" : got === asked;
    return shape.length < 2 || asAsked ? [] : [{ name, type: got.name, columns, block: divides ? null : elements }];
  });
}
