/** Audits of half precision: what storing and short activations do is not an op's fault, and does not hide a cause. */
import { describe, expect, it } from "vitest";
import { auditTrace } from "../../src/compare/audit.ts";
import { ownError } from "../../src/compare/audited-op.ts";
import { findingOf } from "../../src/compare/bisection.ts";
import { compareTraces } from "../../src/compare/compare.ts";
import { diagnoseAudit } from "../../src/compare/judged-audit.ts";
import { parseFaults } from "../../src/engine/faults/parse.ts";
import { roundToHalf } from "../../src/model/half.ts";
import type { Model } from "../../src/model/model.ts";
import { arithmeticOf } from "../../src/oracle/arithmetic.ts";
import { stored } from "../../src/oracle/bounded.ts";
import { boundedLinear } from "../../src/oracle/linear-bounds.ts";
import { matrix } from "../../src/oracle/ops.ts";
import { recordFromValues } from "../../src/trace/record.ts";
import { executorOf, runFull, syntheticModel } from "../support/engine.ts";
import { embedded, SETTINGS, STEPS } from "../support/faults.ts";
import { traceFrom, type Unnumbered } from "../support/traces.ts";

const flat = (steps: readonly { readonly records: readonly Unnumbered[] }[]) =>
  steps.flatMap(({ records }) => [...records]);
const judged = async (model: Model, records: readonly Unnumbered[], tokens = STEPS) => {
  const trace = await traceFrom(records, tokens);
  return diagnoseAudit(model, trace, await auditTrace(model, trace, { workers: 0 }));
};

describe("a projection whose activations are shortened", () => {
  const llamaCpp = { name: "llama.cpp", version: "", device: "", dtype: "f32", settings: {} };
  /** Activations of a block as q8_0 keeps them: quants by the whole step, times the step as a half. */
  const q8 = (x: Float64Array) => {
    const step = x.reduce((most, each) => Math.max(most, Math.abs(each)), 0) / 127;
    return x.map((each) => Math.round(each / step) * roundToHalf(step));
  };

  it.each([
    ["q8_0", "Q8_0", (x: Float64Array) => q8(x)],
    ["f16", "F16", (x: Float64Array) => x.map(roundToHalf)],
  ])("%s: activations too small for normal halves are no fault", async (dtype, type, shorten) => {
    const model = await syntheticModel({ embd: 32, heads: 2, kvHeads: 1, ffn: 32, layers: 1, type });
    const op = model.graph.find(({ op: { tap } }) => tap === "blk.0.q_proj")?.op;
    if (op?.kind !== "linear") throw new Error("no projection");
    const how = arithmeticOf(dtype, llamaCpp);
    for (const scale of [1, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8]) {
      const x = Float64Array.from({ length: 32 }, (_, i) => scale * Math.sin(1 + 3 * i));
      const right = stored(boundedLinear(model, op, matrix(1, 32, x), how), how);
      const given = boundedLinear(model, op, matrix(1, 32, shorten(x)), how).expected;
      expect([scale, ownError(right, Float32Array.from(given), "f32").verdict]).toEqual([scale, "clean"]);
    }
    const x = Float64Array.from({ length: 32 }, (_, i) => Math.sin(1 + 3 * i));
    const right = stored(boundedLinear(model, op, matrix(1, 32, x), how), how);
    expect(
      ownError(
        right,
        Float32Array.from(right.expected, (y) => 1.1 * y),
        "f32",
      ).verdict,
    ).not.toBe("clean");
  });
});

describe("f16 stores", () => {
  it("that round all rows alike are no common factor", () => {
    const expected = Float64Array.from({ length: 8 }, () => 1 - 2 ** -12.1);
    const exact = { rows: 8, columns: 1, expected, worst: new Float64Array(8), likely: new Float64Array(8) };
    const producer = { name: "faultline", version: "", device: "", dtype: "f16", settings: {} };
    const rows = stored(exact, arithmeticOf("f16", producer));
    expect(ownError(rows, new Float32Array(8).fill(1), "f16").verdict).toBe("clean");
    expect(ownError(rows, new Float32Array(8).fill(1.001), "f16").verdict).toBe("proved");
  });

  it.each([
    ["act.relu@blk.1.ffn_act", "blk.1.ffn_act", "act.relu"],
    ["norm.weight-missing@final_norm", "final_norm", "norm.weight-missing"],
    ["linear.swap-kv@blk.0.k_proj", "blk.0.k_proj", "linear.swap-kv"],
  ])("do not hide %s", async (fault, tap, cause) => {
    const bench = await embedded();
    const faults = parseFaults([fault], bench.model, { ...SETTINGS, dtype: "f16" });
    const executor = await executorOf(bench.model, { dtype: "f16", faults });
    const { faults: found } = await judged(bench.model, flat(await runFull(executor, STEPS)));
    expect(found.map((each) => each.tap)).toEqual([tap]);
    const causes = found[0]?.diagnosis?.causes.map(({ hypothesis }) => hypothesis);
    expect(causes).toContain(cause);
    expect(causes).not.toContain("precision.f16-store");
  });
});

it("NaN from above accuses no softmax, and a tensor of NaN is no copy of another", async () => {
  const { model, clean } = await embedded();
  const records = flat(clean);
  const bad = records.map((record) => {
    const isAfter = /^(blk\.1\.(ffn_down|output)|blk\.[23]|final|logits)/.test(record.tap);
    // Masked scores hold 0, whatever the others are.
    const isMasked = (x: number) => record.tap.endsWith("attn_scores") && x === 0;
    const values = Float32Array.from(record.values ?? [], (x) => (isAfter && !isMasked(x) ? Number.NaN : x));
    return recordFromValues(record, 0, values, { sketch: true, values: true });
  });
  const { faults } = await judged(model, bad);
  expect(faults.map(({ tap, diagnosis }) => [tap, diagnosis?.causes])).toEqual([["blk.1.ffn_down", []]]);
});

it("steps without tokens and tokens that the model does not have are refused", async () => {
  const { model, clean } = await embedded();
  const records = flat(clean);
  await expect(judged(model, records, STEPS.with(1, []))).rejects.toThrow("step 1 of its manifest has no tokens");
  await expect(judged(model, records, STEPS.with(1, [9999999]))).rejects.toThrow("token 9999999 of step 1 is not in");
});

it("a fault of the reference is its own, also where it led to other tokens, or the judged run has no values", async () => {
  const bench = await embedded();
  const faulty = await traceFrom(flat(await bench.run("rope.pairing@blk.2.q_rope")), STEPS);
  const other = STEPS.with(1, [8]);
  const right = await traceFrom(flat(bench.clean), other);
  const reference = await diagnoseAudit(bench.model, faulty, await auditTrace(bench.model, faulty, { workers: 0 }));
  const audit = await diagnoseAudit(bench.model, right, await auditTrace(bench.model, right, { workers: 0 }));
  const comparison = await compareTraces(faulty, right);
  expect(comparison.tokens.difference).not.toBeNull();
  const rest = { comparison, determinism: null, auditLeftOut: null, diagnoses: [], blindSpots: [] };
  const clean = { ...audit, faults: [] };
  expect(findingOf({ ...rest, audit: clean, referenceAudit: reference })).toBe("reference-fault");
  expect(findingOf({ ...rest, audit: null, referenceAudit: reference })).toBe("reference-fault");
  expect(findingOf({ ...rest, audit: null, referenceAudit: null })).toBe("divergent");
});
