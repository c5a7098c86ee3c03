/** "The token that was one too many": tokens before tensors, beside a trace, llama.cpp and Transformers. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { tokenizeLlamaCpp } from "../../references/llamacpp/tokenize.ts";
import { comparePrompts } from "../../src/compare/prompts.ts";
import { tokenizerFromMetadata } from "../../src/model/tokenizer.ts";
import { comparisonSchema } from "../../src/report/comparison-facts.ts";
import { tokensSchema } from "../../src/report/tokens.ts";
import { rowsOf } from "../../src/report/tokens-against.ts";
import { TraceWriter, vocabularyOf } from "../../src/trace/writer.ts";
import { faultline } from "../support/cli.ts";
import { manifestFor, recordOf } from "../support/traces.ts";
import { vectorsOf, vocabularyMetadata, vocabularyPath } from "../support/vocabularies.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const PROMPT = "In the beginning God created";
const folder = mkdtempSync(join(tmpdir(), "faultline-tokens-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The document of `tokens --against`, and the exit status. */
function against(model: string, other: string, ...options: string[]) {
  const { status, stdout, stderr } = faultline("tokens", model, "--against", other, "--json", ...options);
  expect(stdout, stderr).not.toBe("");
  const { against: found, ids } = tokensSchema.parse(JSON.parse(stdout));
  if (found === undefined) throw new Error("no comparison");
  return { status, ids, ...found };
}

function traced(name: string, ...options: string[]): string {
  const path = join(folder, `${name}.arrow`);
  const { status, stderr } = faultline("trace", MODEL, "-n", "1", "--capture", "full", "-o", path, "-q", ...options);
  expect(status, stderr).toBe(0);
  return path;
}

/** A trace of another engine that ran these steps; it knows no pieces and no text. */
function foreign(steps: readonly (readonly number[])[], vocab?: number, prompt: string | null = null) {
  const record = recordOf("embed", "token embd", [1, 1], new Float32Array(1));
  const path = join(folder, `foreign-${written++}.arrow`);
  const manifest = { ...manifestFor(steps, vocab === undefined ? {} : { hyperParameters: { vocab } }), prompt };
  const writer = new TraceWriter(path, manifest, vocabularyOf([record]));
  writer.write(record);
  writer.finish(manifest);
  return path;
}
let written = 0;

describe("the chat of 38 tokens that became 39", () => {
  const model = vocabularyPath("llama-spm");
  const text = "<|system|>\nYou are a friendly chatbot.</s>\n<|user|>\nHello! How are you?</s>\n<|assistant|>\n";
  const ids = tokenizerFromMetadata(vocabularyMetadata("llama-spm")).encode(text, { addSpecial: false });
  const ran = (tokens: readonly number[], vocab = 32000) => foreign([tokens], vocab);
  const inserted = (at: number, id: number) => [...ids.slice(0, at), id, ...ids.slice(at)];

  it("38 against 38: alike", async () => {
    const { status, verdict, sentence, cause } = against(model, ran(ids), "--tokens", ids.join());
    expect([status, verdict, sentence, cause]).toEqual([0, "alike", "38 tokens", null]);
  });

  it("a BOS before them", async () => {
    const { status, sentence, cause, aligned, positions } = against(model, ran([1, ...ids]), "--tokens", `${ids}`);
    expect([status, aligned, positions]).toEqual([1, 38, 39]);
    expect(cause?.hypothesis).toBe("token.extra-bos");
    expect(sentence).toMatch(/^the tokens differ at position 0: 1 token more, 1 "<s>"; <s> stands before the text/);
  });

  it("one more in the middle: which, where, and what still belongs together", async () => {
    const path = ran(inserted(27, 29871));
    const { status, sentence, edits, aligned, positions, first_difference } = against(
      model,
      path,
      "--tokens",
      `${ids}`,
    );
    expect([status, first_difference, aligned, positions]).toEqual([1, 27, 38, 39]);
    expect(edits).toEqual([{ expected: [27, 27], actual: [27, 28] }]);
    expect(sentence).toMatch(/^the tokens differ at position 27: 1 token more, 29871 " "; the texts differ: /);
    const lines = faultline("tokens", model, "--tokens", `${ids}`, "--against", path).stdout.split("\n");
    expect(lines[0]).toMatch(/^divergent: .* 1 token more, 29871 " "/);
    expect(lines.find((line) => line.startsWith("38 of 39"))).toMatch(/faultline compare goes on over these$/);
    // The extra token stands beside a gap; the rows around it beside their own.
    expect(lines.filter((line) => line.endsWith("more"))).toEqual([
      expect.stringMatching(/^\s+27\s+29871 +" " +more$/),
    ]);
    expect(lines.some((line) => /^ +27 +29973 +"\?" +28 +29973 +"\?"$/.test(line))).toBe(true);
  });

  it("36, where only the start gets a space: which side put it is said", async () => {
    const { cause, sentence, edits } = against(model, ran(ids.filter((id) => id !== 29871)), "--tokens", `${ids}`);
    expect(cause?.hypothesis).toBe("token.space-prefix");
    expect(cause?.what).toMatch(/lacks the space .* after a special token/);
    expect([edits.length, sentence]).toEqual([2, expect.stringMatching(/and 1 more difference after it$/)]);
  });

  it("a text with BOS is llama.cpp's 39", () => {
    const { status, verdict, expected } = against(model, "llamacpp", "-p", text);
    expect([status, verdict, expected.ids]).toEqual([0, "alike", [1, ...ids]]);
  });

  it("a trace of another vocabulary is refused, with both sizes", async () => {
    const path = ran(ids, 49152);
    const { status, stderr } = faultline("tokens", MODEL, "-p", "x", "--against", path);
    expect(status).toBe(2);
    expect(stderr).toMatch(/vocabulary of 49152, the model one of 2048 tokens; give the model that was traced/);
    expect(stderr.trim().split("\n").length).toBe(1);
  });
});

