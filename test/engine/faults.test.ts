/**
 * Every fault, planted: what came before is untouched to the bit, the planted op differs and is no longer what the oracle makes
 * of its inputs, and all other ops are.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { editDistance, parseFault, parseFaults } from "../../src/engine/faults/parse.ts";
import { FAULTS } from "../../src/engine/faults/table.ts";
import { faultRow } from "../../src/engine/faults/taps.ts";
import { faultyTokens } from "../../src/engine/faults/tokens.ts";
import type { Model } from "../../src/model/model.ts";
import { faultsMarkdown } from "../../src/report/faults.ts";
import { InputError } from "../../src/trace/errors.ts";
import { syntheticModel } from "../support/engine.ts";
import { Bench, embedded, firstDifference, SETTINGS, STEPS } from "../support/faults.ts";
import { recompute, relativeL2 } from "../support/recompute.ts";

const root = join(import.meta.dirname, "../..");
/** What an op adds by rounding: measured below 1e-6 on clean runs. */
const ROUNDING = 3e-6;
/** A planted op is off by more than this. */
const VISIBLE = 1e-5;
/** Faults whose effect is smaller in these runs, with the reason. The planted op's bits still differ. */
const SMALL: Readonly<Record<string, string>> = {
  "attn.softmax-no-max": "exp(x) / sum exp(x) is the same number until a score passes 88",
};

/** Plants a fault, and expects that it shows where it was planted and nowhere else. */
async function expectShown(bench: Bench, text: string): Promise<void> {
  const { tap, kind, text: canonical } = parseFault(text, bench.model);
  const faulty = await bench.run(text);
  expect(firstDifference(bench.clean, faulty), canonical).toEqual({ step: kind.decoding ? 1 : 0, tap });
  let own = 0;
  for (const { step, node, expected, actual } of recompute(bench.model, faulty)) {
    const error = relativeError(expected, actual);
    if (node.op.tap === tap) own = Math.max(own, error);
    else expect(error, `${canonical}: ${node.op.tap} in step ${step}`).toBeLessThan(ROUNDING);
  }
  if (kind.id in SMALL) expect(own, canonical).toBeLessThanOrEqual(VISIBLE);
  else expect(own, canonical).toBeGreaterThan(VISIBLE);
}

/** Relative L2 error of what is finite; infinite where one side alone is not. */
function relativeError(expected: ArrayLike<number>, actual: ArrayLike<number>): number {
  const both = Array.from(expected, (e, i) => [e, actual[i] as number] as const);
  if (both.some(([e, a]) => Number.isFinite(e) !== Number.isFinite(a))) return Number.POSITIVE_INFINITY;
  const finite = both.filter(([e]) => Number.isFinite(e));
  return relativeL2(
    finite.map(([e]) => e),
    finite.map(([, a]) => a),
  );
}

/** Faults that the embedded model cannot show, with one that can. */
const OTHERWISE: Readonly<Record<string, () => Promise<Model>>> = {
  "linear.bias-missing": () => syntheticModel({ biases: true }),
  "rope.scaling-missing": () => syntheticModel({ ropeFactors: Float32Array.from({ length: 8 }, (_, i) => 1 + i) }),
  "head.wrong-matrix": () => syntheticModel({ untied: true }),
};
/** Where the usual tap or parameter shows too little in these runs: RMS is about 6 in the middle layer, and no value is huge. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "norm.eps": "norm.eps@blk.0.attn_norm:1e-6",
  "norm.eps-outside": "norm.eps-outside@blk.0.attn_norm",
  "precision.f16-overflow": "precision.f16-overflow:1",
  "precision.flush-subnormals": "precision.flush-subnormals:0.01",
};
/** Kernels that take seconds to compile, twice where the prefill has several tokens. */
const NEEDS_TOKENS = ["linear.row-zero-repeated", "head.wrong-row"];
const isSlow = (id: string) => id.startsWith("linear.") && !NEEDS_TOKENS.includes(id);

const planted = FAULTS.filter(({ id, tokens }) => tokens === undefined && !id.startsWith("quant."));

