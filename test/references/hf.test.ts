/** The HuggingFace reference, live: its dumps against the f64 oracle, through the map that the importer uses. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { dumpHuggingFace } from "../../references/hf/dump.ts";
import { traceHuggingFaceFolder } from "../../src/cli/references.ts";
import { compareTraces } from "../../src/compare/compare.ts";
import { openModel } from "../../src/model/model.ts";
import { ropeTable } from "../../src/model/rope.ts";
import { Oracle } from "../../src/oracle/oracle.ts";
import { readPrompt } from "../../src/run/prompt.ts";
import { traceModel } from "../../src/run/trace-model.ts";
import { Trace } from "../../src/trace/reader.ts";
import { cached } from "../support/cache.ts";
import { f32, f32Tensor, text, u32, writeGguf } from "../support/gguf-builder.ts";
import { readDump, readNpy, type TapValues } from "../support/hf-dump.ts";
import { normals } from "../support/random.ts";
import { type SyntheticLlama, syntheticLlama, syntheticLlamaFile } from "../support/synthetic-llama.ts";

const embedded = join(import.meta.dirname, "../../models/faultline-tiny-f16.gguf");
const hf = join(import.meta.dirname, "../../references/hf");
const scratch = () => mkdtempSync(join(tmpdir(), "faultline-hf-"));
const run = promisify(execFile);

/** u of f32, the largest relative error of one rounding. */
const U = 2 ** -24;
const PROMPT = Array.from({ length: 24 }, (_, i) => 1 + 7 * i);

beforeAll(() => cached("hf-python"));

function relL2(expected: ArrayLike<number>, actual: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  let [difference, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference += ((actual[i] ?? Number.NaN) - (expected[i] ?? Number.NaN)) ** 2;
    size += (expected[i] ?? 0) ** 2;
  }
  return Math.sqrt(difference / size);
}

/** Every tap of the model, in f64, keyed by step and tap. */
async function oracleTaps(file: string, steps: readonly { pos_start: number; tokens: number[] }[]) {
  const model = await openModel(file);
  const oracle = new Oracle(model);
  const taps = new Map<string, Float64Array>();
  steps.forEach(({ pos_start, tokens }, step) => {
    oracle.step(pos_start, tokens, (op, output) => taps.set(`${step} ${op.tap}`, output.data));
  });
  return { model, taps };
}

/**
 * Dumps the model and compares every tap. What is allowed: sums of K terms in f32 are off by about sqrt(K) u, a layer adds ten such
 * ops to one another like a random walk, and angles of up to 30 radians are rounded to f32 (rotation below).
 */
async function expectOracle(file: string, steps: number[][], greedy: number): Promise<void> {
  const folder = scratch();
  await dumpHuggingFace({ model: file, steps, greedy, folder });
  const { dump, taps } = readDump(folder, (await openModel(file)).parameters.headDim);
  const expected = await oracleTaps(file, dump.steps);
  const { layers, ffn } = expected.model.parameters;
  const allowed =
    Math.sqrt(ffn * 10 * layers) * U +
    rotation(Math.max(...dump.steps.map(({ pos_start, tokens }) => pos_start + tokens.length)));
  expect(taps.map(({ step, tap }) => `${step} ${tap}`).toSorted()).toEqual([...expected.taps.keys()].toSorted());
  for (const { step, tap, values } of taps) {
    const error = relL2(expected.taps.get(`${step} ${tap}`) ?? [], values);
    expect(error, `step ${step} ${tap}`).toBeLessThan(allowed);
  }
}

/**
 * How far rotations computed in f32 may turn wrongly, as a fraction of the vector. Frequencies are at most 1; each is a power, a
 * quotient and up to four more operations, the angle one product: 8 u of the position at most. Cosine, sine, the magnitude, two
 * products and a sum add 6 u.
 */
const rotation = (positions: number) => (8 * positions + 6) * U;

