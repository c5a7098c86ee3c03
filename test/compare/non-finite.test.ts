/** NaN and Inf: where they begin, what of and why; each reason at the right op, row and element, and no story of a clean run. */
import { beforeAll, describe, expect, it } from "vitest";
import { auditTrace } from "../../src/compare/audit.ts";
import { firstNonFinite, nonFiniteStory } from "../../src/compare/non-finite.ts";
import { trailOf } from "../../src/compare/non-finite-element.ts";
import { TraceValues } from "../../src/compare/run-values.ts";
import { parseFaults } from "../../src/engine/faults/parse.ts";
import type { Model } from "../../src/model/model.ts";
import { OracleRunner } from "../../src/oracle/runner.ts";
import { firstNonFiniteText, nonFiniteText, reasonText } from "../../src/report/non-finite.ts";
import { recordFromValues } from "../../src/trace/record.ts";
import { executorOf, FULL, runFull, syntheticModel } from "../support/engine.ts";
import { embedded, SETTINGS, STEPS } from "../support/faults.ts";
import type { SyntheticLlama } from "../support/synthetic-llama.ts";
import { atLevel, traceFrom, type Unnumbered } from "../support/traces.ts";

const TOKENS = [[11, 48, 85, 122, 159], [7]];
const flat = (steps: readonly { readonly records: readonly Unnumbered[] }[]) =>
  steps.flatMap(({ records }) => [...records]);

async function audited(model: Model, records: readonly Unnumbered[], tokens: readonly (readonly number[])[]) {
  const trace = await traceFrom(records, tokens);
  const audit = await auditTrace(model, trace, { workers: 0 });
  return { model, audit, run: new TraceValues(trace, model) };
}

async function storyOf(model: Model, records: readonly Unnumbered[], tokens: readonly (readonly number[])[] = TOKENS) {
  const { run, audit } = await audited(model, records, tokens);
  return nonFiniteStory(model, run, audit);
}

/** A synthetic model run on the adapter. */
async function ran(shape: SyntheticLlama, dtype: "f32" | "f16", ...faults: string[]) {
  const model = await syntheticModel(shape);
  const executor = await executorOf(model, { dtype, faults: parseFaults(faults, model, { ...SETTINGS, dtype }) });
  return { model, records: flat(await runFull(executor, TOKENS)) };
}

