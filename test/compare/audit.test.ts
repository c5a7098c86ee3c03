/** The audit of whole runs: right ones are clean, every faulty op is found where it is, and what cannot be judged is not. */
import { describe, expect, it } from "vitest";
import { type Audit, auditTrace, verdictOf } from "../../src/compare/audit.ts";
import { openModel } from "../../src/model/model.ts";
import { executorOf, type RunStep, runFull, someTokens, syntheticModel } from "../support/engine.ts";
import { embedded } from "../support/faults.ts";
import { traceFrom, type Unnumbered } from "../support/traces.ts";

const recordsOf = (run: readonly RunStep[]): Unnumbered[] => run.flatMap(({ records }) => records);
const tokensOf = (run: readonly RunStep[]) => run.map(({ tokens }) => tokens);
const at = (audit: Audit, verdict: string) =>
  audit.ops.filter((op) => verdictOf(op) === verdict).map(({ step, tap }) => `${step} ${tap}`);
const accused = (audit: Audit) => [...at(audit, "proved"), ...at(audit, "likely"), ...at(audit, "suspicious")];

/** Nothing vanishes: each record is judged, or among the others. */
function sound(audit: Audit, records: number): Audit {
  const { clean, suspicious, likely, proved } = audit.counts;
  expect(clean + suspicious + likely + proved + audit.counts["not-judged"]).toBe(audit.ops.length);
  expect(audit.ops.length + audit.others.length).toBe(records);
  for (const op of audit.ops)
    expect((op.own === null || verdictOf(op) === "not-judged") === (op.reason !== null)).toBe(true);
  return audit;
}

describe("a right run", () => {
  it("of the embedded model is clean in every op, with the same figures in threads and without", async () => {
    const { model, clean } = await embedded();
    const records = recordsOf(clean);
    const trace = await traceFrom(records, tokensOf(clean));
    const alone = sound(await auditTrace(model, trace, { workers: 0 }), records.length);
    expect(alone).toMatchObject({ verdict: "match", counts: { clean: 3 * model.graph.length, "not-judged": 0 } });
    const threads = await auditTrace(model, trace, { workers: 2 });
    expect(threads.ops).toEqual(alone.ops);
    const order = alone.ops.map(({ step, tap }) => step * 1000 + model.graph.findIndex(({ op }) => op.tap === tap));
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });

  it.each(["Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K"])(
    "of a synthetic %s model is clean, in several passes too",
    async (type) => {
      const embd = type.endsWith("K") ? 256 : 64;
      const model = await syntheticModel({
        type,
        embd,
        heads: 4,
        headDim: embd / 4,
        ffn: 256,
        layers: 2,
        biases: true,
      });
      const executor = await executorOf(model);
      for (const steps of [
        [someTokens(12), [7], [9]],
        [someTokens(5), someTokens(6), someTokens(2)],
      ]) {
        const run = await runFull(executor, steps);
        const audit = sound(
          await auditTrace(model, await traceFrom(recordsOf(run), tokensOf(run))),
          recordsOf(run).length,
        );
        expect([type, accused(audit), audit.counts["not-judged"]]).toEqual([type, [], 0]);
      }
    },
  );

  it("without a KV cache, and of some layers only, is clean", async () => {
    const bench = await embedded();
    const tokens = someTokens(8);
    const again: RunStep[] = [];
    for (const count of [6, 7, 8]) {
      const executor = await executorOf(bench.model, { capacity: 32 });
      const [step] = await runFull(executor, [tokens.slice(0, count)]);
      const records = (step?.records ?? []).map((record) => ({ ...record, step: again.length }));
      if (step !== undefined) again.push({ ...step, records });
    }
    const whole = await auditTrace(bench.model, await traceFrom(recordsOf(again), tokensOf(again)));
    expect([accused(whole), whole.counts["not-judged"]]).toEqual([[], 0]);

    const some = await openModel(bench.model.file.path, { layers: "0,2-3" });
    const run = await runFull(await executorOf(some, { capacity: 32 }), [tokens, [7]]);
    for (const workers of [0, 2]) {
      const audit = await auditTrace(some, await traceFrom(recordsOf(run), tokensOf(run)), { workers });
      expect([accused(audit), audit.counts.clean]).toEqual([[], 2 * some.graph.length]);
    }
    some.file.close();
  });

  it("whose steps were taken back is judged with the keys that stood in the cache", async () => {
    const { model } = await embedded();
    const executor = await executorOf(model, { capacity: 32 });
    const done: RunStep[] = [];
    for (const [posStart, tokens] of [
      [0, someTokens(6)],
      [6, [9, 11, 13]],
      [7, [40]],
      [8, [41]],
    ] as const) {
      const result = await executor.step(posStart, tokens, { level: "full", wants: () => true });
      done.push({ posStart, tokens, values: new Map(), logits: [], records: [...result.records(done.length)] });
    }
    const audit = sound(
      await auditTrace(model, await traceFrom(recordsOf(done), tokensOf(done))),
      recordsOf(done).length,
    );
    expect([accused(audit), audit.counts["not-judged"]]).toEqual([[], 0]);
  });
});

