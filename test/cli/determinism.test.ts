/** `determinism` as a user runs it: planted bugs are found by the check that can see them, at their tap; clean runs show none. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkDeterminism, type DeterminismRun } from "../../src/cli/determinism-checks.ts";
import { parseFaults } from "../../src/engine/faults/parse.ts";
import { openModel } from "../../src/model/model.ts";
import { determinismJson, determinismSchema, determinismText } from "../../src/report/determinism.ts";
import { someTokens } from "../support/engine.ts";
import { PROGRAM } from "../support/program.ts";

const root = join(import.meta.dirname, "../..");
const MODEL = join(root, "models/faultline-tiny-f16.gguf");
const ENGINE = { device: "auto", dtype: "f32", kvCache: true } as const;
const TOKENS = someTokens(24);

function faultline(...args: string[]) {
  const command = [PROGRAM, "determinism", ...args];
  return spawnSync(process.execPath, command, { cwd: root, encoding: "utf8" });
}

async function checked(changes: Partial<DeterminismRun> & { fault?: string }) {
  const model = changes.model ?? (await openModel(MODEL));
  const engine = changes.engine ?? ENGINE;
  const faults = changes.fault === undefined ? [] : parseFaults([changes.fault], model, engine);
  const facts = await checkDeterminism({
    ...{ model, tokens: TOKENS, steps: 1, engine, faults, runs: 2, quiet: true },
    ...changes,
  });
  const results = Object.fromEntries(facts.judgement.checks.map(({ name, result }) => [name, result]));
  return { ...facts, results };
}

describe("planted", () => {
  const UNWRITTEN = { nan: "differs", noise: "differs", untraced: "same", full: "same" } as const;
  const RACE = { repeat: "differs", nan: "unjudged", noise: "unjudged" } as const;
  const whole = { rows: [0, 23], columns: [0, 255], changed: 24 * 256 };
  const tail = { rows: [0, 23], columns: [240, 255], changed: 24 * 16, shape: [24, 256] };
  // A row a head and token; the newest of 25 keys in the only decode step.
  const scores = { rows: [0, 8 * 24 - 1], columns: [0, 23], shape: [8 * 24, 24], dims: "head token key" };
  const slot = { rows: [0, 7], columns: [24, 24], changed: 8 };
  const cases: readonly [fault: string, cause: string, first: string, where: object, results: object][] = [
    ["memory.race", "race", "0 blk.2.attn_out", { shape: [24, 256] }, RACE],
    ["memory.uninitialised", "memory", "0 blk.2.attn_out", whole, UNWRITTEN],
    ["memory.uninitialised@blk.1.attn_scores", "memory", "0 blk.1.attn_scores", scores, UNWRITTEN],
    ["linear.rows-tail-stale", "memory", "0 blk.2.q_proj", tail, UNWRITTEN],
    ["kv.slot-plus-one", "memory", "1 blk.2.attn_scores", slot, UNWRITTEN],
  ];
  it.each(cases)("%s", async (fault, cause, first, where, results) => {
    const facts = await checked({ fault, quick: true });
    expect(facts.judgement).toMatchObject({ verdict: "unstable", cause });
    expect(`${facts.judgement.first?.step} ${facts.judgement.first?.tap}`).toBe(first);
    expect(facts.where).toMatchObject(where);
    expect(facts.results).toMatchObject(results);
    const document = determinismJson(facts);
    expect(document).toMatchObject({ cause, where, faults: [expect.stringContaining(fault)] });
    expect(document.first).not.toHaveProperty("index");
    const [rows, columns] = facts.where?.shape ?? [];
    expect(determinismText(facts)).toMatch(new RegExp(`of ${rows}, columns? [\\d-]+ of ${columns} change`));
  });

  it("every check says what it saw", async () => {
    const observed = ["untraced", "sketch", "full"] as const;
    const race = await checked({ fault: "memory.race" });
    expect(race.results).toMatchObject({ repeat: "differs", fresh: "differs", nan: "unjudged", last: "unjudged" });
    for (const name of observed) expect(race.results[name]).toBe("unjudged");
    const memory = await checked({ fault: "memory.uninitialised@blk.1.attn_out" });
    expect(memory.judgement).toMatchObject({ cause: "memory", first: { tap: "blk.1.attn_out" }, race: null });
    expect(memory.results).toMatchObject({ ...UNWRITTEN, last: "differs" });
  });

  it("a race in one layer hides no stale memory before it, and is told of beside it", async () => {
    const model = await openModel(MODEL);
    const faults = parseFaults(["memory.uninitialised@blk.1.attn_out", "memory.race@blk.3.attn_out"], model, ENGINE);
    const facts = await checked({ model, faults, quick: true });
    expect(facts.judgement).toMatchObject({ cause: "memory", first: { tap: "blk.1.attn_out" } });
    expect(facts.judgement.race).toMatchObject({ tap: "blk.3.attn_out" });
    expect(determinismText(facts)).toContain("differ as well, from blk.3.attn_out (step 0) on");
  });
});

describe("clean", () => {
  const cases: readonly [name: string, changes: Partial<DeterminismRun>][] = [
    ["every check", {}],
    ["quick", { quick: true }],
    ["halves", { engine: { ...ENGINE, dtype: "f16" }, quick: true }],
    ["without a KV cache", { engine: { ...ENGINE, kvCache: false }, steps: 2 }],
    ["one token, no decode step", { tokens: [5], steps: 0 }],
  ];
  it.each(cases)("%s", async (_name, changes) => {
    const facts = await checked(changes);
    expect(facts.judgement).toMatchObject({ verdict: "deterministic", cause: null, first: null });
    expect(new Set(Object.values(facts.results))).toEqual(new Set(["same"]));
    expect(facts.leftOut).toEqual([]);
  });

  it("a bug that is wrong alike in every run is not unstable", async () => {
    const facts = await checked({ fault: "memory.alias", quick: true });
    expect(facts.judgement.verdict).toBe("deterministic");
  });

  it("values that memory cannot hold are left out with the reason, and the rest is checked", async () => {
    const facts = await checked({ quick: true, heldBytes: 1 << 20 });
    const reason = expect.stringMatching(/^values of a step of 24 tokens take 2.1 MiB, at most 1 are held$/);
    expect(facts.leftOut).toEqual([{ name: "full", reason }]);
    expect(determinismText(facts)).toContain("full was left out: values of a step");
    expect(Object.keys(facts.results)).toEqual(["untraced", "nan", "repeat"]);
    expect(facts.judgement.verdict).toBe("deterministic");
  });
});

describe("the command", () => {
  it("prints a table or a document, and ends with the verdict's status", () => {
    const clean = faultline(MODEL, "--tokens", "256,10,11", "-n", "1", "--json");
    expect(clean.status, clean.stderr).toBe(0);
    const document = determinismSchema.parse(JSON.parse(clean.stdout));
    expect(document).toMatchObject({ verdict: "deterministic", first: null, steps: 1, tokens: [256, 10, 11] });
    expect(document.checks.map(({ check }) => check)).toEqual([
      "fresh",
      "repeat",
      "untraced",
      "sketch",
      "full",
      "nan",
      "noise",
      "last",
    ]);
    expect(document.checks.find(({ check }) => check === "repeat")?.runs).toBe(3);

    const faulty = faultline(MODEL, "--tokens", "256,10,11", "-n", "0", "--quick", "--fault", "memory.uninitialised");
    expect(faulty.status, faulty.stderr).toBe(1);
    expect(faulty.stdout).toMatch(
      /^unstable: blk\.2\.attn_out \(step 0\) is the first op .* what the memory held before/,
    );
    expect(faulty.stdout).toMatch(/^nan .* differs +blk\.2\.attn_out \(step 0\), between the base run and run 1$/m);
  });

  const refused: readonly [what: string, args: string[], message: RegExp][] = [
    ["the oracle", ["--tokens", "1,2", "--device", "oracle"], /^faultline: --device oracle: .*leave it out\n$/],
    [
      "too many steps",
      ["--tokens", "1,2", "-n", "5000"],
      /2 prompt tokens and 5000 steps exceed the model's context of \d+; shorten/,
    ],
    [
      "a prompt too long",
      ["--tokens", Array(5000).fill(1).join()],
      /5000 prompt tokens and 2 steps exceed the model's context/,
    ],
    ["a single run", ["--tokens", "1,2", "-r", "1"], /A whole number of at least 2 is needed/],
    ["an unknown fault", ["--tokens", "1,2", "--fault", "memory.rice"], /no fault "memory.rice"; nearest: memory.race/],
    ["no prompt", [], /no prompt; give one of/],
  ];
  it.each(refused)("refuses %s", (_what, args, message) => {
    const { status, stdout, stderr } = faultline(MODEL, ...args);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(stderr.trimEnd().split("\n").length).toBe(1);
  });
});
