/**
 * "Is it the quantisation?" (docs/commands.md, `quant`): what decoded weights alone explain, and what the engine adds; a decoder that is
 * wrong moves only the engine's part.
 */
import { copyFileSync, existsSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { nextTokenNats } from "../../src/compare/logits.ts";
import { textQuality } from "../../src/compare/quantisation.ts";
import { quantSchema } from "../../src/report/quantisation.ts";
import { expectRefused, faultline } from "../support/cli.ts";
import { syntheticLlamaFile } from "../support/synthetic-llama.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const TEXT = ["-p", "In the beginning God created the heaven and the earth."];
const folder = mkdtempSync(join(tmpdir(), "faultline-quant-test-"));
/** relL2 of f32 arithmetic over a whole run of this size (docs/numerics.md has 1.5e-6 as the worst of SmolLM2's 30 layers). */
const F32 = 5e-6;

function split(...options: string[]) {
  const { status, stdout, stderr } = faultline("quant", "--json", "--quiet", ...options);
  expect(stdout, stderr).not.toBe("");
  return { status, ...quantSchema.parse(JSON.parse(stdout)) };
}

describe("quantisation and engine told apart", () => {
  const TYPES = ["q4_0", "q4_k_m", "q6_k", "q8_0", "f16"];
  const kept = join(folder, "kept");
  let clean: ReturnType<typeof split>;
  beforeAll(() => {
    clean = split(MODEL, ...TEXT, "--types", TYPES.join(","), "-o", kept);
  });

  it("clean: the engine adds f32 rounding alone, whatever the type, and the weights' part falls with their bits", () => {
    expect([clean.status, clean.verdict]).toEqual([0, "match"]);
    expect(clean.sentence).toMatch(
      /^in none of 6 files does the engine add more than rounding explains: relL2 .* allowed\)/,
    );
    expect(clean.models.map(({ name }) => name)).toEqual(TYPES);
    for (const { engine, ops, weights } of [clean.base, ...clean.models]) {
      expect(engine.verdict).toBe("match");
      expect(engine.worst?.relL2).toBeLessThan(F32);
      expect(ops).toHaveLength(71);
      expect([weights?.differing, weights?.same]).toEqual([[], 38]);
    }
    const logits = clean.models.map(({ ops }) => ops.find(({ tap }) => tap === "logits")?.weights ?? Number.NaN);
    expect([...logits].sort((a, b) => b - a)).toEqual(logits);
    expect(logits[0]).toBeGreaterThan(1e-2);
    // The file in F16 again: the same weights, and nothing for them to explain.
    expect(logits.at(-1)).toBe(0);
    expect(clean.models.at(-1)?.text.mean_kl).toBe(0);
    expect(clean.models.at(-1)?.text.perplexity_ratio).toBe(1);
    const kls = clean.models.map(({ text }) => text.mean_kl ?? Number.NaN);
    expect([...kls].sort((a, b) => b - a)).toEqual(kls);
    expect(readdirSync(kept).filter((name) => name.endsWith(".gguf"))).toHaveLength(TYPES.length);
  });

  it.each([
    ["q4_0", "quant.nibble-order@blk.1.ffn_up"],
    ["q6_k", "quant.scale-shift@blk.2.ffn_down"],
  ])("%s with %s: the engine's part alone moves, and the tensor's blocks are named", (type, fault) => {
    const file = join(kept, `faultline-tiny-f16-${type}.gguf`);
    expect(existsSync(file)).toBe(true);
    const facts = split(MODEL, file, ...TEXT, "--fault", fault);
    expect([facts.status, facts.verdict]).toEqual([1, "divergent"]);
    const [model] = facts.models;
    const before = clean.models.find(({ name }) => name === type);
    const [id = "", tap = ""] = fault.split("@");
    expect(model?.engine.first?.tap).toBe(tap);
    expect(model?.engine.faults[0]?.diagnosis?.hypothesis).toBe(id);
    expect(model?.weights?.differing).toEqual([`${tap}.weight`]);
    expect(model?.weights?.differences[0]).toMatchObject({ alone: { independent: 0, own: 0 } });
    expect(model?.ops.map(({ weights }) => weights)).toEqual(before?.ops.map(({ weights }) => weights));
    const engine = (tapName: string) => model?.ops.find((op) => op.tap === tapName);
    expect(engine(tap)?.engine).toBeGreaterThan(1000 * (engine(tap)?.allowed ?? Number.POSITIVE_INFINITY));
    expect(engine("embed")?.engine).toBe(0);
    expect(facts.base.engine.verdict).toBe("match");
  });

  it("an op that is wrong whatever the weights' type is not laid to the quantisation either", () => {
    const facts = split(MODEL, ...TEXT, "--types", "q8_0", "--fault", "norm.weight-missing@blk.2.ffn_norm");
    expect(facts.sentence).toMatch(
      /^in q8_0 blk\.2\.ffn_norm is the first op where the engine, not the quantisation, is at fault/,
    );
    expect(facts.models[0]?.weights?.differing).toEqual([]);
  });

  it("in half precision a fault of a half's size is proved by the audit", () => {
    const run = [MODEL, ...TEXT, "--types", "q4_0", "--dtype", "f16"];
    expect(split(...run).verdict).toBe("match");
    const { verdict, models } = split(...run, "--fault", "precision.bf16-store@blk.1.ffn_act");
    expect([verdict, models[0]?.engine.faults[0]?.tap]).toEqual(["divergent", "blk.1.ffn_act"]);
  });

  it("rows that the type's blocks do not divide fall back, and are named", () => {
    const path = syntheticLlamaFile({ embd: 96, heads: 3, kvHeads: 3, ffn: 160, layers: 1 });
    const facts = split(path, "--tokens", "1,2,3,4", "--types", "q6_k");
    expect(facts.models[0]?.fallen_back.length).toBeGreaterThan(3);
    expect(facts.models[0]?.fallen_back[0]).toMatchObject({ block: 256 });
    expect(facts.verdict).toBe("match");
  });

  it("a file that is called as the base's folder is held against the base all the same", () => {
    const called = join(folder, "base.gguf");
    copyFileSync(join(kept, "faultline-tiny-f16-q8_0.gguf"), called);
    const output = join(folder, "called");
    const [held] = split(MODEL, called, ...TEXT, "-o", output).models;
    // And no later run takes its place.
    const again = faultline("quant", MODEL, called, ...TEXT, "-o", output);
    expect([again.status, again.stderr]).toEqual([2, expect.stringMatching(/base: is there already; choose another/)]);
    expect(held?.ops).toEqual(clean.models.find(({ name }) => name === "q8_0")?.ops);
  });

  it("bad input is refused in one line", () => {
    const other = syntheticLlamaFile({ embd: 256, heads: 8, ffn: 160 });
    const empty = join(folder, "empty.txt");
    writeFileSync(empty, "");
    const binary = join(folder, "binary.txt");
    writeFileSync(binary, new Uint8Array([0x61, 0xff, 0xfe]));
    for (const [args, words] of [
      [[MODEL, "--text", binary], /binary\.txt: is no text in UTF-8/],
      [[MODEL, ...TEXT, "--positions", "513"], /--positions 513: the model's context is 512/],
      [[MODEL, ...TEXT, "--device", "oracle"], /--device oracle: it is held beside the engine anyway/],
      [[MODEL, ...TEXT, "--types", "q8_0", "-o", binary], /binary\.txt: cannot be made a folder/],
      [[MODEL, other, ...TEXT], /has (ffn|vocab|layers) \d+, \S+\.gguf \d+; give the same model in another type/],
      [[MODEL, "--text", empty], /empty\.txt: 1 token predicts nothing/],
      [[MODEL, "--text", join(folder, "none.txt")], /none\.txt: cannot be read/],
      [[MODEL, "--text", empty, ...TEXT], /--text and a prompt are two texts/],
      [[MODEL, ...TEXT, "--types", "q9_0"], /q9_0: no such block type; there are bf16/],
      [[MODEL, ...TEXT, "--types", "iq4_xs"], /no decoder for iq4_xs/],
      [[MODEL, ...TEXT, "--types", "q8_0", "--fault", "quant.nibble-order"], /would change nothing/],
      [[MODEL, ...TEXT, "--types", "q8_0", "--fault", "kv.stale"], /decode steps show it, and quant runs one step/],
      [[MODEL, ...TEXT, "--types", "q8_0", "--fault", "token.extra-bos"], /quant runs all files over the same tokens/],
      [[MODEL, ...TEXT, "--types", "q8_0", "-o", kept], /q8_0\.gguf: is there already/],
      [[join(folder, "none.gguf"), ...TEXT], /none\.gguf: no such file/],
    ] as const) {
      expectRefused(["quant", ...args], words);
    }
  });
});

describe("a text's quality", () => {
  const logit = fc.double({ noNaN: true, min: -20, max: 20 });
  const row = fc.array(logit, { minLength: 4, maxLength: 4 }).map((values) => Float32Array.from(values));
  it("probabilities sum to one, a shift of all logits changes nothing, and a model against itself has KL 0", () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 3, maxLength: 3 }), fc.integer({ min: -4, max: 4 }), (rows, shift) => {
        const [first = new Float32Array(4)] = rows;
        const total = [0, 1, 2, 3].reduce((sum, id) => sum + Math.exp(-nextTokenNats(first, id)), 0);
        expect(total).toBeCloseTo(1, 10);
        const moved = rows.map((each) => each.map((x) => x + shift));
        const quality = textQuality(rows, rows, [0, 1, 2]);
        expect(textQuality(moved, moved, [0, 1, 2]).perplexity / quality.perplexity).toBeCloseTo(1, 4);
        expect([quality.logits?.meanKl, quality.logits?.sameTop, quality.predicted]).toEqual([0, 3, 2]);
        expect(quality.perplexity).toBe(quality.basePerplexity);
      }),
    );
  });
  it("the perplexity of knowing nothing is the vocabulary's size", () => {
    const flat = new Float32Array(50);
    expect(textQuality([flat, flat], [flat, flat], [3, 7]).perplexity).toBeCloseTo(50, 10);
  });
});
