/** Somebody else's engine: its clean run matches ours, and each of its bugs is the first origin of a comparison. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { dumpSchema } from "../../references/dump-schema.ts";
import { auditTrace } from "../../src/compare/audit.ts";
import { compareTraces } from "../../src/compare/compare.ts";
import { diagnoseAudit } from "../../src/compare/judged-audit.ts";
import { FAULTS } from "../../src/engine/faults/table.ts";
import { openModel } from "../../src/model/model.ts";
import { readPrompt } from "../../src/run/prompt.ts";
import { traceModel } from "../../src/run/trace-model.ts";
import { Trace } from "../../src/trace/reader.ts";
import { type Bench, embedded } from "../support/faults.ts";
import {
  EMBEDDED,
  FOLLOW,
  type ForeignRun,
  type ForeignRuns,
  foreignPython,
  foreignRuns,
  foreignTrace,
  NO_PYTHON,
  NOT_FELT,
  PROMPT,
  runForeign,
  STEPS,
} from "../support/foreign.ts";

const scratch = mkdtempSync(join(tmpdir(), "faultline-foreign-test-"));
let runs: ForeignRuns;
/** The oracle's trace of the same tokens. */
let expected: Trace;

beforeAll(async () => {
  if (foreignPython() === null) return;
  runs = await foreignRuns();
  const model = await openModel(EMBEDDED);
  const output = join(scratch, "oracle.arrow");
  await traceModel({
    ...{ model, ...readPrompt(model, { tokens: PROMPT }, FOLLOW.length), steps: FOLLOW.length, follow: FOLLOW },
    ...{ output, capture: "full", quiet: true, version: "" },
    engine: { device: "oracle", dtype: "f32", kvCache: true },
  });
  expected = await Trace.open(output);
});
beforeEach((context) => {
  if (foreignPython() === null) context.skip(NO_PYTHON);
});
afterAll(async () => {
  await expected?.close();
  runs?.remove();
  rmSync(scratch, { recursive: true });
});

/** What a comparison with the oracle says of a dump. */
async function judged(folder: string) {
  const trace = await foreignTrace(folder);
  const { verdict, ops, totals } = await compareTraces(expected, trace);
  await trace.close();
  const origin = ops.find((op) => op.isOrigin);
  return { verdict, origin: origin === undefined ? null : { step: origin.step, tap: origin.tap }, ops, totals };
}

/** The bugs for which this does not hold, each with what was found instead. */
async function exceptions<T>(bugs: readonly ForeignRun[], found: (run: ForeignRun) => Promise<T | null>) {
  const all: [string, T][] = [];
  for (const run of bugs) {
    const what = await found(run);
    if (what !== null) all.push([run.bug, what]);
  }
  return all;
}

describe("the clean run", () => {
  it("matches the oracle in every tap of every step", async () => {
    const { verdict, ops, totals } = await judged(runs.clean);
    expect({ verdict, totals }).toMatchObject({
      verdict: "match",
      totals: { expected: expected.records.length, matched: expected.records.length, unmatched: 0, refused: 0 },
    });
    // It computes: no tap of f32 arithmetic is the oracle's to the bit.
    const equal = ops.filter(({ judgement }) => judgement.relL2 === 0).map(({ tap }) => tap);
    expect(new Set(equal)).toEqual(new Set(["rope.cos", "rope.sin", "embed"]));
  });

  it("chooses the tokens that the others are told to follow", async () => {
    const out = join(scratch, "greedy");
    await runForeign(EMBEDDED, "--tokens", PROMPT.join(","), "--steps", `${FOLLOW.length}`, "--out", out);
    const { steps } = dumpSchema.parse(JSON.parse(readFileSync(join(out, "dump.json"), "utf8")));
    expect(steps.map(({ tokens }) => tokens)).toEqual(STEPS);
  });
});

describe("a bug", () => {
  it("is the first origin, in the step in which it can show first", async () => {
    const felt = runs.bugs.filter(({ bug }) => NOT_FELT[bug] === undefined);
    const wrong = await exceptions(felt, async ({ folder, tap, step }) => {
      const { verdict, origin } = await judged(folder);
      return verdict === "divergent" && origin?.tap === tap && origin.step === step ? null : { verdict, origin };
    });
    expect(wrong).toEqual([]);
  });

  it("that rounding could explain is a match", async () => {
    const small = runs.bugs.filter(({ bug }) => NOT_FELT[bug] !== undefined);
    expect(small.map(({ bug }) => bug)).toEqual(Object.keys(NOT_FELT));
    expect(await exceptions(small, async ({ folder }) => (await judged(folder)).origin)).toEqual([]);
  });
});

