/** ggml's decoders give the bits of ours, for every type that its quantiser makes; recipes are as llama.cpp ships them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { decodedHashes, decodedValues } from "../../references/llamacpp/decode.ts";
import { quantizeModel } from "../../references/llamacpp/dump.ts";
import { fallenBack } from "../../references/llamacpp/quantize.ts";
import { GgufFile } from "../../src/model/gguf.ts";
import { InputError } from "../../src/trace/errors.ts";
import { hashOf } from "../../src/trace/sketch.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";

const EMBEDDED = join(import.meta.dirname, "../../models/faultline-tiny-f16.gguf");
const scratch = mkdtempSync(join(tmpdir(), "faultline-test-"));
afterAll(() => rmSync(scratch, { recursive: true }));

let files = 0;
const PURE = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL".split(" ");

async function quantised(input: string, type: string): Promise<string> {
  const output = join(scratch, `${files++}-${type}.gguf`);
  await quantizeModel(input, output, type);
  return output;
}

async function openQuantised(input: string, type: string): Promise<GgufFile> {
  return GgufFile.open(await quantised(input, type));
}

async function complaint(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(InputError);
  const { message } = error as InputError;
  expect(message).not.toContain("\n");
  return message;
}

/** The block types of the matrices whose names end so, one a layer. */
const typesOf = (file: GgufFile, part: string) =>
  [...file.tensors.values()].filter(({ name }) => name.endsWith(`${part}.weight`)).map(({ type }) => type.name);

describe("ggml's decoders", () => {
  it.each(PURE)("%s: every tensor's hash is ours", async (type) => {
    const file = await openQuantised(EMBEDDED, type);
    const ours = [...file.tensors.values()].map((tensor) => {
      const { name, rows, columns } = tensor;
      const hash = hashOf(file.decodeRows(tensor));
      return [name, { rows, columns, type: tensor.type.name.toLowerCase(), hash }];
    });
    expect([...(await decodedHashes(file.path))]).toEqual(ours);
    expect(fallenBack(file, type)).toEqual([]);
  });

  it("gives one tensor's values", async () => {
    const file = await openQuantised(EMBEDDED, "Q4_K");
    for (const name of ["blk.1.ffn_down.weight", "output_norm.weight"]) {
      expect(await decodedValues(file.path, name)).toEqual(file.decodeRows(file.tensor(name)));
    }
  });

  it("says in a line what it cannot read", async () => {
    const text = join(scratch, "text.gguf");
    writeFileSync(text, "hello, I am text");
    expect(await complaint(decodedHashes(join(scratch, "none.gguf")))).toMatch(/none\.gguf: .*No such file/);
    expect(await complaint(decodedHashes(text))).toMatch(/is not a GGUF file that llama\.cpp can read/);
    expect(await complaint(decodedValues(EMBEDDED, "blk.9.attn_q.weight"))).toMatch(/: has no tensor blk\.9\.attn_q/);
  });
});

/** Types of attn_q, attn_v and ffn_down in each of the four layers. */
const RECIPES: Readonly<Record<string, readonly [attnQ: string, attnV: string, ffnDown: string]>> = {
  Q3_K_S: ["Q3_K Q3_K Q3_K Q3_K", "Q3_K Q3_K Q3_K Q3_K", "Q3_K Q3_K Q3_K Q3_K"],
  Q3_K_M: ["Q3_K Q3_K Q3_K Q3_K", "Q5_K Q5_K Q4_K Q4_K", "Q4_K Q4_K Q4_K Q4_K"],
  Q3_K_L: ["Q3_K Q3_K Q3_K Q3_K", "Q5_K Q5_K Q5_K Q5_K", "Q5_K Q5_K Q5_K Q5_K"],
  Q4_K_S: ["Q4_K Q4_K Q4_K Q4_K", "Q5_K Q5_K Q5_K Q5_K", "Q4_K Q4_K Q4_K Q4_K"],
  Q4_K_M: ["Q4_K Q4_K Q4_K Q4_K", "Q4_K Q4_K Q6_K Q6_K", "Q4_K Q4_K Q6_K Q6_K"],
  Q5_K_S: ["Q5_K Q5_K Q5_K Q5_K", "Q5_K Q5_K Q5_K Q5_K", "Q5_K Q5_K Q5_K Q5_K"],
  Q5_K_M: ["Q5_K Q5_K Q5_K Q5_K", "Q5_K Q5_K Q6_K Q6_K", "Q5_K Q5_K Q6_K Q6_K"],
};

describe("recipes, as llama.cpp ships them", () => {
  it.each(Object.entries(RECIPES))("%s", async (recipe, types) => {
    const file = await openQuantised(EMBEDDED, recipe);
    expect(["attn_q", "attn_v", "ffn_down"].map((part) => typesOf(file, part).join(" "))).toEqual(types);
    expect(typesOf(file, "token_embd")).toEqual(["Q6_K"]);
    expect(fallenBack(file, recipe)).toEqual([]);
  });

  it("IQ4_XS without an importance matrix; its blocks are ggml's alone", async () => {
    const path = await quantised(EMBEDDED, "IQ4_XS");
    expect((await decodedHashes(path)).get("blk.0.attn_q.weight")?.type).toBe("iq4_xs");
    expect(await complaint(GgufFile.open(path))).toMatch(/has block type 23, which has no decoder here; requantise/);
  });
});

describe("rows that do not divide into blocks", () => {
  /** ffn_down has rows of 256, all others of `embd`. */
  const model = (embd: number) => syntheticLlamaFile({ embd, ffn: 256, layers: 1 });
  const parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"];
  const narrow = new Set(["token_embd.weight", ...parts.map((part) => `blk.0.${part}.weight`)]);

  it.each([
    // as llama.cpp replaces super-blocks: Q4_K by Q5_0, Q6_K by Q8_0
    ["Q4_K", 96, 256, "Q5_0"],
    ["Q6_K", 96, 256, "Q8_0"],
    ["Q8_0", 48, 32, "F16"],
  ])("%s with rows of %i", async (type, columns, block, instead) => {
    const fell = fallenBack(await openQuantised(model(columns), type), type);
    expect(new Set(fell.map(({ name }) => name))).toEqual(narrow);
    for (const each of fell) expect(each).toMatchObject({ type: instead, columns, block });
  });

  it("none where they do, and all of a recipe that are not of its super-blocks", async () => {
    expect(fallenBack(await openQuantised(model(96), "Q4_0"), "Q4_0")).toEqual([]);
    const file = await openQuantised(model(96), "Q4_K_M");
    const fell = fallenBack(file, "q4_k_m");
    expect(new Set(fell.map(({ name }) => name))).toEqual(narrow);
    expect(new Set(fell.map(({ type }) => type))).toEqual(new Set(["Q5_0", "Q8_0"]));
    expect(file.tensor("blk.0.ffn_down.weight").type.elements).toBe(256);
  });

  it("a matrix of another type than asked for is told without such a reason", async () => {
    const file = await openQuantised(EMBEDDED, "Q8_0");
    const other = fallenBack(file, "Q4_0");
    expect(other).toHaveLength(29);
    expect(other[0]).toMatchObject({ type: "Q8_0", block: null });
  });
});