describe("on the embedded model", () => {
  it.each(planted.filter(({ id }) => !(id in OTHERWISE)).map(({ id }) => id))("%s", async (id) => {
    await expectShown(await embedded(isSlow(id) ? [[5]] : STEPS), ELSEWHERE[id] ?? id);
  });

  it("leaves clean runs as they were, and plants several faults at once", async () => {
    const bench = await embedded();
    const both = await bench.run("residual.twice@blk.1.output", "act.relu@blk.3.ffn_act");
    expect(firstDifference(bench.clean, both)).toEqual({ step: 0, tap: "blk.1.output" });
    const wrong = [...recompute(bench.model, both)].filter(
      ({ expected, actual }) => relativeError(expected, actual) > VISIBLE,
    );
    expect(new Set(wrong.map(({ node }) => node.op.tap))).toEqual(new Set(["blk.1.output", "blk.3.ffn_act"]));
    expect(firstDifference(bench.clean, await bench.run())).toBeNull();
  });

  it("faults do not depend on how a step is cut into passes", async () => {
    const bench = await embedded();
    for (const text of ["rope.position-plus-one", "kv.stale", "memory.stale-step", "linear.rows-tail-zero"]) {
      expect(firstDifference(await bench.run(text), await bench.runWith({ maxTokens: 8 }, text)), text).toBeNull();
    }
  });

  it("outputs stored as halves are faulty in the same places", async () => {
    const bench = await embedded();
    const clean = await bench.runWith({ dtype: "f16" });
    for (const text of ["norm.weight-missing", "memory.nan", "kv.other-layer"]) {
      const { kind, tap } = parseFault(text, bench.model);
      const faulty = await bench.runWith({ dtype: "f16" }, text);
      expect(firstDifference(clean, faulty), text).toEqual({ step: kind.decoding ? 1 : 0, tap });
    }
  });
});

describe("on models that can show it", () => {
  it.each(Object.entries(OTHERWISE))("%s", async (id, model) => {
    await expectShown(await Bench.of(await model(), isSlow(id) ? [[5]] : [[1, 2, 3, 4], [5]]), id);
  });
});

describe("on quantised weights", () => {
  const TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"];
  it.each(TYPES)("%s", async (type) => {
    const bench = await Bench.of(await syntheticModel({ type, embd: 512, ffn: 512, layers: 1, heads: 4 }), [[5]]);
    const quant = FAULTS.filter(({ id }) => id.startsWith("quant."));
    const applicable = quant.filter(({ id }) => isPlantable(id, bench.model)).map(({ id }) => id);
    expect(applicable.length).toBeGreaterThan(1);
    for (const id of applicable) await expectShown(bench, id);
  });
});