/** What an audit says of a dump: ops at fault in order, each with the causes that reproduce it. */
async function audited(folder: string) {
  const [model, trace] = [await openModel(EMBEDDED), await foreignTrace(folder)];
  const { faults } = await diagnoseAudit(model, trace, await auditTrace(model, trace));
  await trace.close();
  model.file.close();
  return faults.map(({ tap, steps, diagnosis }) => ({
    tap,
    step: steps[0],
    causes: diagnosis?.causes.map(({ hypothesis }) => hypothesis) ?? [],
  }));
}

/** Taps that a bug of both rotations, both attention sums or both of two exchanged weights makes wrong beside the table's. */
const ALSO: Readonly<Record<string, string>> = {
  q_rope: "k_rope",
  attn_scores: "attn_ctx",
  k_proj: "v_proj",
  ffn_gate: "ffn_up",
  attn_norm: "ffn_norm",
};

describe("the audit, from a bug's dump alone", () => {
  it("finds nothing in the clean run", async () => {
    expect(await audited(runs.clean)).toEqual([]);
  });

  it("proves the bug's op and no other; names the cause of a listed bug, and of no other", async () => {
    const felt = runs.bugs.filter(({ bug }) => NOT_FELT[bug] === undefined);
    const wrong = await exceptions(felt, async ({ folder, tap, step, id }) => {
      const faults = await audited(folder);
      const [first] = faults;
      const name = tap.replace(/^blk\.\d+\./, "");
      const elsewhere = faults.filter(
        (fault) => fault.tap !== tap && fault.tap !== tap.replace(name, ALSO[name] ?? ""),
      );
      const isNamed = (causes: readonly string[]) =>
        id === null ? causes.every((cause) => cause.startsWith("fit.")) : causes.includes(id);
      const isRight = first?.tap === tap && first.step === step && isNamed(first.causes) && elsewhere.length === 0;
      return isRight ? null : { id, faults };
    });
    expect(wrong).toEqual([]);
  });

  it("accuses nobody where rounding explains what a bug changes", async () => {
    const small = runs.bugs.filter(({ bug }) => NOT_FELT[bug] !== undefined);
    const accused = await exceptions(small, async ({ folder }) => (await audited(folder))[0] ?? null);
    expect(accused).toEqual([]);
  });
});

/**
 * How far apart two right computations of this model were seen to be at any tap (README.md). Ours and theirs may be off by as much
 * each, and an op amplifies its input's: a softmax by the size of its scores, about 10. Of values that are rounded to halves, one in
 * 2^-10 / noise falls to the other side, by up to 2^-10.
 */
const NOISE = 2e-6;
const same = (id: string | null) => (id === "precision.f16-store" ? Math.sqrt(NOISE * 2 ** -10) : 10 * NOISE);

/** relL2 of b to a. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(b.length).toBe(a.length);
  let [difference, size] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference += ((a[i] ?? Number.NaN) - (b[i] ?? Number.NaN)) ** 2;
    size += (a[i] ?? 0) ** 2;
  }
  return Math.sqrt(difference / size);
}

describe("the table of bugs", () => {
  it("has bugs of many families of the catalogue, and as many of none", () => {
    const ids = runs.bugs.flatMap(({ id }) => id ?? []);
    expect(new Set(ids.map((id) => id.split(".")[0])).size).toBeGreaterThanOrEqual(10);
    expect(ids.filter((id) => FAULTS.every((fault) => fault.id !== id))).toEqual([]);
    expect(runs.bugs.length - ids.length).toBeGreaterThanOrEqual(ids.length);
  });

  /** The bug's tap in its first step, and the same of our engine with a fault; both were given right inputs there. */
  async function both(bench: Bench, { folder, tap, step }: ForeignRun, fault: string) {
    const trace = await foreignTrace(folder);
    const theirs = await trace.load(trace.records.findIndex((record) => record.tap === tap && record.step === step));
    await trace.close();
    const ours = (await bench.run(fault))[step]?.records.find((record) => record.tap === tap);
    return distance(theirs.values ?? [], ours?.values ?? []);
  }

  it("names faults as we do: our engine with the fault planted gives the bug's output", async () => {
    const bench = await embedded(STEPS);
    const listed = runs.bugs.filter(({ id }) => id !== null);
    const different = await exceptions(listed, async (run) => {
      const relL2 = await both(bench, run, `${run.id}@${run.tap}${run.parameter === null ? "" : `:${run.parameter}`}`);
      return relL2 < same(run.id) ? null : relL2;
    });
    expect(different).toEqual([]);
  });
});
