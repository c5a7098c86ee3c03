/**
 * What is computed rightly, in any order and with any rounding that is declared, is never accused: laws over emulated engines. The other
 * direction, that small faults are found, stands in bounds-planted.test.ts.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BLOCKS_OF_32 } from "../../src/oracle/arithmetic.ts";
import { type BoundCase, CASES, type Declared, judged, judgedRun } from "../support/bound-cases.ts";
import { type EmulatedEngine, emulated, emulatedEngine } from "../support/emulated-ops.ts";
import { DATA, type Data } from "../support/hard-data.ts";
import { uniform } from "../support/random.ts";
import {
  blocksOf32,
  eitherWay,
  FORMATS,
  flushed,
  fused,
  ORDERS,
  truncated,
  truncatedToHalf,
} from "../support/rounding.ts";

const single = FORMATS.f32;
const { f16, bf16 } = FORMATS;
const OWN: Declared = { name: "faultline", settings: { sum_order: BLOCKS_OF_32 } };
const named = (dtype: string, settings: Declared["settings"] = {}): Declared => ({
  dtype,
  settings: { inputs: "stored", ...settings },
});

interface Right {
  readonly engine: EmulatedEngine;
  readonly declared: Declared;
  /** What the engine reads is already in this format. */
  readonly reads?: (x: number) => number;
  /** What is recorded of that, where it is less. */
  readonly records?: (x: number) => number;
  /** Data that exceed the format. */
  readonly without?: readonly string[];
}

const NARROW = ["huge", "one huge channel", "many magnitudes"];
const RIGHT: Readonly<Record<string, Right>> = {
  ...Object.fromEntries(
    Object.entries(ORDERS).map(([name, order]) => [name, { engine: emulatedEngine({ order }), declared: {} }]),
  ),
  "fused multiply-add": { engine: emulatedEngine({ dot: fused(single) }), declared: {} },
  "fused, subnormals flushed": {
    engine: emulatedEngine({ round: flushed(single), dot: fused(flushed(single)) }),
    declared: {},
  },
  "subnormals flushed": { engine: emulatedEngine({ round: flushed(single) }), declared: {} },
  "this program's order": { engine: emulatedEngine({ order: blocksOf32 }), declared: OWN },
  "this program's order, cut off": { engine: emulatedEngine({ order: blocksOf32, round: truncated }), declared: OWN },
  "in pairs, cut off": {
    engine: emulatedEngine({ order: ORDERS.pairwise ?? blocksOf32, round: truncated, store: truncated }),
    declared: {},
  },
  "stored in f16": { engine: emulatedEngine({ store: f16 }), declared: named("f16"), reads: f16, without: NARROW },
  "stored in f16, cut off": {
    ...{ engine: emulatedEngine({ store: truncatedToHalf }), declared: named("f16"), reads: f16, without: NARROW },
  },
  "stored in bf16": { engine: emulatedEngine({ store: bf16 }), declared: named("bf16"), reads: bf16 },
  "recorded in f16, read in f32": {
    ...{ engine: emulatedEngine({ store: f16 }), declared: { dtype: "f16" }, records: f16, without: NARROW },
  },
  "recorded in f16, cut off": {
    ...{ engine: emulatedEngine({ store: truncatedToHalf }), declared: { dtype: "f16" } },
    ...{ records: truncatedToHalf, without: NARROW },
  },
  "summed in f16": {
    ...{ engine: emulatedEngine({ store: f16, round: f16 }), declared: named("f16", { accumulate: "f16" }) },
    ...{ reads: f16, without: NARROW },
  },
  "cached in f16": {
    engine: emulatedEngine({ cache: f16 }),
    declared: { settings: { kv: "f16" } },
    without: ["huge", "many magnitudes"],
  },
};

const kinds = Object.keys(CASES) as (keyof typeof CASES)[];
const termsOf = (kind: keyof typeof CASES): number[] =>
  kind === "attn_scores" ? [2, 64, 128] : kind === "swiglu" || kind === "add" ? [64] : [1, 7, 576, 1536];

/** Numbers as the engine reads them: what an engine records shorter than it reads is not what it was given. */
const readBy =
  (data: Data, reads: ((x: number) => number) | undefined): Data =>
  (count, seed) =>
    reads === undefined ? data(count, seed) : data(count, seed).map(reads);

const recorded = (of: BoundCase, records: (x: number) => number): BoundCase => ({
  ...of,
  inputs: of.inputs.map((x) => ({ ...x, data: x.data.map(records) })),
});