describe("a dump of the embedded model", () => {
  it("has every tap of every step, each within rounding of the oracle", async () => {
    await expectOracle(embedded, [PROMPT, [500], [7, 8]], 2);
  });

  it("says who made it, and feeds itself the likeliest token", async () => {
    const folder = scratch();
    const progress: number[][] = [];
    await dumpHuggingFace({
      ...{ model: embedded, steps: [[256, 10, 20]], greedy: 2, folder, logitsOnly: true },
      onProgress: (done, total) => progress.push([done, total]),
    });
    const { dump, taps } = readDump(folder, 32);
    expect(progress).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
    expect(taps.map(({ tap }) => tap)).toEqual(["logits", "logits", "logits"]);
    expect(dump.names).toBe("hf-llama");
    expect(dump.producer).toMatchObject({ name: "transformers", version: "5.23.0", device: "cpu", dtype: "f32" });
    expect(dump.producer.settings).toMatchObject({ attn_implementation: "eager", rope_type: "default", threads: 1 });
    const likeliest = ({ values }: TapValues) => {
      const last = values.subarray(-2048);
      return last.indexOf(Math.max(...last));
    };
    expect(dump.steps.slice(1).map(({ tokens }) => tokens)).toEqual(taps.slice(0, 2).map((tap) => [likeliest(tap)]));
    expect(dump.steps.map(({ pos_start }) => pos_start)).toEqual([0, 3, 4]);
  });
});

describe("what transformers' GGUF loader leaves out is put right", () => {
  const scaling = (type: string) => ({
    "llama.rope.scaling.type": text(type),
    "llama.rope.scaling.factor": f32(4),
    "llama.rope.scaling.original_context_length": u32(32),
  });
  const ropeFactors = Float32Array.of(1, 1, 1, 1.5, 2.7, 8, 8, 8);
  const models: Record<string, SyntheticLlama> = {
    "linear scaling": { metadata: scaling("linear") },
    "llama3's factors": { ropeFactors },
    "YaRN and a magnitude": { metadata: { ...scaling("yarn"), "llama.rope.scaling.attn_factor": f32(0.7) } },
  };
  it.each(Object.entries(models))("%s", async (_, options) => {
    const file = syntheticLlamaFile(options);
    const folder = scratch();
    await dumpHuggingFace({ model: file, steps: [PROMPT, [9]], greedy: 1, folder });
    const { parameters } = await openModel(file);
    const { dump, taps } = readDump(folder, parameters.headDim);
    const pairs = parameters.headDim / 2;
    for (const { step, tap, values } of taps.filter(({ tap }) => tap.endsWith("q_rope"))) {
      // Our tables turn the dump's own q, so that nothing but the rotation is compared.
      const q =
        taps.find((other) => other.step === step && other.tap === tap.replace("q_rope", "q_proj"))?.values ?? [];
      const rotated = (scaled: boolean) => {
        const rope = scaled
          ? parameters.rope
          : { ...parameters.rope, scaling: { type: "none" as const }, factors: null };
        const { pos_start, tokens } = dump.steps[step] ?? { pos_start: 0, tokens: [] };
        const { cos, sin } = ropeTable(rope, pos_start, tokens.length);
        return Float64Array.from(q, (x, i) => {
          const at = Math.floor(i / (2 * pairs * parameters.heads)) * pairs + (Math.floor(i / 2) % pairs);
          const partner = q[i ^ 1] ?? Number.NaN;
          return x * (cos[at] ?? Number.NaN) + (i % 2 === 0 ? -partner : partner) * (sin[at] ?? Number.NaN);
        });
      };
      expect(relL2(rotated(true), values)).toBeLessThan(rotation(PROMPT.length + 2));
      expect(relL2(rotated(false), values)).toBeGreaterThan(0.01);
    }
  });

  it("biases on some projections, a head of its own, a head size of its own", async () => {
    const spec = syntheticLlama({ biases: true, untied: true, headDim: 24 });
    const tensors = [
      ...spec.tensors.filter(({ name }) => !name.endsWith("attn_output.bias")),
      f32Tensor("blk.1.ffn_down.bias", [64], normals(5, 64)),
    ];
    await expectOracle(writeGguf(join(scratch(), "biased.gguf"), { ...spec, tensors }), [PROMPT], 1);
  });
});

