/** Judging runs by their hashes: the first difference, what may be blamed for it, and what may not. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type CheckName,
  type Condition,
  changedRange,
  type Fingerprint,
  firstDifference,
  judgeRuns,
  type RunPrints,
} from "../../src/compare/determinism.ts";

const STEPS = 2;
const TAPS = ["embed", "a", "b", "c", "logits"];
const COUNT = STEPS * TAPS.length;

/** A run whose ops hash to `hashOf(index)`; logits follow their op. */
function run(hashOf: (index: number) => number = () => 0): RunPrints {
  const ops = Array.from({ length: COUNT }, (_, index): Fingerprint => {
    const tap = TAPS[index % TAPS.length] ?? "";
    return { step: Math.floor(index / TAPS.length), tap, op: "linear", hash: BigInt(hashOf(index)) };
  });
  return { ops, logits: ops.filter(({ tap }) => tap === "logits") };
}

const untraced = (prints: RunPrints): RunPrints => ({ ...prints, ops: [] });
/** Everything from an op on has other bits, as where errors are handed on. */
const from = (index: number, hash: number) => run((i) => (i >= index ? hash : 0));
const clean = run();

let fresh = 100;
const condition = (name: CheckName, ...runs: RunPrints[]): Condition => ({
  name,
  runs: name === "untraced" ? runs.map(untraced) : runs,
});

describe("firstDifference", () => {
  it("is the earliest of the changed ops, with the number of the others", () => {
    const places = fc.uniqueArray(fc.nat(COUNT - 1));
    fc.assert(
      fc.property(places, (changed) => {
        const found = firstDifference(clean.ops, run((i) => (changed.includes(i) ? 1 : 0)).ops);
        if (changed.length === 0) {
          expect(found).toBeNull();
          return;
        }
        const index = Math.min(...changed);
        expect(found).toMatchObject({ index, following: COUNT - index - 1, differing: changed.length - 1 });
        expect(found).toMatchObject({ tap: clean.ops[index]?.tap, step: clean.ops[index]?.step });
      }),
    );
  });

  it("refuses lists that are not of one run, and empty ones: nothing compared is no pass", () => {
    expect(() => firstDifference([], [])).toThrow(/0 ops/);
    expect(() => firstDifference(clean.ops, clean.ops.slice(1))).toThrow(/10 ops cannot be held against 9/);
    expect(() => firstDifference(clean.ops, clean.ops.toReversed())).toThrow(/embed of step 0 has no partner/);
  });
});