function isPlantable(text: string, model: Model): boolean {
  try {
    parseFault(text, model);
    return true;
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}

describe("parsing", () => {
  const cases: readonly [text: string, message: RegExp][] = [
    ["rope.pairng", /^no fault "rope.pairng"; nearest: rope.pairing, .*faultline faults/],
    ["", /^no fault ""/],
    ["rope.pairing@blk.9.q_rope", /no such tap; rope.pairing can be planted at blk.2.q_rope, blk.2.k_rope/],
    ["rope.pairing@blk.1.q_proj", /blk.1.q_proj is linear; rope.pairing can be planted at blk.2.q_rope/],
    ["linear.swap-kv@blk.1.q_proj", /can be planted at blk.2.k_proj, blk.2.v_proj/],
    ["rope.pairing:3", /takes no parameter; leave out :3/],
    ["norm.eps:many", /"many" is no eps; give a number of at least 0/],
    ["norm.eps:-1", /give a number of at least 0/],
    ["norm.eps:1e-5", /would change nothing: its eps is 0.00001 already/],
    ["linear.k-tail-dropped:2.5", /a whole number of at least 2/],
    ["linear.k-tail-dropped:256", /K is 768, a multiple of 256/],
    ["linear.transposed@blk.0.k_proj", /64 rows of 256, only a square weight/],
    ["linear.bias-missing", /it has no bias/],
    ["linear.neighbour-layer@logits", /it is in no layer/],
    ["quant.zero-point", /blk.2.attn_q.weight is F16; it can be planted in Q4_0, Q5_0/],
    ["rope.scaling-missing", /the model has no RoPE scaling/],
    ["head.wrong-matrix", /its head is the embedding itself/],
    ["memory.stale-step@blk.2.attn_probs", /its rows are not tokens/],
    ["memory.alias@embed", /no earlier tensor of its layer has its shape/],
    ["token.extra-bos@embed", /takes neither tap nor parameter/],
  ];
  it.each(cases)("%s", async (text, message) => {
    const { model } = await embedded();
    expect(() => parseFault(text, model)).toThrow(InputError);
    expect(() => parseFault(text, model)).toThrow(message);
  });

  it("head maps that are the same", async () => {
    const model = await syntheticModel({ heads: 4, kvHeads: 4 });
    expect(() => parseFault("attn.gqa-modulo", model)).toThrow(/4 heads over 4 KV heads both maps are the same/);
  });

  it("taps, parameters and their usual values", async () => {
    const { model } = await embedded();
    expect(parseFault("rope.pairing", model).text).toBe("rope.pairing@blk.2.q_rope");
    expect(parseFault("norm.eps@blk.1.ffn_norm:1e-3", model).text).toBe("norm.eps@blk.1.ffn_norm:0.001");
    expect(parseFault("norm.eps", model).parameter).toBe(1e-6);
    expect(parseFault("head.wrong-row", model).tap).toBe("logits");
    expect(parseFault("token.extra-bos", model).tap).toBeNull();
    for (const { kind, text } of planted
      .filter(({ id }) => isPlantable(id, model))
      .map(({ id }) => parseFault(id, model)))
      expect(parseFault(text, model).text, kind.id).toBe(text);
  });

  it("settings under which a fault shows nothing, and two faults at one place", async () => {
    const { model } = await embedded();
    expect(() => parseFaults(["kv.stale"], model, { ...SETTINGS, kvCache: false })).toThrow(/--no-kv-cache/);
    expect(() => parseFaults(["precision.f16-store"], model, { ...SETTINGS, dtype: "f16" })).toThrow(/--dtype f16/);
    expect(() => parseFaults(["rope.sign", "rope.twice"], model, SETTINGS)).toThrow(/are at one place/);
    expect(parseFaults(["rope.sign", "rope.twice@blk.0.q_rope"], model, SETTINGS).length).toBe(2);
  });

  it("edit distance", () => {
    expect(editDistance("kitten", "sitting")).toBe(3);
    expect(editDistance("", "abc")).toBe(3);
    expect(editDistance("abc", "abc")).toBe(0);
  });
});

describe("faults of the sequence", () => {
  it("put a BOS in front, or take it away", async () => {
    const { model } = await embedded();
    const [extra, missing] = ["token.extra-bos", "token.missing-bos"].map((id) => parseFault(id, model));
    if (extra === undefined || missing === undefined) throw new Error("two faults");
    const none = { bosId: undefined, encode: () => [], decode: () => "" };
    expect(faultyTokens([256, 5, 6], [extra], { ...none, bosId: 256 })).toEqual([256, 256, 5, 6]);
    expect(faultyTokens([256, 5, 6], [missing], { ...none, bosId: 256 })).toEqual([5, 6]);
    expect(() => faultyTokens([5, 6], [missing], { ...none, bosId: 256 })).toThrow(/do not start with BOS 256/);
    expect(() => faultyTokens([5, 6], [extra], none)).toThrow(/the model has no BOS/);
  });

  it("add or leave out the space before the text", async () => {
    const { model } = await embedded();
    const fault = parseFault("token.space-prefix", model);
    // Token 1 is a space; every other character is its own token.
    const encode = (text: string) => [...text].map((character) => (character === " " ? 1 : character.charCodeAt(0)));
    const decode = (ids: readonly number[]) => ids.map((id) => (id === 1 ? " " : String.fromCharCode(id))).join("");
    const letters = { bosId: 0, encode, decode };
    expect(faultyTokens([0, 72, 105], [fault], letters)).toEqual([0, 1, 72, 105]);
    expect(faultyTokens([1, 72], [fault], letters)).toEqual([72]);
    const trimmed = { ...letters, encode: (text: string) => encode(text.trim()) };
    expect(() => faultyTokens([0, 72], [fault], trimmed)).toThrow(/a space before the text changes no token/);
    expect(() => faultyTokens([1, 72], [fault], trimmed)).toThrow(/not what its text would give/);
  });
});

describe("docs/faults.md", () => {
  it("has the table's own rows", () => {
    expect(readFileSync(join(root, "docs/faults.md"), "utf8")).toContain(faultsMarkdown(FAULTS.map(faultRow)));
  });

  it("ids are unique, sentences are one", () => {
    expect(new Set(FAULTS.map(({ id }) => id)).size).toBe(FAULTS.length);
    for (const { id, what } of FAULTS) expect(what, id).toMatch(/^[^\n]+\.$/);
  });
});