describe("a HuggingFace folder", () => {
  it("gives the same bits as the GGUF it was made from, and cuts a prompt with its tokenizer", async () => {
    const model = join(scratch(), "folder");
    const { stdout } = await run(join(hf, "setup.sh"));
    const save = [
      "import sys; from pathlib import Path; import cpu_torch; cpu_torch.prepare(); from gguf_llama import load_gguf",
      "from transformers import LlamaConfig, LlamaForCausalLM",
      "loaded = load_gguf(Path(sys.argv[1]))[0]",
      "copy = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in loaded.config.to_dict().items() if k != 'quantization_config'}))",
      "copy.load_state_dict(loaded.state_dict())",
      "copy.save_pretrained(sys.argv[2])",
      "from tokenizers import Tokenizer, models, pre_tokenizers",
      "words = Tokenizer(models.WordLevel({'<unk>': 0, 'one': 5, 'two': 6}, unk_token='<unk>'))",
      "words.pre_tokenizer = pre_tokenizers.Whitespace()",
      "words.save(sys.argv[2] + '/tokenizer.json')",
    ].join("\n");
    await run(stdout.trim(), ["-c", save, embedded, model], { cwd: hf });
    writeFileSync(join(model, "tokenizer_config.json"), '{"tokenizer_class": "PreTrainedTokenizerFast"}');
    const folders = { gguf: scratch(), folder: scratch() };
    await dumpHuggingFace({ model: embedded, steps: [[6, 5, 6], [9]], greedy: 0, folder: folders.gguf });
    await dumpHuggingFace({ model, steps: [[9]], greedy: 0, folder: folders.folder, prompt: "two one two" });
    const [expected, actual] = [readDump(folders.gguf, 32), readDump(folders.folder, 32)];
    expect(actual.dump.prompt).toBe("two one two");
    expect(actual.dump.steps).toEqual(expected.dump.steps);
    expect(actual.taps).toEqual(expected.taps);
    expect(readNpy(join(folders.folder, "000000.npy")).shape).toEqual([3, 256]);

    // Imported without a GGUF beside it, the folder's trace is what our engine makes of the GGUF.
    const [theirs, ours] = [join(scratch(), "theirs.arrow"), join(scratch(), "ours.arrow")];
    const common = { steps: 1, capture: "full" as const, quiet: true };
    const summary = await traceHuggingFaceFolder({
      ...common,
      folder: model,
      prompt: { tokens: [6, 5, 6] },
      output: theirs,
    });
    const gguf = await openModel(embedded);
    const engine = { device: "auto" as const, dtype: "f32" as const, kvCache: true };
    const read = readPrompt(gguf, { tokens: [6, 5, 6] }, 1);
    await traceModel({ ...common, ...read, model: gguf, engine, version: "", output: ours });
    const traces = [await Trace.open(theirs), await Trace.open(ours)] as const;
    const { verdict, totals } = await compareTraces(...traces);
    for (const trace of traces) await trace.close();
    expect([summary.steps, verdict, totals.matched, totals.refused]).toEqual([2, "match", 142, 0]);
  });
});