describe("judgeRuns", () => {
  const everything = (fault: (name: CheckName) => RunPrints): Condition[] =>
    (["repeat", "fresh", "untraced", "sketch", "full", "nan", "noise", "last"] as const).map((name) =>
      condition(name, fault(name), fault(name), fault(name)),
    );

  it("equal runs are deterministic", () => {
    const judgement = judgeRuns(
      clean,
      everything(() => run()),
    );
    expect(judgement).toMatchObject({ verdict: "deterministic", cause: null, first: null, race: null });
    expect(judgement.checks.map(({ result }) => result)).toEqual(Array(8).fill("same"));
    expect(judgement.checks.find(({ name }) => name === "repeat")?.runs).toBe(4);
    expect(judgement.checks.find(({ name }) => name === "untraced")?.ops).toBe(STEPS);
  });

  it("the earlier of a race and of stale memory is named, and what a race explains is blamed on nothing else", () => {
    fc.assert(
      fc.property(fc.nat(COUNT - 1), fc.nat(COUNT - 1), (race, memory) => {
        fc.pre(race !== memory);
        const held: Partial<Record<CheckName, number>> = { nan: 1, noise: 2, last: 3 };
        const runs = everything((name) => {
          const [lottery, stale] = [fresh++, held[name] ?? 0];
          return run((i) => (i >= race ? lottery : i >= memory ? stale : 0));
        });
        const judgement = judgeRuns(clean, runs);
        expect(judgement).toMatchObject({ verdict: "unstable", first: { index: Math.min(race, memory) } });
        expect(judgement.cause).toBe(race < memory ? "race" : "memory");
        expect(judgement.race?.index).toBe(race);
        const nan = judgement.checks.find(({ name }) => name === "nan");
        expect(nan?.result).toBe(race < memory ? "unjudged" : "differs");
      }),
    );
  });

  const memory = (...more: Condition[]) => judgeRuns(clean, more);
  it("memory is blamed only if runs over the same memory agree, and runs over other memory do not", () => {
    const [one, two] = [from(3, 1), from(3, 2)];
    expect(memory(condition("repeat", clean), condition("nan", one))).toMatchObject({ cause: "unknown" });
    expect(memory(condition("repeat", clean), condition("nan", one, one))).toMatchObject({ cause: "memory" });
    // Natural runs that differ prove nothing; two fillings do.
    expect(memory(condition("repeat", two), condition("nan", one, one))).toMatchObject({ cause: "unknown" });
    expect(memory(condition("repeat", two), condition("nan", one, one), condition("noise", two, two))).toMatchObject({
      cause: "memory",
    });
    expect(memory(condition("repeat", two), condition("nan", one, one), condition("noise", one, one))).toMatchObject({
      cause: "unknown",
    });
    expect(memory(condition("repeat", clean), condition("nan", one, two))).toMatchObject({ cause: "race" });
  });

  it("a difference that shows in repeats alone is unstable, and of unknown cause", () => {
    const still = (["nan", "noise"] as const).map((name) => condition(name, clean, clean, clean));
    const judgement = judgeRuns(clean, [condition("repeat", clean, from(6, 1)), ...still]);
    expect(judgement).toMatchObject({ verdict: "unstable", cause: "unknown", first: { index: 6, step: 1, tap: "a" } });
    expect(judgement.checks[0]).toMatchObject({ result: "differs", runs: 3, run: 3 });
  });

  it("the trace is blamed only if untraced runs agree among themselves", () => {
    const still = (["repeat", "nan", "noise"] as const).map((name) => condition(name, clean, clean));
    const observed = (...runs: RunPrints[]) => judgeRuns(clean, [...still, condition("untraced", ...runs)]);
    expect(observed(from(9, 1), from(9, 1))).toMatchObject({ cause: "observer", first: { index: 9, tap: "logits" } });
    expect(observed(from(9, 1), from(9, 2))).toMatchObject({ verdict: "unstable", cause: "unknown" });
    expect(observed(from(9, 1))).toMatchObject({ cause: "unknown" });
    // Of a traced run every op is held against the base, not only its logits.
    const full = judgeRuns(clean, [...still, condition("full", from(3, 1), from(3, 1))]);
    expect(full).toMatchObject({ cause: "observer", first: { index: 3 } });
  });

  it("a trace that comes after an unstable op is not judged", () => {
    const one = from(3, 1);
    const judgement = judgeRuns(clean, [condition("repeat", one), condition("untraced", from(4, 1))]);
    expect(judgement.checks.map(({ result }) => result)).toEqual(["differs", "unjudged"]);
  });
});

describe("changedRange", () => {
  it("is the smallest rectangle around what changed", () => {
    const changes = fc.uniqueArray(fc.nat(59), { minLength: 1 });
    fc.assert(
      fc.property(changes, (places) => {
        const [a, b] = [new Float32Array(60), new Float32Array(60)];
        for (const place of places) b[place] = 1;
        const [rows, columns] = [places.map((place) => Math.floor(place / 12)), places.map((place) => place % 12)];
        const span = (numbers: number[]) => [Math.min(...numbers), Math.max(...numbers)];
        expect(changedRange(a, b, 12)).toEqual({
          ...{ rows: span(rows), columns: span(columns), changed: places.length },
        });
      }),
    );
  });

  it("holds bits against one another: NaN equals itself, the zeros do not", () => {
    const nan = Float32Array.of(Number.NaN, 0);
    expect(changedRange(nan, Float32Array.of(Number.NaN, 0), 2)).toBeNull();
    expect(changedRange(nan, Float32Array.of(Number.NaN, -0), 2)).toMatchObject({ columns: [1, 1], changed: 1 });
    const other = new Float32Array(Uint32Array.of(0x7fc00001, 0).buffer);
    expect(changedRange(nan, other, 2)).toMatchObject({ columns: [0, 0], changed: 1 });
    expect(() => changedRange(nan, new Float32Array(3), 1)).toThrow(/2 values cannot be held against 3/);
  });
});