describe("planted in the engine", () => {
  it("a clean run has no story, in f32 and in f16", async () => {
    const { model, clean } = await embedded();
    expect(await storyOf(model, flat(clean), STEPS)).toBeNull();
    for (const dtype of ["f32", "f16"] as const) {
      const { model: small, records } = await ran({}, dtype);
      expect(await storyOf(small, records)).toBeNull();
    }
  });

  it.each([
    ["blk.1.attn_out", { token: 23, head: null, column: 0 }],
    ["blk.2.q_rope", { token: 23, head: 0, column: 0 }],
    ["blk.2.attn_scores", { token: 23, head: 0, column: 0 }],
    ["blk.0.ffn_act", { token: 23, head: null, column: 0 }],
    ["logits", { token: 23, head: null, column: 0 }],
  ])("memory.nan at %s is the kernel's or the memory's", async (tap, place) => {
    const bench = await embedded();
    const story = await storyOf(bench.model, flat(await bench.run(`memory.nan@${tap}`)), STEPS);
    expect(story?.first).toMatchObject({
      step: 0,
      tap,
      value: "NaN",
      place,
      tokenId: STEPS[0]?.[23],
      extent: { elements: 1 },
    });
    expect(story?.first?.reason).toMatchObject({ kind: "not-explained", half: null });
    expect(story?.first?.operands.every(({ value }) => Number.isFinite(value))).toBe(true);
    expect(story?.nan).toBeNull();
    expect(story?.logits).toMatchObject({ step: 0, tap: "logits" });
    expect(story?.logits?.positions).toEqual([23]);
  });

  it("memory that was never written and holds zeros has no story here", async () => {
    const bench = await embedded();
    expect(await storyOf(bench.model, flat(await bench.run("memory.uninitialised@blk.1.attn_out")), STEPS)).toBeNull();
  });

  const LARGE = { scales: { ffn_down: 3e5 } };

  it("a value too large for --dtype f16 is an overflow of the store", async () => {
    const { model, records } = await ran(LARGE, "f16");
    const of = await audited(model, records, TOKENS);
    expect(of.audit.ops.every(({ own }) => own?.nonFinite.unexplained === 0)).toBe(true);
    const story = await nonFiniteStory(model, of.run, of.audit);
    expect(story?.first).toMatchObject({ step: 0, tap: "blk.0.ffn_down" });
    expect(story?.first?.reason).toMatchObject({
      kind: "sum-overflows",
      of: "value",
      format: "f16",
      largest: 65504,
      certain: true,
    });
    const { reason, value } = story?.first ?? {};
    const size = reason?.kind === "sum-overflows" ? reason.size : 0;
    expect(Math.abs(size)).toBeGreaterThan(65504);
    expect(value).toBe(size > 0 ? "Inf" : "-Inf");
    // Inf in the residual: the norm's scale is 0.
    expect(story?.nan).toMatchObject({ tap: "blk.1.attn_norm", value: "NaN", reason: { kind: "zero-times-inf" } });
  });

  it("half-precision sums that the trace does not declare are offered, not claimed", async () => {
    const { model, records } = await ran({ scales: { ffn_up: 3e5 } }, "f32", "linear.f16-accumulate@blk.0.ffn_up");
    const story = await storyOf(model, records);
    expect(story?.first?.tap).toBe("blk.0.ffn_up");
    expect(story?.first?.reason).toMatchObject({ kind: "not-explained", half: { format: "f16", largest: 65504 } });
    expect(story === null ? [] : nonFiniteText(story)[2]).toMatch(
      /^why: not explained: .* in half precision .* would overflow, but the trace declares no such sums/,
    );
  });

  it("a half-precision store that f32 does not declare is named as such", async () => {
    const { model, records } = await ran(LARGE, "f32", "precision.f16-overflow@blk.0.output");
    const story = await storyOf(model, records);
    expect(story?.first).toMatchObject({ tap: "blk.0.output" });
    expect(story?.first?.reason).toMatchObject({ kind: "sum-overflows", of: "value", format: "f16", certain: false });
  });

  it("a store with another limit is named by what it kept", async () => {
    const bench = await embedded();
    const clean = bench.clean[0]?.values.get("blk.1.output")?.map(Math.abs).sort().reverse() ?? [];
    const limit = clean[10] ?? 0;
    const story = await storyOf(
      bench.model,
      flat(await bench.run(`precision.f16-overflow@blk.1.output:${limit}`)),
      STEPS,
    );
    expect(story?.first).toMatchObject({ tap: "blk.1.output", extent: { elements: 10 } });
    expect(story?.first?.reason).toMatchObject({ kind: "sum-overflows", format: null, certain: false });
    // One Inf, even of the largest element, proves no limit; it is offered.
    const most = `precision.f16-overflow@blk.1.output:${clean[1]}`;
    const lone = await storyOf(bench.model, flat(await bench.run(most)), STEPS);
    expect(lone?.first).toMatchObject({ extent: { elements: 1 }, reason: { kind: "not-explained" } });
    const { reason } = lone?.first ?? {};
    expect(reason?.kind === "not-explained" && reason.limit?.kept).toBe(clean[1]);
  });

  it("a softmax without its largest score: Inf inside becomes 0, or 0 / 0", async () => {
    const { model, records } = await ran(
      { scales: { attn_q: 20, attn_k: 20 } },
      "f32",
      "attn.softmax-no-max@blk.0.attn_probs",
    );
    const story = await storyOf(model, records);
    const scores = records.find(({ tap }) => tap === "blk.0.attn_scores")?.values ?? new Float32Array(0);
    const probabilities = records.find(({ tap }) => tap === "blk.0.attn_probs")?.values ?? new Float32Array(0);
    expect(scores.reduce((top, score) => Math.max(top, score))).toBeGreaterThan(89);
    expect(probabilities.some(Number.isNaN)).toBe(true);
    expect(story?.first).toMatchObject({ tap: "blk.0.attn_probs", value: "NaN" });
    expect(story?.first?.reason).toMatchObject({ kind: "zero-over-zero", certain: false });
    // Where the sum of exps passes f32 the row became 0.
    const inside = story?.absorbed.find(({ kind }) => kind === "inside");
    const { step = 0, at } = inside ?? {};
    expect(inside).toMatchObject({ tap: "blk.0.attn_probs", value: 0 });
    const rowOf = (tap: string) => {
      const values = records.find((record) => record.step === step && record.tap === tap)?.values;
      return values?.subarray((at?.row ?? 0) * 5, (at?.row ?? 0) * 5 + (at?.position ?? 0) + 1) ?? new Float32Array(0);
    };
    expect(step).toBe(0);
    expect(rowOf("blk.0.attn_scores").reduce((sum, score) => sum + Math.exp(score), 0)).toBeGreaterThan(3.4028235e38);
    expect([...rowOf("blk.0.attn_probs")].every((p) => p === 0)).toBe(true);
    // The same model without the fault.
    const clean = await ran({ scales: { attn_q: 20, attn_k: 20 } }, "f32");
    expect(await storyOf(clean.model, clean.records)).toBeNull();
  });

  it("a row of zeros under a norm without eps is 0 / 0", async () => {
    const { model, records } = await ran(
      {
        scales: { token_embd: 0 },
        untied: true,
        metadata: { "llama.attention.layer_norm_rms_epsilon": { type: "f32", value: 0 } },
      },
      "f32",
    );
    const story = await storyOf(model, records);
    expect(story?.first).toMatchObject({ tap: "blk.0.attn_norm", value: "NaN", place: { token: 0, column: 0 } });
    expect(story?.first?.reason).toMatchObject({ kind: "zero-over-zero", certain: true });
    // All but the second step's embedding.
    expect(story?.ops.length).toBe((story?.opsAfter ?? 0) - 1);
  });
});

