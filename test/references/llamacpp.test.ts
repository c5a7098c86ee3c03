/** llama.cpp's dumps are whole and what they claim to be; what cannot work is said in one line. */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type Dump, type DumpTensor, dumpSchema } from "../../references/dump-schema.ts";
import { dumpLlamaCpp, type LlamaCppDump, llamaCppPrograms, quantizeModel } from "../../references/llamacpp/dump.ts";
import { type MapRule, mapSchema } from "../../references/maps/map-schema.ts";
import { GgufFile } from "../../src/model/gguf.ts";
import { openModel } from "../../src/model/model.ts";
import { InputError } from "../../src/trace/errors.ts";
import { f32 } from "../support/gguf-builder.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";

const ROOT = join(import.meta.dirname, "../..");
const MODEL = join(ROOT, "models/faultline-tiny-f16.gguf");
const map = mapSchema.parse(JSON.parse(readFileSync(join(ROOT, "references/maps/llama.cpp.json"), "utf8")));
const scratch = mkdtempSync(join(tmpdir(), "faultline-test-"));
let folders = 0;
const newFolder = () => join(scratch, `${folders++}`);

async function dumpOf(options: Partial<LlamaCppDump>): Promise<{ dump: Dump; folder: string }> {
  const folder = newFolder();
  const standard = { model: MODEL, steps: [[1, 2, 3]], greedy: 0, exact: false, weights: false, logitsOnly: false };
  await dumpLlamaCpp({ ...standard, threads: 1, folder, ...options });
  return { dump: dumpSchema.parse(JSON.parse(readFileSync(join(folder, "dump.json"), "utf8"))), folder };
}

/** A little-endian f32 array of numpy's. */
function readNpy(file: string): { shape: number[]; values: Float32Array } {
  const bytes = readFileSync(file);
  const start = 10 + bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", 10, start);
  expect(header).toContain("'descr': '<f4', 'fortran_order': False");
  const shape = [...(/\(([^)]*)\)/.exec(header)?.[1] ?? "").matchAll(/\d+/g)].map(Number);
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length));
  expect(values.length).toBe(shape.reduce((a, b) => a * b, 1));
  return { shape, values };
}

const pattern = (text: string) =>
  new RegExp(`^${text.replace(/[.]/g, "\\.").replace("{N}", "(?<layer>\\d+)").replace("*", "(?<rest>.*)")}$`);

/** The tap that a rule gives a tensor, or undefined where the rule does not take it. */
function tapBy(rule: MapRule, tensor: DumpTensor): string | undefined {
  const matches = [pattern(rule.name).exec(tensor.name), pattern(rule.weight ?? "*").exec(tensor.weight)];
  if (matches.includes(null) || (rule.op !== undefined && rule.op !== tensor.op)) return undefined;
  const groups = Object.assign({}, ...matches.toReversed().map((match) => match?.groups)) as Record<string, string>;
  return rule.tap.replace("{N}", groups.layer ?? matches[1]?.groups?.layer ?? "").replace("*", groups.rest ?? "");
}

const tapOf = (tensor: DumpTensor) => map.rules.map((rule) => tapBy(rule, tensor)).find((tap) => tap !== undefined);

/** Every tap of every step, and what neither a rule nor the list of ignored names knows. */
function read(dump: Dump): { taps: string[]; unknown: string[] } {
  const computed = dump.tensors.filter(({ op }) => op !== "WEIGHT");
  const unknown = computed.filter(
    (t) => tapOf(t) === undefined && !map.ignore.some((name) => pattern(name).test(t.name)),
  );
  const taps = computed.flatMap((tensor) => (tapOf(tensor) === undefined ? [] : `${tensor.step} ${tapOf(tensor)}`));
  return { taps: [...new Set(taps)].sort(), unknown: unknown.map(({ name, op }) => `${name} ${op}`) };
}

const everyTap = async (model: string, steps: number) =>
  (await openModel(model)).graph
    .flatMap(({ op }) => Array.from({ length: steps }, (_, step) => `${step} ${op.tap}`))
    .sort();

const firstOfLargest = (row: Float32Array) => row.indexOf(row.reduce((a, b) => Math.max(a, b)));

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

beforeAll(async () => {
  await llamaCppPrograms();
});
afterAll(() => rmSync(scratch, { recursive: true }));