describe("a run of the embedded model, with and without faults of the tokens", () => {
  let clean = "";
  beforeAll(() => {
    clean = traced("clean", "-p", PROMPT);
  });

  it("its own prompt is taken from the trace, and is alike", () => {
    const { status, verdict, aligned, positions, ids } = against(MODEL, clean);
    expect([status, verdict, aligned]).toEqual([0, "alike", positions]);
    expect(ids.length).toBe(positions);
  });

  it.each(["token.extra-bos", "token.missing-bos", "token.space-prefix"])("%s is named", (fault) => {
    const { status, cause } = against(MODEL, traced(fault, "-p", PROMPT, "--fault", fault));
    expect([status, cause?.hypothesis]).toEqual([1, fault]);
  });

  it.each([
    ["extra-bos", 0, (ids: readonly number[]) => [256, ...ids]],
    ["middle", 4, (ids: readonly number[]) => [...ids.slice(0, 4), 1079, ...ids.slice(4)]],
  ])("%s: compare goes on over the positions that align", (name, at, change) => {
    const { ids } = against(MODEL, clean);
    const actual = traced(`compared-${name}`, "--tokens", change(ids).join());
    const { aligned, positions, cause } = against(MODEL, actual, "-p", PROMPT);
    expect([aligned, positions]).toEqual([ids.length, ids.length + 1]);
    expect(cause?.hypothesis).toBe(name === "middle" ? "token.other-text" : "token.extra-bos");

    const { status, stdout } = faultline("compare", clean, actual, "--json");
    const { ops, tokens, first } = comparisonSchema.parse(JSON.parse(stdout));
    expect([status, first?.kind, tokens.shift]).toEqual([1, "token", 1]);
    const embeds = ops.filter(({ tap, step }) => tap === "embed" && step === 0);
    // An embedding depends on its token alone: over aligned rows it is the same, wherever they stand.
    expect(embeds.map(({ relL2 }) => relL2)).toEqual(embeds.map(() => 0));
    expect(embeds.map(({ verdict }) => verdict)).toEqual(["alike", "other-context"]);
    // Rows before the difference are judged as ever; those after it have seen another token.
    for (const op of ops) if (op.step === 0 && op.verdict !== "other-context") expect(op.verdict, op.tap).toBe("alike");
    expect(ops.some(({ tap, verdict }) => tap === "blk.2.output" && verdict === "other-context")).toBe(true);
    expect(tokens.first_difference).toBeGreaterThanOrEqual(at);
  });
});