describe.each(Object.entries(RIGHT))("%s", (_name, { engine, declared, reads, records, without = [] }) => {
  it.each(kinds)("%s is clean on hard data", (kind) => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.keys(DATA).filter((name) => !without.includes(name))),
        fc.constantFrom(...termsOf(kind)),
        fc.integer({ min: 1, max: 1e6 }),
        (name, terms, seed) => {
          const data = readBy(DATA[name] ?? (() => new Float32Array(0)), reads);
          const of = CASES[kind]({ rows: terms > 600 ? 3 : 8, terms }, data, seed);
          const actual = emulated(of.op, of.inputs, of.context, engine);
          const own = judged(records === undefined ? of : recorded(of, records), actual, declared);
          expect(own).toMatchObject({ verdict: "clean", beyondLikely: 0, beyondWorst: 0 });
        },
      ),
      { numRuns: 12, seed: 7 },
    );
  });
});

it("the longest sums are clean too", () => {
  for (const name of ["normal", "positive", "cancelling", "one huge channel"]) {
    for (const order of Object.values(ORDERS)) {
      for (const kind of ["rms_norm", "linear"] as const) {
        const data = DATA[name] ?? (() => new Float32Array(0));
        const own = judgedRun(CASES[kind]({ rows: 2, terms: 4096 }, data, 5), emulatedEngine({ order }));
        expect([name, kind, own.verdict]).toEqual([name, kind, "clean"]);
      }
    }
  }
});

/** Rounding each operation as an adversary likes, within what WGSL allows: nothing is proved. */
describe.each(kinds)("%s rounded either way", (kind) => {
  it.each(Object.keys(DATA).filter((name) => kind !== "swiglu" || name !== "many magnitudes"))(
    "is not proved wrong on %s",
    (name) => {
      const data = DATA[name] ?? (() => new Float32Array(0));
      for (const terms of termsOf(kind).filter((each) => each < 600)) {
        const of = CASES[kind]({ rows: 6, terms }, data, terms + 11);
        const random = uniform(terms);
        for (const round of [truncated, flushed(truncated), eitherWay(random), flushed(eitherWay(random))]) {
          const own = judgedRun(of, emulatedEngine({ round, store: round }));
          expect([own.beyondWorst, own.nonFinite.unexplained]).toEqual([0, 0]);
        }
      }
    },
  );
});

/** exp as bad as WGSL lets it be: 3 + 2 |x| ULP. */
it.each(["causal_softmax", "swiglu"] as const)("%s with WGSL's exp is not proved wrong", (kind) => {
  const random = uniform(3);
  const wild = (spread: () => number) => (x: number) => {
    const y = Math.exp(x);
    const ulp = 2 ** (Math.max(-126, Math.floor(Math.log2(y))) - 23);
    return single(y === 0 || !Number.isFinite(y) ? y : Math.max(0, y + spread() * (3 + 2 * Math.abs(x)) * ulp));
  };
  let most = 0;
  for (const spread of [() => 2 * random() - 1, () => (random() < 0.5 ? -1 : 1), () => 1, () => -1]) {
    for (const [name, data] of Object.entries(DATA)) {
      if (kind === "swiglu" && ["huge", "many magnitudes", "one huge channel"].includes(name)) continue;
      const own = judgedRun(CASES[kind]({ rows: 6, terms: 64 }, data, 21), emulatedEngine({ exp: wild(spread) }));
      expect([name, own.beyondWorst]).toEqual([name, 0]);
      most = Math.max(most, own.worstShare);
    }
  }
  // The bound is not far off either.
  expect(most).toBeGreaterThan(0.2);
});

/** Rows that are one row err alike, and addends of one size are rounded in one direction. */
it.each(["rms_norm", "linear", "causal_softmax"] as const)("%s of the same row 300 times is clean", (kind) => {
  const row = (data: Data): Data => {
    return (count, seed) => {
      const one = data(kind === "linear" ? 64 : 576, seed);
      return count % one.length === 0
        ? Float32Array.from({ length: count }, (_, i) => one[i % one.length] as number)
        : data(count, seed);
    };
  };
  for (const name of ["normal", "positive", "mostly zeros", "one huge channel"]) {
    const data = row(DATA[name] ?? (() => new Float32Array(0)));
    const of = CASES[kind]({ rows: 300, terms: kind === "linear" ? 64 : 576 }, data, 9);
    expect([name, judgedRun(of, emulatedEngine()).verdict]).toEqual([name, "clean"]);
  }
});