describe("a dump of the embedded model", () => {
  it("has every tap of the prefill, of given steps and of greedy ones", async () => {
    const progress: string[] = [];
    const onProgress = (done: number, total: number) => progress.push(`${done}/${total}`);
    const { dump, folder } = await dumpOf({ steps: [[1, 2, 3], [7, 8], [9]], greedy: 2, onProgress });
    expect(read(dump)).toEqual({ taps: await everyTap(MODEL, 5), unknown: [] });
    expect(dump.steps.map((step) => step.pos_start)).toEqual([0, 3, 5, 6, 7]);
    expect(progress).toEqual(["1/5", "2/5", "3/5", "4/5", "5/5"]);
    const logits = dump.tensors
      .filter(({ name }) => name === "result_output")
      .map(({ file }) => readNpy(join(folder, file)));
    expect(logits.map(({ shape }) => shape)).toEqual([[3, 2048], [2, 2048], [2048], [2048], [2048]]);
    const chosen = logits.slice(2, 4).map(({ values }) => [firstOfLargest(values)]);
    expect(dump.steps.slice(3).map(({ tokens }) => tokens)).toEqual(chosen);
    expect(new Set(dump.tensors.map(({ file }) => file)).size).toBe(readdirSync(folder).length - 1);
  });

  it("says what products were computed in: f16 activations as shipped, f32 where exact", async () => {
    const [shipped, exact] = [await dumpOf({}), await dumpOf({ exact: true })];
    const dtypes = ({ dump }: { dump: Dump }) => [
      ...new Set(dump.tensors.filter(({ op, weight }) => op === "MUL_MAT" && weight !== "").map(({ dtype }) => dtype)),
    ];
    expect(dtypes(shipped)).toEqual(["f16"]);
    expect(dtypes(exact)).toEqual(["f32"]);
    expect(exact.dump.producer.settings).toMatchObject({ exact: true, flash_attention: false, kv: "f32", threads: 1 });
    expect(readdirSync(exact.folder).filter((file) => !file.endsWith(".npy"))).toEqual(["dump.json"]);
  });

  it("has only logits where only they are wanted, and the same bits", async () => {
    const [all, few] = [await dumpOf({ greedy: 2 }), await dumpOf({ greedy: 2, logitsOnly: true })];
    expect(few.dump.tensors.map(({ name }) => name)).toEqual(Array(3).fill("result_output"));
    const bytes = ({ dump, folder }: { dump: Dump; folder: string }) =>
      dump.tensors.filter(({ name }) => name === "result_output").map(({ file }) => readFileSync(join(folder, file)));
    expect(bytes(few)).toEqual(bytes(all));
  });
});

it("a model with biases, its own head and quantised blocks has every tap; its weights decode as ours do", async () => {
  const shape = { embd: 256, heads: 8, kvHeads: 2, ffn: 512, layers: 2 };
  const model = syntheticLlamaFile({ ...shape, type: "Q4_K", biases: true, untied: true });
  const { dump, folder } = await dumpOf({ model, greedy: 1, weights: true });
  expect(read(dump)).toEqual({ taps: await everyTap(model, 2), unknown: [] });
  expect(new Set(dump.tensors.map(({ dtype }) => dtype))).toEqual(new Set(["q4_k", "q8_k", "f32"]));
  const file = await GgufFile.open(model);
  const weights = dump.tensors.filter(({ op }) => op === "WEIGHT");
  expect(weights.map(({ weight }) => weight)).toEqual([...file.tensors.keys()]);
  for (const tensor of weights) {
    const { shape, values } = readNpy(join(folder, tensor.file));
    expect(tapOf(tensor)).toBe(`weight:${tensor.weight}`);
    expect(shape).toEqual(file.tensor(tensor.weight).shape);
    expect(
      Buffer.compare(Buffer.from(values.buffer), Buffer.from(file.decodeRows(file.tensor(tensor.weight)).buffer)),
    ).toBe(0);
  }
});

describe("the quantiser", () => {
  it.each("F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL".split(" "))(
    "makes %s",
    async (type) => {
      const output = join(scratch, `${type}.gguf`);
      await quantizeModel(MODEL, output, type);
      const matrices = [...(await GgufFile.open(output)).tensors.values()].filter(({ shape }) => shape.length === 2);
      expect(matrices.length).toBe(29);
      expect(new Set(matrices.map((tensor) => tensor.type.name))).toEqual(new Set([type]));
    },
  );

  it("says what it cannot do, and leaves nothing behind", async () => {
    const output = join(scratch, "nothing.gguf");
    expect(await complaint(quantizeModel(MODEL, output, "q9"))).toMatch(/^q9: no such block type; there are bf16 f16/);
    expect(await complaint(quantizeModel(join(scratch, "none.gguf"), output, "q4_0"))).toMatch(/No such file/);
    expect(readdirSync(scratch).filter((file) => file.startsWith("nothing"))).toEqual([]);
  });
});