describe("several faults", () => {
  const proved = async (...faults: string[]) => {
    const bench = await embedded();
    const run = await bench.run(...faults);
    const audit = sound(
      await auditTrace(bench.model, await traceFrom(recordsOf(run), bench.steps)),
      recordsOf(run).length,
    );
    expect(audit.verdict).toBe("divergent");
    return [
      ...new Set(
        [...at(audit, "proved"), ...at(audit, "likely"), ...at(audit, "suspicious")].map((each) => each.split(" ")[1]),
      ),
    ];
  };

  it("in two layers are both found, and nothing else", async () => {
    expect(await proved("act.gelu-tanh@blk.1.ffn_act", "linear.k-tail-dropped@blk.3.attn_out:7")).toEqual([
      "blk.1.ffn_act",
      "blk.3.attn_out",
    ]);
  });

  it("in parallel branches of one layer are both found, and nothing else", async () => {
    expect(await proved("linear.k-tail-dropped@blk.2.k_proj:7", "rope.position-plus-one@blk.2.q_rope")).toEqual([
      "blk.2.k_proj",
      "blk.2.q_rope",
    ]);
  });
});

describe("what cannot be judged", () => {
  /** Audits the clean run with some records changed; says which ops were not judged and why. */
  const without = async (change: (record: Unnumbered) => Unnumbered | null) => {
    const { model, clean } = await embedded();
    const records = recordsOf(clean).flatMap((record) => change(record) ?? []);
    const audit = sound(await auditTrace(model, await traceFrom(records, tokensOf(clean))), records.length);
    expect(accused(audit)).toEqual([]);
    return audit.ops.filter(({ own }) => own === null).map(({ step, tap, reason }) => `${step} ${tap}: ${reason}`);
  };

  it("an op whose input was left out", async () => {
    expect(await without((record) => (record.tap === "blk.1.ffn_gate" ? null : record))).toEqual(
      [0, 1, 2].map((step) => `${step} blk.1.ffn_act: its input blk.1.ffn_gate of step ${step} is not in the trace`),
    );
  });

  it("a record without values, and the ops that read it", async () => {
    const isBare = ({ tap, step }: Unnumbered) => tap === "blk.0.ffn_norm" && step === 1;
    expect(await without((record) => (isBare(record) ? { ...record, values: null } : record))).toEqual([
      "1 blk.0.ffn_norm: blk.0.ffn_norm of step 1 has no values",
      "1 blk.0.ffn_gate: its input blk.0.ffn_norm of step 1 has no values",
      "1 blk.0.ffn_up: its input blk.0.ffn_norm of step 1 has no values",
    ]);
  });

  it("attention after a step that is missing in the middle", async () => {
    const lost = await without((record) => (record.step === 1 ? null : record));
    expect(lost).toHaveLength(2 * 4);
    for (const each of lost)
      expect(each).toMatch(/^2 blk\.\d\.(attn_scores|attn_ctx): its input .* of step 1 is not in the trace$/);
  });

  it("attention in every step after positions that no step has", async () => {
    const { model, clean } = await embedded([someTokens(6), [7], [9], [11], [13]]);
    const kept = clean
      .filter((_, step) => step !== 2)
      .map((each, step) => ({
        ...each,
        records: each.records.map((record) => ({ ...record, step })),
      }));
    const audit = await auditTrace(model, await traceFrom(recordsOf(kept), tokensOf(kept)));
    expect(accused(audit)).toEqual([]);
    const lost = audit.ops.filter(({ own }) => own === null);
    expect([...new Set(lost.map(({ step }) => step))]).toEqual([2, 3]);
    expect(new Set(lost.map(({ reason }) => reason))).toEqual(
      new Set(["positions 7 to 7 are in no step of the trace"]),
    );
    expect(lost).toHaveLength(2 * 2 * 4);
  });

  it("records of steps that the manifest does not name", async () => {
    const { model, clean } = await embedded();
    const records = recordsOf(clean);
    const trace = await traceFrom(records, tokensOf(clean).slice(0, 1));
    const audit = sound(await auditTrace(model, trace, { workers: 0 }), records.length);
    const later = 2 * model.graph.length;
    expect(audit.others.filter(({ reason }) => reason === "the trace does not name its step's tokens")).toHaveLength(
      later,
    );
    expect(audit.warnings.join()).toContain(`${later} of ${records.length} records are of steps whose tokens`);
  });

  it("an op whose shape is not the model's, and a record that is no op's", async () => {
    const { model, clean } = await embedded();
    const records = recordsOf(clean).map((record) =>
      record.tap === "blk.0.q_proj" ? { ...record, tap: "blk.9.strange" } : record,
    );
    const audit = sound(await auditTrace(model, await traceFrom(records, tokensOf(clean))), records.length);
    expect(audit.others.map(({ tap, reason }) => `${tap}: ${reason}`)).toEqual(
      Array(3).fill("blk.9.strange: no op of llama makes it"),
    );
    expect(accused(audit)).toEqual([]);
  });

  it("a trace without values, of another model, or of none", async () => {
    const { model, clean } = await embedded();
    const bare = recordsOf(clean).map((record) => ({ ...record, values: null }));
    await expect(auditTrace(model, await traceFrom(bare, tokensOf(clean)))).rejects.toThrow(/holds no values/);
    const other = await traceFrom(recordsOf(clean), tokensOf(clean), { sha256: "0".repeat(64) });
    await expect(auditTrace(model, other)).rejects.toThrow(/sha256 000000000000/);
    const wider = await traceFrom(recordsOf(clean), tokensOf(clean), { hyperParameters: { embd: 4096 } });
    await expect(auditTrace(model, wider)).rejects.toThrow(/embd 4096/);
  });
});
