/** Files that lie: every one is refused with a ModelError, at once and without taking memory for what it claims to hold. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ModelError } from "../../src/model/errors.ts";
import { GgufFile } from "../../src/model/gguf.ts";
import { readGgufMetadata } from "../../src/model/gguf-metadata.ts";
import { openModel } from "../../src/model/model.ts";
import { tokenizerFromMetadata } from "../../src/model/tokenizer.ts";
import {
  f32,
  f32Tensor,
  type GgufSpec,
  ggufBytes,
  type MetadataValue,
  type TensorSpec,
  text,
  u32,
} from "../support/gguf-builder.ts";
import { type SyntheticLlama, syntheticLlama } from "../support/synthetic-llama.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-hostile-"));
afterAll(() => rmSync(folder, { recursive: true }));

const TINY: SyntheticLlama = { embd: 8, heads: 2, kvHeads: 1, ffn: 8, layers: 1, vocab: 8, context: 16 };
const tiny = (metadata: Record<string, MetadataValue> = {}) => syntheticLlama({ ...TINY, metadata });
const without = (spec: GgufSpec, key: string): GgufSpec => ({
  ...spec,
  metadata: Object.fromEntries(Object.entries(spec.metadata).filter(([name]) => name !== key)),
});
const withTensor = (name: string, change: Partial<TensorSpec>): GgufSpec => {
  const spec = tiny();
  return { ...spec, tensors: spec.tensors.map((each) => (each.name === name ? { ...each, ...change } : each)) };
};

function write(bytes: Uint8Array): string {
  const path = join(folder, "hostile.gguf");
  writeFileSync(path, bytes);
  return path;
}

const u32Bytes = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer);
const u64Bytes = (...values: bigint[]) => Buffer.from(BigUint64Array.from(values).buffer);
const raw = (typeId: number, ...parts: Uint8Array[]): MetadataValue => ({
  type: "raw",
  typeId,
  value: Buffer.concat(parts),
});
const u64 = (value: bigint) => raw(10, u64Bytes(value));
/** An array type `depth` deep around nothing. */
const nested = (depth: number) => {
  const level = Buffer.concat([u32Bytes(9), u64Bytes(1n)]);
  return raw(9, Buffer.alloc(depth * level.length, level), u32Bytes(4), u64Bytes(0n));
};

interface Outcome {
  readonly path: "openModel" | "GgufFile.open" | "readGgufMetadata";
  readonly error: unknown;
}

/** What each of the three ways into a file makes of it. */
async function attempt(file: string): Promise<Outcome[]> {
  const ways: readonly [Outcome["path"], () => Promise<void> | void][] = [
    ["openModel", async () => (await openModel(file)).file.close()],
    ["GgufFile.open", async () => (await GgufFile.open(file)).close()],
    ["readGgufMetadata", () => void readGgufMetadata(file)],
  ];
  const outcomes: Outcome[] = [];
  for (const [path, open] of ways) {
    try {
      await open();
      outcomes.push({ path, error: null });
    } catch (error) {
      outcomes.push({ path, error });
    }
  }
  return outcomes;
}

/** Success or a ModelError of one line, whichever way the file is opened. */
function expectNamed(outcomes: readonly Outcome[], note: string): void {
  for (const { path, error } of outcomes) {
    if (error === null) continue;
    if (!(error instanceof ModelError)) throw new Error(`${path}, ${note}: ${String(error)}`, { cause: error });
    expect(error.message.split("\n").length, `${path}, ${note}: ${error.message}`).toBe(1);
  }
}

async function expectRefused(bytes: Uint8Array, pattern: RegExp): Promise<void> {
  const outcomes = await attempt(write(bytes));
  expectNamed(outcomes, String(pattern));
  const message = outcomes[0]?.error instanceof ModelError ? outcomes[0].error.message : "accepted";
  expect(message).toMatch(pattern);
}

const valid = ggufBytes(tiny());
const headerBytes = valid.indexOf("output_norm.weight") + "output_norm.weight".length + 4 + 8 + 4 + 8;

/** A copy of the valid file with bytes replaced. */
function patched(at: number, bytes: Uint8Array): Buffer {
  const copy = Buffer.from(valid);
  copy.set(bytes, at);
  return copy;
}
const endOf = (key: string) => valid.indexOf(key) + key.length;