describe("what cannot be dumped", () => {
  const broken = (bytes: Uint8Array) => {
    const file = join(scratch, `broken-${folders++}.gguf`);
    writeFileSync(file, bytes);
    return file;
  };
  const whole = readFileSync(MODEL);
  const cases: readonly (readonly [string, Partial<LlamaCppDump>, RegExp])[] = [
    ["a file that is not there", { model: "none.gguf" }, /^none\.gguf: .*No such file/],
    ["a file that is no GGUF", { model: broken(Buffer.from("hello, I am text")) }, /is not a GGUF file/],
    ["a header cut short", { model: broken(whole.subarray(0, 4000)) }, /is not a GGUF file/],
    ["data cut short", { model: broken(whole.subarray(0, 4_000_000)) }, /data is not within the file bounds/],
    ["data cut short, exact", { model: broken(whole.subarray(0, 4_000_000)), exact: true }, /ends inside blk\.\d/],
    ["a token beyond the vocabulary", { steps: [[1], [2048]] }, /^token 2048 is not in the model's vocabulary of 2048/],
    ["a folder in use", { folder: scratch }, /holds something already/],
  ];
  it.each(cases)("%s", async (_, options, message) => {
    const folder = options.folder ?? newFolder();
    expect(await complaint(dumpOf({ folder, ...options }))).toMatch(message);
    const left = existsSync(folder) ? readdirSync(folder).filter((file) => /dump\.json|exact/.test(file)) : [];
    expect(left).toEqual([]);
  });

  it("a program that breaks down is one line as well", async () => {
    const model = syntheticLlamaFile({ metadata: { "llama.attention.layer_norm_rms_epsilon": f32(-1) } });
    const message = await complaint(dumpOf({ model, exact: true }));
    expect(message).toMatch(
      /^llama\.cpp broke down \(SIGABRT\) in .*: ops\.cpp:\d+: GGML_ASSERT\(eps >= 0\.0f\) failed$/,
    );
    expect(existsSync(join(scratch, `${folders - 1}`, "dump.json"))).toBe(false);
    expect(existsSync(join(scratch, `${folders - 1}`, "exact.gguf"))).toBe(false);
  });
});

describe("what cannot be built", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  /** A checkout of llama.cpp with these files. */
  const checkout = (files: Readonly<Record<string, string>>) => {
    const folder = newFolder();
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), content);
    }
    mkdirSync(folder, { recursive: true });
    return folder;
  };
  const headers = { "include/llama.h": "struct llama_context_params {};", "ggml/include/ggml.h": "" };
  const libraries = { "build/bin/libllama.so": "", "build/bin/libggml.so": "", "build/bin/libggml-base.so": "" };

  it.each([
    ["a folder that is not there", "none", /^llama\.cpp: none: is not a folder; --llama-cpp wants/],
    ["a folder without headers", checkout({}), /: no llama\.h in .*include; --llama-cpp wants/],
    ["headers without libraries", checkout(headers), /: no libllama\.so or \.dylib in .*cmake --build/],
    ["another version", checkout({ ...headers, ...libraries }), /does not fit; versions from b6845 .*error:/],
  ])("%s", async (_, llamaCpp, message) => {
    expect(await complaint(llamaCppPrograms({ llamaCpp }))).toMatch(message);
  });

  it("no compiler, by CXX and by PATH", async () => {
    vi.stubEnv("CXX", "no-such-compiler");
    expect(await complaint(llamaCppPrograms())).toMatch(
      /no C\+\+ compiler named no-such-compiler; install one .*g\+\+/,
    );
    vi.stubEnv("CXX", "");
    vi.stubEnv("PATH", pathWith("bash", "dirname"));
    expect(await complaint(llamaCppPrograms())).toMatch(/no C\+\+ compiler; install one/);
  });

  it("nothing to fetch llama.cpp with", async () => {
    vi.stubEnv("FAULTLINE_CACHE", newFolder());
    vi.stubEnv("PATH", pathWith("bash", "dirname", "c++", "env"));
    expect(await complaint(llamaCppPrograms())).toMatch(
      /: npm is missing, and llama\.cpp is fetched with it; install it/,
    );
  });

  /** A PATH that has these programs and no others. */
  function pathWith(...programs: readonly string[]): string {
    const folder = newFolder();
    mkdirSync(folder);
    for (const program of programs) {
      const { stdout } = spawnSync("sh", ["-c", `command -v ${program}`], { encoding: "utf8" });
      symlinkSync(stdout.trim(), join(folder, program));
    }
    return folder;
  }
});
