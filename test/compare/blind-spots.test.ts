/**
 * Blind spots against planted faults: what a run is said not to show must leave the planted op as it was, and what changes it visibly
 * must not be said to be hidden.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { suggest } from "../../src/compare/blind/suggest.ts";
import {
  type BlindRun,
  type BlindSpot,
  blindSpots,
  JUDGED,
  type TapStatistics,
} from "../../src/compare/blind-spots.ts";
import { parseFault } from "../../src/engine/faults/parse.ts";
import { FAULTS } from "../../src/engine/faults/table.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import { blindSpotsText, suggestionsText } from "../../src/report/blind-spots.ts";
import { InputError } from "../../src/trace/errors.ts";
import { nameInLayer } from "../../src/trace/taps.ts";
import { type RunStep, syntheticModel } from "../support/engine.ts";
import { Bench, embedded } from "../support/faults.ts";
import { f32Tensor, writeGguf } from "../support/gguf-builder.ts";
import { type SyntheticLlama, syntheticLlama } from "../support/synthetic-llama.ts";

/** What an op adds by rounding: relative L2 of clean runs is below this. */
const ROUNDING = 1e-6;
const VISIBLE = 1e-4;

/** A model whose kernels are small, where q and the output projection are square and K has tails. */
const SMALL: SyntheticLlama = { embd: 32, heads: 4, kvHeads: 2, ffn: 48, layers: 2, vocab: 64 };

function statisticsOf(steps: readonly RunStep[]) {
  return (step: number, tap: string): TapStatistics | null => {
    const record = steps[step]?.records.find((each) => each.tap === tap);
    if (record === undefined) return null;
    const leastAbs = Array.from(record.values ?? []).reduce(
      (least, x) => (x === 0 ? least : Math.min(least, Math.abs(x))),
      1e30,
    );
    return { ...record, leastAbs };
  };
}

const runOf = (bench: Bench): BlindRun => ({
  steps: bench.clean,
  capture: { level: "full", dtype: "f32", kvCache: true, statistics: statisticsOf(bench.clean) },
});

/** How far a faulty run is from the clean one at a tap, all steps together. */
function effect(bench: Bench, faulty: readonly RunStep[], tap: string) {
  let [difference, size, vanished] = [0, 0, false];
  for (const [step, { values }] of bench.clean.entries()) {
    const actual = faulty[step]?.values.get(tap);
    for (const [i, e] of (values.get(tap) ?? []).entries()) {
      const a = actual?.[i] ?? Number.NaN;
      vanished ||= (e === 0) !== (a === 0) || !Number.isFinite(a);
      difference += (a - e) ** 2;
      size += e * e;
    }
  }
  return { relL2: Math.sqrt(difference / size), vanished };
}

const hides = (spots: readonly BlindSpot[], id: string, tap: string) =>
  spots.some((spot) => spot.id === id && spot.taps.includes(tap));

/** Plants each fault, at its usual tap unless one is given; gives those at which the judgement and the run part. */
async function disagreements(bench: Bench, ids: readonly string[]): Promise<string[]> {
  const spots = blindSpots(bench.model, runOf(bench));
  const wrong: string[] = [];
  for (const id of ids) {
    if (!isPlantable(id, bench.model)) continue;
    const { text, tap, kind } = parseFault(id, bench.model);
    if (tap === null) continue;
    const { relL2, vanished } = effect(bench, await bench.run(text), tap);
    const isHidden = hides(spots, kind.id, tap);
    const nothing = relL2 <= ROUNDING && !vanished;
    if ((nothing && !isHidden) || (!(relL2 <= VISIBLE) && isHidden)) {
      wrong.push(`${text}: relL2 ${relL2}, said to be ${isHidden ? "hidden" : "seen"}`);
    }
  }
  return wrong;
}