describe("the prompt of a trace", () => {
  const model = vocabularyPath("phi-3");
  const { encode } = tokenizerFromMetadata(vocabularyMetadata("phi-3"));
  const chat = "<s><|user|>\nHi<|end|>\n<|assistant|>\n";

  it("that ends as the template opens an answer brings its own BOS; another gets one", () => {
    for (const text of [chat, "Hi there"]) {
      const ids = encode(text, { addSpecial: text !== chat });
      expect(against(model, foreign([ids], 32064, text)).sentence).toBe(`${ids.length} tokens`);
      const { cause } = against(model, foreign([[1, ...ids]], 32064, text));
      expect(cause?.hypothesis).toBe("token.extra-bos");
    }
  });

  it("that a run took without its BOS is not excused", () => {
    const ids = encode("Hi there", { addSpecial: false });
    expect(against(model, foreign([ids], 32064, "Hi there")).cause?.hypothesis).toBe("token.missing-bos");
  });
});

describe("beside llama.cpp and Transformers", () => {
  const HARD = "In 1984 it cost $1234.56 – naïve café 中文 \t tabs\n\n\nEnd  of   line  \n 🙂 don't WE'LL <s> \"x\"";

  it("the embedded model's tokens are theirs", () => {
    for (const other of ["llamacpp", "hf"]) {
      const { status, expected, actual } = against(MODEL, other, "-p", HARD);
      expect([status, expected.pieces]).toEqual([0, actual.pieces]);
      expect(expected.name).toMatch(other === "hf" ? /^transformers 5/ : /^llama\.cpp$/);
    }
  });

  it.each(["llama-spm", "phi-3", "gpt-2", "llama-bpe", "qwen2"])("%s: libllama's own ids", async (name) => {
    const { encode } = tokenizerFromMetadata(vocabularyMetadata(name));
    // All texts of llama.cpp's vectors at once: thousands of tokens, every kind of white space, line feeds and bytes.
    const text = vectorsOf(name)
      .map((vector) => vector.text)
      .join("\n<|end|> </s>\n")
      .repeat(2);
    for (const [addSpecial, parseSpecial] of [
      [true, true],
      [false, false],
    ] as const) {
      const { ids } = await tokenizeLlamaCpp({ model: vocabularyPath(name), text, addSpecial, parseSpecial });
      expect(ids.length).toBeGreaterThan(1000);
      expect(ids).toEqual(encode(text, { addSpecial, parseSpecial }));
    }
  });

  it("what transformers loses of a GGUF is found: phi-3 strips white space after <|end|>, and the file does not say so", () => {
    const { status, cause, sentence } = against(vocabularyPath("phi-3"), "hf", "-p", "a<|end|> x");
    expect([status, cause?.hypothesis]).toEqual([1, "token.space-prefix"]);
    expect(sentence).toMatch(/1 token fewer, 29871 " ".*or the other strips one/);
    expect(against(vocabularyPath("phi-3"), "llamacpp", "-p", "a<|end|> x").verdict).toBe("alike");
  });

  it("a chat that transformers renders otherwise: the template comes first", () => {
    const hf = join(folder, "hf-folder");
    mkdirSync(hf);
    const vocab = Object.fromEntries([...Array(95)].map((_, i) => [String.fromCharCode(32 + i), i]));
    writeFileSync(
      join(hf, "tokenizer.json"),
      JSON.stringify({
        ...{ version: "1.0", truncation: null, padding: null, normalizer: null, post_processor: null, decoder: null },
        added_tokens: [],
        pre_tokenizer: { type: "Split", pattern: { Regex: "." }, behavior: "Isolated", invert: false },
        model: { type: "WordLevel", vocab, unk_token: "?" },
      }),
    );
    writeFileSync(
      join(hf, "tokenizer_config.json"),
      JSON.stringify({
        tokenizer_class: "PreTrainedTokenizerFast",
        chat_template: "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}!",
      }),
    );
    const smollm2 = vocabularyPath("qwen2");
    const { status, template, sentence, expected } = against(smollm2, hf, "--chat", "Hi");
    expect([status, template?.alike, template?.expected]).toEqual([1, false, "[user] Hi!"]);
    expect(sentence).toMatch(
      /^the rendered chats differ from character 0 on: expected "\[user\] Hi!", actual "<\|im_start\|>/,
    );
    expect(expected.pieces.join("")).toBe("[user] Hi!");
  });
});