describe("the file as a whole", () => {
  it("opens when nothing is wrong with it", async () => {
    expect(headerBytes).toBeLessThan(5000);
    for (const { error } of await attempt(write(valid))) expect(error).toBeNull();
  });

  const cases: readonly [name: string, bytes: () => Uint8Array, message: RegExp][] = [
    ["an empty file", () => new Uint8Array(0), /not a GGUF file \(0 bytes/],
    ["three bytes", () => Buffer.from("GGU"), /not a GGUF file/],
    ["the magic alone", () => Buffer.from("GGUF"), /GGUF/],
    ["text", () => Buffer.from("hello, I am a model, honestly\n"), /not a GGUF file.*"hell"/],
    ["zeros", () => new Uint8Array(4096), /not a GGUF file/],
    ["version 0", () => patched(4, u32Bytes(0)), /version 0/],
    ["version 1", () => patched(4, u32Bytes(1)), /version 1/],
    ["version 4", () => patched(4, u32Bytes(4)), /version 4/],
    ["a big-endian file", () => patched(4, Uint8Array.of(0, 0, 0, 3)), /version 50331648.*big-endian/],
    [
      "no tensors and no vocabulary",
      () => ggufBytes({ metadata: {}, tensors: [] }),
      /neither tensors nor a vocabulary/,
    ],
  ];
  it.each(cases)("refuses %s", async (_name, bytes, message) => expectRefused(bytes(), message));

  it("refuses a folder and a missing file", async () => {
    for (const path of [folder, join(folder, "none.gguf"), join(folder, "a\0b.gguf"), ""]) {
      const outcomes = await attempt(path);
      expectNamed(outcomes, path);
      for (const { error } of outcomes) expect(error).toBeInstanceOf(ModelError);
    }
  });

  it("refuses a cut at every byte of the header, and amid the data", async () => {
    const lengths = [...Array(headerBytes).keys(), headerBytes, headerBytes + 1, valid.length - 33, valid.length - 64];
    for (const length of lengths) {
      const outcomes = await attempt(write(valid.subarray(0, length)));
      expectNamed(outcomes, `${length} bytes`);
      // The metadata end before the tensor table does.
      for (const { path, error } of outcomes) {
        if (path !== "readGgufMetadata") expect(error, `${path}, ${length} bytes`).toBeInstanceOf(ModelError);
      }
    }
  });

  it("refuses a cut at every byte of a vocabulary without tensors", async () => {
    const bytes = ggufBytes({ ...tiny(), tensors: [] });
    const end = bytes.indexOf("tokenizer.ggml.merges") + "tokenizer.ggml.merges".length + 4 + 4 + 8;
    for (let length = 0; length < end; length++) {
      const outcomes = await attempt(write(bytes.subarray(0, length)));
      expectNamed(outcomes, `${length} bytes`);
      for (const { path, error } of outcomes) expect(error, `${path}, ${length} bytes`).toBeInstanceOf(ModelError);
    }
  });

  it("never gives anything but success or a ModelError for flipped bytes", async () => {
    const byte = fc.record({ at: fc.nat(headerBytes - 1), value: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(byte, { minLength: 1, maxLength: 4 }), async (changes) => {
        const copy = Buffer.from(valid);
        for (const { at, value } of changes) copy[at] = value;
        const path = write(copy);
        expectNamed(await attempt(path), JSON.stringify(changes));
      }),
      { numRuns: 1500, seed: 7 },
    );
  });

  it("never gives anything but success or a ModelError for numbers blown up", async () => {
    const extreme = fc.constantFrom(0n, 1n, 0xffn, 0x7fffffffn, 0x80000000n, 0xffffffffn, 1n << 53n, 1n << 63n, ~0n);
    const change = fc.record({ at: fc.nat(headerBytes - 8), value: extreme, wide: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(change, async ({ at, value, wide }) => {
        const copy = Buffer.from(valid);
        if (wide) copy.writeBigUInt64LE(BigInt.asUintN(64, value), at);
        else copy.writeUInt32LE(Number(BigInt.asUintN(32, value)), at);
        expectNamed(await attempt(write(copy)), `${value} at ${at}, ${wide ? 8 : 4} bytes`);
      }),
      { numRuns: 1500, seed: 11 },
    );
  });
});

describe("what the header claims", () => {
  let before = 0;
  const peak = () => process.resourceUsage().maxRSS / 1024;
  beforeAll(async () => {
    await attempt(write(valid)); // the library is loaded, its first buffers are there
    before = peak();
  });
  afterAll(() => {
    expect(peak() - before, "MiB of memory that lies in headers cost").toBeLessThan(200);
  });

  const BIG = [1n << 20n, 10_000_000n, 1n << 32n, 1n << 40n, 1n << 63n, (1n << 64n) - 1n];
  const counts: readonly [what: string, at: number][] = [
    ["tensors", 8],
    ["keys", 16],
    ["bytes of a key", 24],
    ["bytes of a string", endOf("general.architecture") + 4],
    ["elements of an array of strings", endOf("tokenizer.ggml.tokens") + 8],
    ["elements of an array of numbers", endOf("tokenizer.ggml.token_type") + 8],
    ["bytes of a string in an array", endOf("tokenizer.ggml.tokens") + 16],
    ["bytes of a tensor's name", valid.indexOf("token_embd.weight") - 8],
  ];
  const claims = counts.flatMap(([what, at]) => BIG.map((count) => [count, what, at] as const));
  it.each(claims)("refuses %s %s", async (count, _what, at) => {
    const started = performance.now();
    await expectRefused(patched(at, u64Bytes(count)), /damaged|cut short|header|metadata/);
    expect(performance.now() - started).toBeLessThan(2000);
  });

  const shapes: readonly [name: string, change: Partial<TensorSpec>, message: RegExp][] = [
    ["2^40 x 2^40", { shape: [2 ** 40, 2 ** 40] }, /hostile.gguf/],
    ["2^30 x 2^30", { shape: [2 ** 30, 2 ** 30] }, /shape \[1073741824, 1073741824\]/],
    ["2^63", { shape: [2 ** 63] }, /hostile.gguf/],
    ["2^32 rows", { shape: [2 ** 32, 8] }, /ends at byte/],
    ["a zero axis", { shape: [0, 8] }, /shape \[0, 8\]/],
    ["zero columns", { shape: [8, 0] }, /shape \[8, 0\]/],
    ["no axis", { shape: [] }, /shape \[\]/],
    ["5 axes", { shape: [1, 1, 1, 8, 8] }, /shape \[1, 1, 1, 8, 8\]/],
    ["9 axes", { shape: [1, 1, 1, 1, 1, 1, 1, 8, 8] }, /hostile.gguf/],
    ["an offset past the end", { offset: 1n << 40n }, /ends at byte/],
    ["an offset of 2^63", { offset: 1n << 63n }, /ends at byte/],
    ["an offset of 2^64 - 32", { offset: (1n << 64n) - 32n }, /ends at byte/],
    ["an unaligned offset", { offset: 4n }, /not a multiple of 32/],
    ["IQ2_XXS blocks", { typeId: 16 }, /block type 16/],
    ["blocks of a retired type", { typeId: 31 }, /block type 31/],
    ["blocks of no type", { typeId: 999 }, /block type 999/],
    ["rows that are no whole blocks", { typeId: 12 }, /do not divide into Q4_K blocks of 256/],
    ["another name", { name: "token_embd.weigth" }, /tensor token_embd.weight is missing/],
    ["a name that stands twice", { name: "output_norm.weight" }, /output_norm.weight stands twice/],
    ["a transposed shape", { shape: [4, 16] }, /shape \[4, 16\]/],
  ];
  it.each(shapes)("refuses a tensor with %s", async (_name, change, message) =>
    expectRefused(ggufBytes(withTensor("token_embd.weight", change)), message),
  );

  const alignments: readonly [name: string, value: MetadataValue][] = [
    ["0", u32(0)],
    ["7", u32(7)],
    ["48", u32(48)],
    ["2^31", u32(2 ** 31)],
    ["2^32", u64(1n << 32n)],
    ["2^63", u64(1n << 63n)],
    ["-32", raw(5, Buffer.from(Int32Array.of(-32).buffer))],
    ["NaN", f32(Number.NaN)],
    ["a text", text("many")],
    ["an array", nested(1)],
  ];
  it.each(alignments)("refuses an alignment of %s", async (_name, value) =>
    expectRefused(ggufBytes(tiny({ "general.alignment": value })), /alignment|ends at byte/),
  );

  it("takes an alignment of 64", async () => {
    const spec = { ...tiny({ "general.alignment": u32(64) }), alignment: 64 };
    for (const { error } of await attempt(write(ggufBytes(spec)))) expect(error).toBeNull();
  });

  it("refuses a tensor of one name twice", async () => {
    const spec = tiny();
    const [first] = spec.tensors;
    if (first === undefined) throw new Error("no tensor");
    await expectRefused(ggufBytes({ ...spec, tensors: [...spec.tensors, first] }), /token_embd.weight stands twice/);
  });

  const values: readonly [name: string, value: MetadataValue][] = [
    ["value type 13", raw(13, u64Bytes(0n))],
    ["value type 2^32 - 1", raw(2 ** 32 - 1, u64Bytes(0n))],
    ["an array of value type 99", raw(9, u32Bytes(99), u64Bytes(1n), u64Bytes(1n))],
    ["an array nested 10 deep", nested(10)],
  ];
  it.each(values)("refuses %s", async (_name, value) =>
    expectRefused(ggufBytes(tiny({ extra: value })), /hostile.gguf/),
  );

  it("does not overflow the stack for arrays nested 200000 deep", async () => {
    for (const { error } of await attempt(write(ggufBytes(tiny({ extra: nested(200_000) }))))) {
      expect(error).toBeInstanceOf(ModelError);
    }
  });

  it("survives keys that JavaScript knows", async () => {
    const names = ["__proto__", "constructor", "toString", "version", "tensor_count", "kv_count", ""];
    const metadata = Object.fromEntries(names.map((name) => [name, nested(1)]));
    const bytes = ggufBytes(tiny({ ...metadata, ["__proto__"]: nested(1) }));
    for (const { path, error } of await attempt(write(bytes))) expect(error, path).toBeNull();
  });

  it("takes no memory for a rope table of a terabyte that is only claimed", async () => {
    const spec = tiny();
    const length = 2 ** 32;
    const factors = { ...f32Tensor("rope_freqs.weight", [length], Float32Array.of(1, 1)), offset: undefined };
    const { offset: _offset, ...tensor } = factors;
    const path = write(ggufBytes({ ...spec, tensors: [...spec.tensors, tensor] }));
    truncateSync(path, 2 ** 40); // sparse: the blocks do not exist
    const outcomes = await attempt(path);
    truncateSync(path, 0);
    expectNamed(outcomes, "sparse");
    expect(String(outcomes[0]?.error)).toMatch(/rope_freqs.weight/);
  });
});

describe("metadata that contradict the model", () => {
  const set = (key: string, value: MetadataValue): GgufSpec => tiny({ [key]: value });
  const key = (name: string, value: MetadataValue) => set(`llama.${name}`, value);
  const cases: readonly [name: string, spec: GgufSpec, message: RegExp][] = [
    ["no architecture", without(tiny(), "general.architecture"), /architecture not named/],
    ["an unknown architecture", set("general.architecture", text("mamba")), /architecture "mamba".*llama/],
    ["an architecture of JavaScript's", set("general.architecture", text("toString")), /architecture "toString"/],
    ["an architecture that is a number", set("general.architecture", u32(1)), /architecture 1/],
    ["an architecture that is a list", set("general.architecture", nested(1)), /architecture \[/],
    ["8 experts", key("expert_count", u32(8)), /8 experts/],
    ["block_count 2", key("block_count", u32(2)), /blk\.1\..* is missing|block_count/],
    ["block_count 10^9", key("block_count", u32(1_000_000_000)), /block_count/],
    ["block_count 2^63", key("block_count", u64(1n << 63n)), /block_count/],
    ["block_count 0.5", key("block_count", f32(0.5)), /block_count/],
    ["block_count -1", key("block_count", raw(5, Buffer.from(Int32Array.of(-1).buffer))), /block_count is -1/],
    ["block_count as a text", key("block_count", text("1")), /block_count is "1"/],
    ["embedding_length 16", key("embedding_length", u32(16)), /shape|do not fit/],
    ["embedding_length 0", key("embedding_length", u32(0)), /shape|do not fit/],
    ["embedding_length 2^63", key("embedding_length", u64(1n << 63n)), /embedding_length is 9/],
    ["feed_forward_length 9", key("feed_forward_length", u32(9)), /ffn_gate.weight has shape/],
    ["feed_forward_length 0", key("feed_forward_length", u32(0)), /ffn_gate.weight has shape/],
    ["head_count 0", key("attention.head_count", u32(0)), /shape|do not fit/],
    ["head_count 3", key("attention.head_count", u32(3)), /shape|do not fit/],
    ["head_count 2.5", key("attention.head_count", f32(2.5)), /shape|do not fit|whole/],
    ["head_count 4", key("attention.head_count", u32(4)), /attn_q.weight has shape/],
    ["head_count_kv 0", key("attention.head_count_kv", u32(0)), /do not fit/],
    ["head_count_kv 2", key("attention.head_count_kv", u32(2)), /attn_k.weight has shape/],
    ["head_count_kv 4", key("attention.head_count_kv", u32(4)), /do not fit/],
    ["head_count per layer", key("attention.head_count", { type: "i32s", value: [2, 4] }), /a value per layer/],
    ["head_count of no layer", key("attention.head_count", { type: "i32s", value: [] }), /head_count/],
    ["head_count as texts", key("attention.head_count", { type: "strings", value: ["2", "2"] }), /head_count/],
    ["head_count as lists", key("attention.head_count", nested(1)), /head_count/],
    ["key_length 8", key("attention.key_length", u32(8)), /do not fit/],
    ["key_length 0", key("attention.key_length", u32(0)), /head size 0/],
    ["value_length 8", key("attention.value_length", u32(8)), /do not fit/],
    ["context_length 0", key("context_length", u32(0)), /context_length/],
    ["context_length missing", without(tiny(), "llama.context_length"), /context_length is missing/],
    ["context_length NaN", key("context_length", f32(Number.NaN)), /context_length is NaN/],
    [
      "rms epsilon missing",
      without(tiny(), "llama.attention.layer_norm_rms_epsilon"),
      /layer_norm_rms_epsilon is missing/,
    ],
    ["rms epsilon NaN", key("attention.layer_norm_rms_epsilon", f32(Number.NaN)), /epsilon is NaN/],
    ["rms epsilon infinite", key("attention.layer_norm_rms_epsilon", f32(Number.POSITIVE_INFINITY)), /epsilon is Inf/],
    ["rms epsilon negative", key("attention.layer_norm_rms_epsilon", f32(-1)), /epsilon is -1/],
    ["rope dimensions 3", key("rope.dimension_count", u32(3)), /dimension_count is 3/],
    ["rope dimensions 2", key("rope.dimension_count", u32(2)), /dimension_count is 2/],
    ["rope dimensions 0", key("rope.dimension_count", u32(0)), /dimension_count is 0/],
    ["rope base 0", key("rope.freq_base", f32(0)), /freq_base/],
    ["rope base NaN", key("rope.freq_base", f32(Number.NaN)), /freq_base is NaN/],
    ["an unknown rope scaling", key("rope.scaling.type", text("longrope")), /"longrope".*yarn/],
    ["a rope scaling that is a number", key("rope.scaling.type", u32(3)), /scaling.type is/],
    ["rope factors of the wrong length", syntheticLlama({ ...TINY, ropeFactors: Float32Array.of(1) }), /rope_freqs/],
    [
      "a vocabulary longer than the embedding",
      set("tokenizer.ggml.tokens", { type: "strings", value: [..."abcdefghi"] }),
      /9 tokens, but token_embd.weight has 8 rows/,
    ],
  ];
  it.each(cases)("refuses %s", async (_name, spec, message) => expectRefused(ggufBytes(spec), message));

  it("refuses tensors that the architecture has no place for", async () => {
    // No layers: those of the file would be left out.
    const { error } = (await attempt(write(ggufBytes(key("block_count", u32(0))))))[0] ?? {};
    expect(String(error)).toMatch(/tensors have no place in the llama architecture \(blk\.0\./);
  });

  it("takes what is only unusual: heads as a list of equals, names without a tokenizer", async () => {
    for (const spec of [
      key("attention.head_count", { type: "i32s", value: [2] }),
      key("block_count", u64(1n)),
      { ...tiny(), metadata: Object.fromEntries(Object.entries(tiny().metadata).filter(([k]) => !/^token/.test(k))) },
    ]) {
      for (const { error } of await attempt(write(ggufBytes(spec)))) expect(error).toBeNull();
    }
  });
});

describe("a tokenizer that is garbage", () => {
  const strings = (...value: string[]): MetadataValue => ({ type: "strings", value });
  const spm = {
    "tokenizer.ggml.model": text("llama"),
    "tokenizer.ggml.add_bos_token": { type: "bool", value: 0 },
  } as const;
  const floats = (length: number): MetadataValue => ({ type: "f32s", value: Array<number>(length).fill(0) });
  const cases: readonly [name: string, spec: GgufSpec, message: RegExp | null][] = [
    ["none", without(tiny(), "tokenizer.ggml.model"), /no tokenizer/],
    ["of an unknown kind", tiny({ "tokenizer.ggml.model": text("rwkv") }), /"rwkv"/],
    ["whose kind is a number", tiny({ "tokenizer.ggml.model": u32(1) }), /tokenizer.ggml.model/],
    ["with an unknown word split", tiny({ "tokenizer.ggml.pre": text("toString") }), /"toString"/],
    ["without tokens", without(tiny(), "tokenizer.ggml.tokens"), /no vocabulary/],
    ["with no token", tiny({ "tokenizer.ggml.tokens": strings() }), /no vocabulary/],
    ["whose tokens are numbers", tiny({ "tokenizer.ggml.tokens": floats(8) }), /tokens: an array/],
    ["whose tokens are a text", tiny({ "tokenizer.ggml.tokens": text("abc") }), /tokens: string/],
    ["with a token twice", tiny({ "tokenizer.ggml.tokens": strings(..."abcdefga") }), /"a" is token 0 and token 7/],
    ["without merges", without(tiny(), "tokenizer.ggml.merges"), /merges: missing/],
    ["whose merges are numbers", tiny({ "tokenizer.ggml.merges": floats(3) }), /merges: an array/],
    ["with too few scores", tiny({ ...spm, "tokenizer.ggml.scores": floats(7) }), /7 scores for 8 tokens/],
    ["with no scores", tiny({ ...spm }), /0 scores for 8 tokens/],
    ["whose scores are texts", tiny({ ...spm, "tokenizer.ggml.scores": strings("a") }), /scores: an array/],
    ["with too few types", tiny({ "tokenizer.ggml.token_type": { type: "i32s", value: [1] } }), /1 types for 8/],
    ["with bos outside", tiny({ "tokenizer.ggml.bos_token_id": u32(8) }), /bos_token_id: 8 is outside/],
    ["with eos 2^32 - 1", tiny({ "tokenizer.ggml.eos_token_id": u32(2 ** 32 - 1) }), /eos_token_id: 4294967295/],
    ["with eos 2^63", tiny({ "tokenizer.ggml.eos_token_id": u64(1n << 63n) }), /eos_token_id/],
    ["with bos as a text", tiny({ "tokenizer.ggml.bos_token_id": text("1") }), /bos_token_id/],
    [
      "whose merges are no pairs",
      tiny({ "tokenizer.ggml.merges": strings("", " ", "a", "ab", "a b c", "é", "\0", "x y") }),
      null,
    ],
    [
      "whose types are unknown",
      tiny({ "tokenizer.ggml.token_type": { type: "i32s", value: [9, -1, 7, 1, 1, 1, 1, 1] } }),
      null,
    ],
    [
      "whose scores are NaN",
      tiny({ ...spm, "tokenizer.ggml.scores": { type: "f32s", value: Array<number>(8).fill(Number.NaN) } }),
      null,
    ],
    [
      "that calls every token a byte",
      tiny({ "tokenizer.ggml.token_type": { type: "i32s", value: Array<number>(8).fill(6) } }),
      null,
    ],
  ];
  const TEXTS = ["", "\0", "hello world", "ab cd\n\t", "😀\u202e\u0000é", "\ud800", "!\"#$%&'", " ".repeat(1000)];
  it.each(cases)("%s", async (_name, spec, message) => {
    const metadata = readGgufMetadata(write(ggufBytes(spec)));
    const use = () => {
      const tokenizer = tokenizerFromMetadata(metadata);
      for (const each of TEXTS) tokenizer.decode(tokenizer.encode(each));
      for (const id of [0, 7]) tokenizer.piece(id);
    };
    try {
      use();
      expect(message).toBeNull();
    } catch (error) {
      expectNamed([{ path: "readGgufMetadata", error }], "tokenizer");
      if (message !== null) expect(String(error)).toMatch(message);
    }
  });

  it("encodes 100000 characters in seconds, in words and in one", () => {
    const tokenizer = tokenizerFromMetadata(
      readGgufMetadata(write(ggufBytes(syntheticLlama({ ...TINY, vocab: 260 })))),
    );
    for (const each of ["word ".repeat(20_000), "a".repeat(100_000), "😀".repeat(50_000), "\0".repeat(100_000)]) {
      const started = performance.now();
      expect(tokenizer.decode(tokenizer.encode(each))).toBe(each);
      expect(performance.now() - started).toBeLessThan(5000);
    }
  });
});