describe("refusals are one line", () => {
  const folderWith = (config: string) => {
    const folder = scratch();
    writeFileSync(join(folder, "config.json"), config);
    return folder;
  };
  const withTensor = (name: string) => {
    const spec = syntheticLlama();
    return writeGguf(join(scratch(), "odd.gguf"), {
      ...spec,
      tensors: [...spec.tensors, f32Tensor(name, [64], new Float32Array(64))],
    });
  };
  const without = (name: string) => {
    const spec = syntheticLlama();
    return writeGguf(join(scratch(), "less.gguf"), { ...spec, tensors: spec.tensors.filter((t) => t.name !== name) });
  };
  const cases: [string, () => { model: string; steps?: number[][]; prompt?: string }, RegExp][] = [
    ["no such file", () => ({ model: "/nowhere/model.gguf" }), /^hf: model\.gguf: no such file or folder$/],
    ["not a model", () => ({ model: join(hf, "dump.py") }), /^hf: dump\.py: ValueError: GGUF magic invalid$/],
    [
      "another architecture",
      () => ({ model: cached("llama.cpp-vocab/ggml-vocab-qwen2.gguf") }),
      /architecture "qwen2"; .* runs llama$/,
    ],
    [
      "no weights",
      () => ({ model: cached("llama.cpp-vocab/ggml-vocab-llama-spm.gguf") }),
      /token_embd\.weight is missing/,
    ],
    [
      "a weight too few",
      () => ({ model: without("blk.1.ffn_up.weight") }),
      /layers\.1\.mlp\.up_proj\.weight is missing \(1 such/,
    ],
    ["a weight too many", () => ({ model: withTensor("blk.0.attn_qkv.weight") }), /attn_qkv\.weight has no place/],
    [
      "an unknown scaling",
      () => ({ model: syntheticLlamaFile({ metadata: { "llama.rope.scaling.type": text("longrope") } }) }),
      /"longrope"; none, linear and yarn/,
    ],
    ["an empty folder", () => ({ model: scratch() }), /no config\.json in the folder/],
    ["a folder of another kind", () => ({ model: folderWith('{"model_type": "bert"}') }), /model_type "bert"/],
    ["a folder without weights", () => ({ model: folderWith('{"model_type": "llama"}') }), /no weights in the folder/],
    [
      "a token out of the vocabulary",
      () => ({ model: embedded, steps: [[1, 2048]] }),
      /token 2048 is not in the vocabulary of 2048/,
    ],
    [
      "too many tokens",
      () => ({ model: embedded, steps: [Array(513).fill(1)] }),
      /513 tokens, but the model's context is 512/,
    ],
    ["nothing to run", () => ({ model: embedded, steps: [] }), /nothing to run/],
    [
      "a prompt without a tokenizer",
      () => ({ model: embedded, prompt: "hello" }),
      /--prompt needs a HuggingFace folder/,
    ],
  ];
  it.concurrent.each(cases)("%s", async (_, make, line) => {
    const dumping = dumpHuggingFace({ steps: [[1]], greedy: 0, folder: scratch(), ...make() });
    await expect(dumping).rejects.toMatchObject({ name: "InputError", message: expect.stringMatching(line) });
  });
});

describe("the environment", () => {
  it("is made once, and setup.sh prints nothing but its python", async () => {
    const { stdout, stderr } = await run(join(hf, "setup.sh"));
    expect(stdout).toMatch(/^\S+\/hf-python\/[0-9a-f]{12}\/bin\/python\n$/);
    expect(stderr).toBe("");
  });

  it("without Python says what to install", async () => {
    const folder = scratch();
    const { stdout } = await run("which", ["dirname"]);
    symlinkSync(stdout.trim(), join(folder, "dirname"));
    const running = run("/bin/bash", [join(hf, "setup.sh")], { env: { PATH: folder, HOME: folder } });
    await expect(running).rejects.toMatchObject({ code: 2, stdout: "", stderr: /^hf: .* install Python 3\.11 .*\n$/ });
  });

  it("that cannot be installed leaves nothing", async () => {
    const cache = scratch();
    mkdirSync(join(cache, "hf-python"));
    const env = {
      ...process.env,
      FAULTLINE_CACHE: cache,
      PIP_NO_INDEX: "1",
      PIP_FIND_LINKS: cache,
      PIP_CONFIG_FILE: "/dev/null",
    };
    const running = run(join(hf, "setup.sh"), { env });
    await expect(running).rejects.toMatchObject({ code: 2, stdout: "" });
    const { stdout } = await run("ls", ["-A", join(cache, "hf-python")]);
    expect(stdout).toBe("");
  });

  it("is the same under uv: dump.py's own pins are those of requirements.txt", () => {
    const pins = (file: string) => readFileSync(join(hf, file), "utf8").match(/[\w-]+==[\d.]+/g) ?? [];
    const own = pins("dump.py");
    expect(own.length).toBeGreaterThan(4);
    expect(pins("requirements.txt")).toEqual(expect.arrayContaining(own));
  });
});