describe("rows of two sequences", () => {
  const side = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 12 });
  const of = (ids: readonly number[]) => ({ name: "", ids, pieces: ids.map(String), rendered: null });

  it("hold every position of both, once and in order; side by side without a mark stand equal ids", () => {
    fc.assert(
      fc.property(side, side, (e, a) => {
        const comparison = comparePrompts(of(e), of(a));
        const rows = rowsOf(comparison);
        expect(rows.flatMap(({ expected }) => expected?.id ?? [])).toEqual(e);
        expect(rows.flatMap(({ actual }) => actual?.id ?? [])).toEqual(a);
        expect(rows.flatMap(({ actual }) => actual?.position ?? [])).toEqual([...a.keys()]);
        for (const { expected, actual, differs } of rows) if (!differs) expect(expected?.id).toBe(actual?.id);
        expect(comparison.isAlike).toBe(e.join() === a.join());
        expect(comparison.aligned).toBeLessThanOrEqual(rows.filter(({ differs }) => !differs).length);
      }),
    );
  });

  it("of long sequences only those near a difference are shown, and how many are left out is said", async () => {
    const ids = Array.from({ length: 300 }, (_, i) => 300 + i);
    const path = foreign([[...ids.slice(0, 100), 5, ...ids.slice(100)]]);
    const shown = (...options: string[]) =>
      faultline("tokens", MODEL, "--tokens", ids.join(), "--against", path, ...options)
        .stdout.trimEnd()
        .split("\n");
    expect(shown().at(-1)).toBe("294 rows without a difference nearby left out; --all shows them");
    expect(shown("--all").length - shown().length).toBe(294 - 1);
  });
});

describe("what cannot be held against anything", () => {
  const refused = (...args: string[]) => {
    const { status, stderr } = faultline("tokens", MODEL, ...args);
    expect([status, stderr.trim().split("\n").length], stderr).toEqual([2, 1]);
    return stderr;
  };

  it.each<[name: string, message: RegExp, args: () => string[] | Promise<string[]>]>([
    [
      "an unknown name",
      /--against nobody: there are llamacpp, hf, .* \(\.arrow\)/,
      () => ["-p", "x", "--against", "nobody"],
    ],
    ["no prompt", /no prompt; give one of/, () => ["--against", "llamacpp"]],
    [
      "ids without a text",
      /--tokens has no text that hf could cut; give -p/,
      () => ["--tokens", "1,2", "--against", "hf"],
    ],
    ["no such trace", /none\.arrow/, () => ["-p", "x", "--against", join(folder, "none.arrow")]],
    ["a trace without tokens", /its manifest names no tokens/, async () => ["-p", "x", "--against", foreign([])]],
    ["a trace without text", /has no prompt text to tokenise; give -p/, async () => ["--against", foreign([[1, 2]])]],
    ["a prompt token by token", /run token by token/, async () => ["-p", "x y", "--against", foreign([[1], [2]])]],
    ["a trace's own ids", /token 5000, the model one of 2048/, async () => ["-p", "x", "--against", foreign([[5000]])]],
    ["an id outside", /token id 2048 is outside/, async () => ["--tokens", "1,2048", "--against", foreign([[1]])]],
    ["a folder without a tokenizer", /no tokenizer in the folder/, () => ["-p", "x", "--against", folder]],
  ])("%s: one line with the remedy", async (_, message, args) => {
    expect(refused(...(await args()))).toMatch(message);
  });

  it("a text without tokens", () => {
    const { status, stderr } = faultline("tokens", vocabularyPath("gpt-2"), "-p", "");
    expect([status, stderr]).toEqual([2, "faultline: the text has no tokens; give some with -p\n"]);
  });
});