function isPlantable(text: string, model: Model): boolean {
  try {
    parseFault(text, model);
    return true;
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}

const PLANTED = FAULTS.filter(({ tokens }) => tokens === undefined).map(({ id }) => id);
/** Kernels of projections take seconds to compile with an edit. */
const isQuick = (id: string) => !/^(linear|quant)\.|^head\.wrong-row/.test(id);
/** Faults that rows, positions or steps hide. */
const OF_RUNS = PLANTED.filter(
  (id) => /^(rope|kv)\.|mask-|softmax-axis|stale-step|whole-tensor|row-plus|f16-store/.test(id) && isQuick(id),
);
/** Slow ones that rows hide. */
const OF_ROWS = ["linear.row-zero-repeated", "head.wrong-row"];
/** Values of equal tokens are equal, their keys are turned. */
const OF_VALUE_ROWS = ["newest-dropped", "newest-duplicated", "stale"].map((id) => `kv.${id}@blk.0.attn_ctx`);
const bench = async (options: SyntheticLlama, steps: readonly (readonly number[])[]) =>
  Bench.of(await syntheticModel({ ...SMALL, ...options }), steps);

it("judges every fault of the table", () => {
  expect(new Set(JUDGED)).toEqual(new Set(FAULTS.map(({ id }) => id)));
});

describe("agrees with what planted faults do", () => {
  const runs: readonly [name: string, SyntheticLlama, steps: number[][], ids: readonly string[]][] = [
    ["one token", {}, [[5]], [...PLANTED.filter(isQuick), ...OF_ROWS]],
    ["two tokens", {}, [[5, 6]], [...OF_RUNS, ...OF_ROWS, "linear.transposed"]],
    ["equal tokens, decoding the same", {}, [[5, 5], [5]], [...OF_RUNS, ...OF_ROWS]],
    [
      "tokens that become equal",
      { layers: 1 },
      [[6, 5], [5]],
      [...OF_RUNS.filter((id) => /^kv|stale/.test(id)), ...OF_VALUE_ROWS],
    ],
    ["one head", { embd: 8, heads: 1, kvHeads: 1, ffn: 16 }, [[5, 6]], PLANTED.filter((id) => /^attn/.test(id))],
    ["heads of one pair", { heads: 16, kvHeads: 16 }, [[5, 6]], PLANTED.filter((id) => /^rope/.test(id))],
    ["huge scores", { scales: { attn_q: 40, attn_k: 40 } }, [[5, 6]], ["attn.softmax-no-max"]],
    ["large streams", { scales: { token_embd: 1e4, attn_norm: 0.1 } }, [[5]], ["norm.eps", "precision.f16-overflow"]],
  ];
  it.each(runs)("%s", async (_name, options, steps, ids) => {
    expect(await disagreements(await bench(options, steps), ids)).toEqual([]);
  });

  it("a prompt with two decode steps of the embedded model", async () => {
    const long = [[256, 5, 300, 12, 88, 7, 41, 9, 100, 3, 77, 260], [5], [9]];
    expect(
      await disagreements(
        await embedded(long),
        OF_RUNS.filter((id) => /^kv|-zero|stale/.test(id)),
      ),
    ).toEqual([]);
  });
});

describe("agrees with the faults that cannot be planted", () => {
  const models: readonly [string, SyntheticLlama][] = [
    ["grouped heads", {}],
    ["as many KV heads as heads", { kvHeads: 4 }],
    ["one KV head", { kvHeads: 1 }],
    ["one head", { heads: 1, kvHeads: 1 }],
    ["one layer", { layers: 1 }],
    ["heads of one pair", { heads: 16, kvHeads: 16 }],
    ["heads wider than the stream", { headDim: 16 }],
    ["with biases, untied", { biases: true, untied: true }],
    ["with RoPE factors", { ropeFactors: Float32Array.of(1, 2, 4, 8) }],
    ["K that tiles divide", { embd: 64, ffn: 128 }],
    ...["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL"].map((type): [string, SyntheticLlama] => [
      type,
      { type, embd: 64, ffn: 32 },
    ]),
    ...["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"].map((type): [string, SyntheticLlama] => [
      type,
      { type, embd: 256, ffn: 512 },
    ]),
  ];
  /** The plant's own limits, not the run's: rows of other axes, fewer rows than the usual tail, ops outside the layers. */
  const OWN_LIMITS = /its rows are not tokens|it has \d+ rows$|it is in no layer/;
  /** What may hide a fault that can be planted: the values of the run, not the model. */
  const OF_VALUES = ["not-known", "same-angles", "halves-already"];

  it.each(models)("%s", async (_name, options) => {
    const model = await syntheticModel({ ...SMALL, ...options });
    const steps = [
      { posStart: 0, tokens: [1, 2, 3] },
      { posStart: 3, tokens: [4] },
    ];
    const spots = blindSpots(model, { steps, capture: { level: "full" } });
    for (const kind of FAULTS) {
      for (const { op } of model.graph) {
        if (!kind.kinds.includes(op.kind) || (kind.names && !kind.names.includes(nameInLayer(op.tap)))) continue;
        const refusal = refused(`${kind.id}@${op.tap}`, model);
        const spot = spots.find(({ id, taps }) => id === kind.id && taps.includes(op.tap));
        const message = `${kind.id}@${op.tap}: ${refusal}, ${spot?.reason}`;
        if (refusal === null) expect([undefined, ...OF_VALUES], message).toContain(spot?.reason);
        else if (!OWN_LIMITS.test(refusal)) expect(spot, message).toBeDefined();
      }
    }
  });
});

it("gains of one, equal gains and biases of zero hide what they would", async () => {
  const spec = syntheticLlama({ ...SMALL, biases: true });
  const flat = spec.tensors.map((tensor) => {
    if (!/norm|bias/.test(tensor.name)) return tensor;
    const value = tensor.name.includes("bias") ? 0 : 1;
    return f32Tensor(tensor.name, tensor.shape, new Float32Array(tensor.shape[0] ?? 0).fill(value));
  });
  const path = join(mkdtempSync(join(tmpdir(), "faultline-test-")), "flat.gguf");
  const model = await openModel(writeGguf(path, { ...spec, tensors: flat }));
  const spots = blindSpots(model, { steps: [{ posStart: 0, tokens: [1, 2] }], capture: { level: "full" } });
  const reasons = (id: string) => spots.filter((spot) => spot.id === id && spot.everywhere).map(({ reason }) => reason);
  expect(reasons("norm.weight-missing")).toEqual(["gain-one"]);
  expect(reasons("norm.other-weight")).toEqual(["same-gains"]);
  expect(reasons("linear.bias-missing")).toEqual(["zero-bias", "no-bias"]);
  expect(refused("norm.weight-missing", model)).toMatch(/gain is 1/);
});

function refused(text: string, model: Model): string | null {
  try {
    parseFault(text, model);
    return null;
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

describe("suggests", () => {
  it("a run that shows what one token cannot, and only what it can", async () => {
    const model = await syntheticModel(SMALL);
    const run: BlindRun = { steps: [{ posStart: 0, tokens: [5] }], capture: { level: "full" } };
    const { each, all } = suggest(model, run, blindSpots(model, run));
    // BOS, which this vocabulary has as 11, stands in front.
    expect(all?.tokens).toEqual([11, 5]);
    expect(all?.decodeSteps).toBe(1);
    const runs = new Map(each.map(({ spot, run: suggested }) => [spot.id, suggested]));
    expect(runs.get("rope.sign")).toMatchObject({ tokens: [5, 11], decodeSteps: 0 });
    expect(runs.get("kv.newest-dropped")).toMatchObject({ tokens: [5], decodeSteps: 1 });
    expect(runs.get("linear.bias-missing")).toBeNull();
    expect(runs.get("head.wrong-matrix")).toBeNull();
    expect(runs.has("norm.weight-missing")).toBe(false);
  });

  it("what shows when it is planted", async () => {
    const model = await syntheticModel(SMALL);
    const equal: BlindRun = { steps: [{ posStart: 0, tokens: [5, 5] }], capture: { level: "full" } };
    for (const run of [{ ...equal, steps: [{ posStart: 0, tokens: [5] }] }, equal]) {
      const { each, all } = suggest(model, run, blindSpots(model, run));
      const removable = each.filter(({ spot, run: found }) => found !== null && spot.reason !== "not-known");
      expect(removable.length).toBeGreaterThan(5);
      const better = await Bench.of(model, [[...(all?.tokens ?? [])], [7]]);
      for (const { spot } of removable.filter(({ spot: { id } }) => PLANTED.includes(id) && isQuick(id))) {
        const { text, tap } = parseFault(spot.id, model);
        const { relL2, vanished } = effect(better, await better.run(text), tap ?? "");
        expect(vanished || !(relL2 <= VISIBLE), `${text}: relL2 ${relL2}`).toBe(true);
      }
    }
  });

  it("a position at which RoPE scaling can be seen, whole values where statistics keep a permutation, BOS in front", async () => {
    const factors = Float32Array.of(1, 1, 1, 1.0005);
    const model = await syntheticModel({ ...SMALL, ropeFactors: factors, metadata: {} });
    const run: BlindRun = { steps: [{ posStart: 0, tokens: [5, 6] }], capture: { level: "stats" } };
    const { each } = suggest(model, run, blindSpots(model, run));
    const of = (id: string) => each.find(({ spot }) => spot.id === id);
    expect(of("rope.scaling-missing")?.spot.reason).toBe("same-angles");
    expect(of("attn.heads-merged-transposed")?.run?.level).toBe("full");
    expect(of("token.missing-bos")?.run?.tokens.length).toBe(2);
    const shown = of("rope.scaling-missing")?.run;
    expect(shown === null || (shown?.tokens.length ?? 0) > 2).toBe(true);
  });
});

describe("in words", () => {
  it("groups by reason, and names what removes each", async () => {
    const { model } = await embedded();
    const run: BlindRun = { steps: [{ posStart: 0, tokens: [5] }], capture: { level: "full" } };
    const spots = blindSpots(model, run);
    const text = blindSpotsText(spots);
    expect(text).toMatch(/^this run cannot show: /);
    expect(text).toContain(
      "rope.* but scaling-missing, position-plus-one, position-minus-one, position-zero (position 0 only)",
    );
    expect(text).toMatch(/position-zero, kv\.\*, memory\.stale-step \(no decode step\)/);
    expect(text).toContain("quant.* (weights are F16)");
    expect(text).toMatch(/norm\.eps, .*\(nothing is known of the values of this run\)/);
    const lines = suggestionsText(suggest(model, run, spots), "model.gguf");
    expect(lines).toMatch(/kv\.\*.*\(no decode step\): --tokens 5 -n 1$/m);
    expect(lines).toMatch(/quant\.\* \(weights are F16\): another quantisation of the model$/m);
    expect(lines).toMatch(/to show what can be shown: faultline (bisect|trace) model\.gguf .*--tokens \d+,\d+ -n 1/);
  });

  it("says nothing where all can be seen", () => {
    expect(blindSpotsText([])).toBe("");
  });
});