describe("made by hand", () => {
  let model: Model;
  let clean: Unnumbered[];
  beforeAll(async () => {
    model = await syntheticModel();
    clean = await exact(model);
  });

  async function exact(of: Model, steps = TOKENS): Promise<Unnumbered[]> {
    const oracle = new OracleRunner(of);
    const records: Unnumbered[] = [];
    let posStart = 0;
    for (const [number, tokens] of steps.entries()) {
      records.push(...(await oracle.step(posStart, tokens, FULL)).records(number));
      posStart += tokens.length;
    }
    return records;
  }

  type Change = (values: Float32Array, record: Unnumbered) => void;
  /** The run with some records' values changed, of step 0. */
  const changed = (changes: Readonly<Record<string, Change>>, records = clean) =>
    records.map((record) => {
      const change = record.step === 0 ? changes[record.tap] : undefined;
      if (change === undefined || record.values === null) return record;
      const values = record.values.slice();
      change(values, record);
      return { ...record, ...recordFromValues(record, 0, values, { sketch: true, values: true }) };
    });
  const set =
    (...pairs: readonly (readonly [number, number])[]): Change =>
    (values) => {
      for (const [index, value] of pairs) values[index] = value;
    };
  const INF = Number.POSITIVE_INFINITY;
  const EMBD = 64;
  /** Row (head 1, token 3) of scores: 5 tokens, 5 keys. */
  const ROW = (1 * 5 + 3) * 5;

  it("nothing: the oracle's run has no story, and neither has one with -Inf at masked scores", async () => {
    expect(await storyOf(model, clean)).toBeNull();
    const masked: Change = (values) => {
      for (let row = 0; row < values.length / 5; row++) values.fill(-INF, row * 5 + (row % 5) + 1, (row + 1) * 5);
    };
    expect(await storyOf(model, changed({ "blk.0.attn_scores": masked }))).toBeNull();
    const trace = await traceFrom(atLevel(changed({ "blk.0.attn_scores": masked }), "stats"), TOKENS);
    expect(firstNonFinite(trace)).toBeNull();
  });

  it("Inf - Inf in a residual", async () => {
    const at = 2 * EMBD + 5;
    const story = await storyOf(
      model,
      changed({
        embed: set([at, INF]),
        "blk.0.attn_out": set([at, -INF]),
        "blk.0.attn_residual": set([at, Number.NaN]),
      }),
    );
    expect(story?.first).toMatchObject({ tap: "embed", value: "Inf", place: { token: 2, position: 2, column: 5 } });
    expect(story?.nan).toMatchObject({
      tap: "blk.0.attn_residual",
      place: { token: 2, column: 5 },
      reason: { kind: "inf-minus-inf" },
    });
    expect(story?.nan?.operands).toEqual([
      { name: "embed", value: INF },
      { name: "blk.0.attn_out", value: -INF },
    ]);
  });

  it("a softmax's row of +Inf, of nothing but -Inf, and with a key that no mask hides", async () => {
    const infinite = await storyOf(
      model,
      changed({
        "blk.0.attn_scores": set([ROW + 1, INF]),
        "blk.0.attn_probs": (values) => void values.fill(Number.NaN, ROW, ROW + 4),
      }),
    );
    expect(infinite?.nan).toMatchObject({
      tap: "blk.0.attn_probs",
      place: { head: 1, token: 3, column: 0 },
      reason: { kind: "inf-minus-inf" },
    });
    const empty = await storyOf(
      model,
      changed({
        "blk.0.attn_scores": (values) => void values.fill(-INF, ROW, ROW + 4),
        "blk.0.attn_probs": (values) => void values.fill(Number.NaN, ROW, ROW + 4),
      }),
    );
    expect(empty?.first).toMatchObject({
      tap: "blk.0.attn_scores",
      value: "-Inf",
      place: { head: 1, token: 3, column: 0 },
      reason: { kind: "masked-key" },
    });
    expect(empty?.nan).toMatchObject({
      tap: "blk.0.attn_probs",
      place: { head: 1, token: 3 },
      reason: { kind: "empty-row", keys: 4 },
    });
  });

  it("a softmax without its largest score on a device whose exp overflows", async () => {
    const scores = [120, 3, 95, -4];
    const story = await storyOf(
      model,
      changed({
        "blk.1.attn_scores": (values) => values.set(scores, ROW),
        "blk.1.attn_probs": (values) => values.set([Number.NaN, 0, Number.NaN, 0], ROW),
      }),
    );
    expect(story?.first).toMatchObject({ tap: "blk.1.attn_probs", place: { head: 1, token: 3, column: 0 } });
    expect(story?.first?.reason).toMatchObject({ kind: "exp-overflows", argument: 120, certain: false });
    // The same scores with NaN in another place are not explained by it.
    // Nor where another row should have had it.
    const elsewhere = await storyOf(
      model,
      changed({
        "blk.1.attn_scores": (values) => {
          values.set(scores, ROW);
          values.fill(-200, 0, 1);
        },
        "blk.1.attn_probs": (values) => values.set([Number.NaN, 0, Number.NaN, 0], ROW),
      }),
    );
    expect(elsewhere?.first).toMatchObject({ place: { column: 0 }, reason: { kind: "not-explained" } });
    const other = await storyOf(
      model,
      changed({
        "blk.1.attn_scores": (values) => values.set(scores, ROW),
        "blk.1.attn_probs": (values) => values.set([1, Number.NaN, 0, 0], ROW),
      }),
    );
    expect(other?.first).toMatchObject({ place: { column: 1 }, reason: { kind: "not-explained" } });
  });

  it("a product and partial sums beyond f32", async () => {
    const gate: Change = set([7, 3e30]);
    const product = await storyOf(
      model,
      changed({ "blk.0.ffn_gate": gate, "blk.0.ffn_up": set([7, -2e20]), "blk.0.ffn_act": set([7, -INF]) }),
    );
    expect(product?.first).toMatchObject({ tap: "blk.0.ffn_act", value: "-Inf", place: { token: 0, column: 7 } });
    expect(product?.first?.reason).toMatchObject({ kind: "product-overflows", format: "f32", certain: true });
    const sum = await storyOf(
      model,
      changed({ embed: set([9, 3e38]), "blk.0.attn_out": set([9, 3e38]), "blk.0.attn_residual": set([9, INF]) }),
    );
    expect(sum?.first).toMatchObject({ tap: "blk.0.attn_residual", place: { token: 0, column: 9 } });
    expect(sum?.first?.reason).toMatchObject({ kind: "sum-overflows", of: "value", format: "f32", certain: true });
    const silu = await storyOf(
      model,
      changed({ "blk.0.ffn_gate": set([7, 200]), "blk.0.ffn_act": set([7, Number.NaN]) }),
    );
    expect(silu?.first).toMatchObject({
      tap: "blk.0.ffn_act",
      reason: { kind: "exp-overflows", argument: 200, certain: false },
    });
    const ratio = await storyOf(
      model,
      changed({ "blk.0.ffn_gate": set([7, -INF]), "blk.0.ffn_act": set([7, Number.NaN]) }),
    );
    expect(ratio?.nan).toMatchObject({ tap: "blk.0.ffn_act", reason: { kind: "inf-over-inf" } });
    // q . k: two terms that take one another back, each beyond f32 at the end of some order of summing.
    const [q, k] = [new Float32Array(64), new Float32Array(32)];
    q.set([2e19, 2e19, 2e19, 2e19]);
    k.set([1.5e19, 1.5e19, -1.5e19, -1.5e19]);
    const partial = await storyOf(
      model,
      changed({
        "blk.0.q_rope": (values) => values.set(q, 3 * 64),
        "blk.0.k_rope": (values) => values.set(k, 2 * 32),
        "blk.0.attn_scores": set([3 * 5 + 2, Number.NaN]),
      }),
    );
    expect(partial?.first).toMatchObject({ tap: "blk.0.attn_scores", place: { head: 0, token: 3, column: 2 } });
    expect(partial?.first?.reason).toMatchObject({
      ...{ kind: "sum-overflows", of: "partial sums", format: "f32", certain: false },
    });
  });

  it("a weight of the file that is not finite", async () => {
    const broken = await syntheticModel({ scales: { "blk.1.ffn_up": Number.NaN } });
    const story = await storyOf(broken, await exact(broken));
    expect(story?.first).toMatchObject({ tap: "blk.1.ffn_up" });
    expect(story?.first?.reason).toMatchObject({
      kind: "input",
      input: { source: "weight", name: "blk.1.ffn_up.weight", row: 0, column: 0 },
    });
  });

  it("a NaN in the logits leads back to the element that it was born at", async () => {
    const bench = await embedded();
    const of = await audited(bench.model, flat(await bench.run("memory.nan@blk.2.v_proj")), STEPS);
    const trail = await trailOf(of, { step: 1, tap: "logits", index: 3 });
    expect(trail[0]).toMatchObject({
      step: 1,
      tap: "logits",
      reason: { kind: "input", input: { name: "final_norm" } },
    });
    // Through the cache: of the prefill's last row.
    expect(trail.at(-1)).toMatchObject({ step: 0, tap: "blk.2.v_proj", place: { token: 23, column: 0 } });
    expect(trail.at(-1)?.reason.kind).toBe("not-explained");
    expect(trail.length).toBeGreaterThan(5);
  });

  it("a NaN of a decode step is found at its position, also through the cache", async () => {
    const tokens = [[11, 48, 85, 122, 159], [7], [9]];
    const records = (await exact(model, tokens)).map((record) => {
      const index =
        record.step === 1 && record.tap === "blk.1.k_rope"
          ? 4
          : record.step === 2 && record.tap === "blk.1.attn_scores"
            ? 5
            : -1;
      if (index < 0 || record.values === null) return record;
      const values = record.values.slice();
      values[index] = Number.NaN;
      return { ...record, ...recordFromValues(record, 0, values, { sketch: true, values: true }) };
    });
    const of = await audited(model, records, tokens);
    const story = await nonFiniteStory(model, of.run, of.audit);
    expect(story?.first).toMatchObject({
      step: 1,
      tap: "blk.1.k_rope",
      place: { token: 0, position: 5, head: 0 },
      tokenId: 7,
    });
    // Step 2's score of head 0 with the key at position 5 has it from step 1's only row.
    const trail = await trailOf(of, { step: 2, tap: "blk.1.attn_scores", index: 5 });
    expect(trail.map(({ step, tap, index }) => [step, tap, index])).toEqual([
      [2, "blk.1.attn_scores", 5],
      [1, "blk.1.k_rope", 4],
    ]);
  });

  it("absorbed: rightly by a softmax, unseen by a norm, wrongly by a sum", async () => {
    const at = 2 * EMBD + 5;
    const story = await storyOf(
      model,
      changed({
        "blk.0.attn_residual": set([at, INF]),
        "blk.0.ffn_norm": (values) => {
          values.fill(0, 2 * EMBD, 3 * EMBD);
          values[at] = Number.NaN;
        },
        "blk.1.attn_scores": set([ROW + 1, -INF]),
        "blk.1.attn_probs": (values, { values: before }) => {
          for (let s = 0; s < 4; s++)
            values[ROW + s] = s === 1 ? 0 : (before?.[ROW + s] ?? 0) / (1 - (before?.[ROW + 1] ?? 0));
        },
      }),
    );
    const kinds = story?.absorbed.map(({ tap, kind, count, at }) => [tap, kind, count, at.token, at.column]);
    expect(kinds).toContainEqual(["blk.0.ffn_norm", "hidden", EMBD - 1, 2, 0]);
    expect(kinds).toContainEqual(["blk.0.ffn_gate", "lost", 96, 2, 0]);
    expect(kinds).toContainEqual(["blk.0.output", "lost", 1, 2, 5]);
    expect(kinds).toContainEqual(["blk.1.attn_probs", "right", 1, 3, 1]);
  });

  it("Inf that arises and goes inside a norm", async () => {
    const story = await storyOf(
      model,
      changed({
        "blk.0.attn_residual": (values) => void values.fill(1e19, EMBD, 2 * EMBD),
        "blk.0.ffn_norm": (values) => void values.fill(0, EMBD, 2 * EMBD),
      }),
    );
    expect(story).toMatchObject({ first: null, ops: [], logits: null });
    expect(story?.absorbed).toMatchObject([
      { tap: "blk.0.ffn_norm", kind: "inside", count: EMBD, at: { token: 1, column: 0 } },
    ]);
  });

  it("without values of the op only the op is named", async () => {
    const records = changed({ "blk.0.ffn_act": set([7, Number.NaN]) }).map((record) =>
      record.step === 0 && record.tap === "blk.0.ffn_act" ? { ...record, values: null } : record,
    );
    const story = await storyOf(model, records);
    expect(story).toMatchObject({
      first: null,
      ops: [{ step: 0, tap: "blk.0.ffn_act", nan: 1, inf: 0, positions: null }],
    });
    expect(story && nonFiniteText(story)[0]).toMatch(
      /^first not finite: blk.0.ffn_act, step 0, 1 NaN .* has no values of it/,
    );
  });

  it("without inputs the reason is withheld", async () => {
    const records = changed({ "blk.0.ffn_act": set([7, Number.NaN]) }).filter(({ tap }) => tap !== "blk.0.ffn_up");
    const story = await storyOf(model, records);
    expect(story?.first).toMatchObject({ tap: "blk.0.ffn_act", reason: { kind: "unknown" }, operands: [] });
  });

  it("from counts alone: the first record, and the rows that are wholly gone", async () => {
    const records = changed({
      "blk.0.attn_out": (values) => void values.fill(Number.NaN, EMBD, 2 * EMBD),
      "blk.0.output": set([3, INF]),
    });
    for (const level of ["sketch", "stats"] as const) {
      const found = firstNonFinite(await traceFrom(atLevel(records, level), TOKENS));
      expect(found).toMatchObject({
        step: 0,
        tap: "blk.0.attn_out",
        nan: EMBD,
        inf: 0,
        wholeRows: [1],
        hasValues: false,
      });
      expect(found && firstNonFiniteText(found)).toBe(
        "first not finite: blk.0.attn_out, step 0, 64 NaN and 0 Inf of 320, 1 of 5 rows wholly (1); counts alone do not tell which element or why; trace with --capture full",
      );
    }
    expect(firstNonFinite(await traceFrom(clean, TOKENS))).toBeNull();
  });

  it("in words: where, of what, why, how far", async () => {
    const at = 2 * EMBD + 5;
    const story = await storyOf(
      model,
      changed({ "blk.0.attn_residual": set([at, INF]), embed: set([at, 3e38]), "blk.0.attn_out": set([at, 3e38]) }),
    );
    const lines = story === null ? [] : nonFiniteText(story);
    expect(lines.slice(0, 3)).toEqual([
      "first Inf: blk.0.attn_residual, step 0, row 2 (token 85 at position 2), column 5; 1 of 320 elements there are not finite",
      "made of: embed = 3.000e+38, blk.0.attn_out = 3.000e+38",
      "why: the right value 6.000e+38 is beyond 3.403e+38, the largest f32",
    ]);
    expect(lines[3]).toMatch(/^spread: 1 of \d+ ops from there on, at 1 position \(2\); the logits stay finite$/);
    expect(reasonText({ kind: "empty-row", keys: 4, certain: true })).toMatch(/all 4 scores/);
  });
});
