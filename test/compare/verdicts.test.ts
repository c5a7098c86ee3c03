/** False verdicts: what must not be called alike, what must not be accused, and what the first line must not keep to itself. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compareTraces } from "../../src/compare/compare.ts";
import { planPairs } from "../../src/compare/pairs.ts";
import { alignTokens } from "../../src/compare/tokens.ts";
import { plain } from "../../src/report/colors.ts";
import { comparisonText, verdictLine } from "../../src/report/comparison.ts";
import { comparisonJson, first } from "../../src/report/comparison-facts.ts";
import type { RecordSummary } from "../../src/trace/reader.ts";
import { atLevel, recordOf, traceFrom, type Unnumbered } from "../support/traces.ts";

const wave = (length: number, scale = 1) => Float32Array.from({ length }, (_, i) => scale * (1.5 + Math.sin(i)));
const rows = (tap: string, tokens: number, values = wave(tokens * 8), changes = {}) =>
  recordOf(tap, "token embd", [tokens, 8], values, { op: "add", ...changes });
/** Steps of tokens 1, 2, 3, ... */
const tokensOf = (...counts: number[]) => {
  let next = 1;
  return counts.map((count) => Array.from({ length: count }, () => next++));
};
type Side = readonly [readonly Unnumbered[], readonly (readonly number[])[]];
const compare = async ([e, eTokens]: Side, [a, aTokens]: Side, envelope?: readonly Unnumbered[]) =>
  compareTraces(
    await traceFrom(e, eTokens),
    await traceFrom(a, aTokens),
    envelope === undefined ? {} : { envelope: await traceFrom(envelope, eTokens) },
  );
const line = (comparison: Awaited<ReturnType<typeof compare>>) => plain(verdictLine(comparison));

describe("no false match", () => {
  it("of probabilities where only the longer side has keys", async () => {
    const row = recordOf("blk.0.attn_probs", "head token key", [1, 1, 1], Float32Array.of(1));
    for (const bad of [0.5, Number.NaN]) {
      const leaky = recordOf("blk.0.attn_probs", "head token key", [1, 2, 2], Float32Array.of(1, bad, 0.5, 0.5));
      const one: Side = [[row], [[1]]];
      const two: Side = [[leaky], [[1, 2]]];
      expect((await compare(one, two)).verdict).toBe("divergent");
      expect((await compare(two, one)).verdict).toBe("divergent");
    }
  });

  it("of axes in another order with equal sizes", async () => {
    const scores = (dims: string) => recordOf("blk.0.attn_scores", dims, [2, 2, 2], wave(8));
    const { verdict, refused } = await compare(
      [[rows("embed", 2), scores("head token key")], tokensOf(2)],
      [[rows("embed", 2), scores("token head key")], tokensOf(2)],
    );
    expect([verdict, refused.map(({ side }) => side).sort()]).toEqual(["divergent", ["actual", "expected"]]);
  });

  it("by an envelope that is the actual trace, and not unsaid where an envelope is wrong itself", async () => {
    const right = [rows("embed", 4), rows("blk.0.attn_norm", 4)];
    const wrong = (by: number) => [rows("embed", 4), rows("blk.0.attn_norm", 4, wave(32, by))];
    const side = (records: Unnumbered[]) => [records, tokensOf(4)] as const;
    expect((await compare(side(right), side(wrong(1.1)), wrong(1.1))).verdict).toBe("divergent");
    const blessed = await compare(side(right), side(wrong(1.1)), wrong(1.100001));
    expect(blessed.verdict).toBe("match");
    expect(blessed.warnings.join()).toMatch(/itself differs .* first at blk\.0\.attn_norm \(step 0\)/);
  });
});

describe("no false accusation", () => {
  it("by an envelope that is the expected trace to the bit", async () => {
    const side = (scale: number) =>
      [[rows("embed", 4), rows("blk.0.output", 4, wave(32, scale))], tokensOf(4)] as const;
    const { verdict, warnings, envelope } = await compare(side(1), side(1 + 1e-6), [...side(1)[0]]);
    expect([verdict, envelope]).toEqual(["match", null]);
    expect(warnings.join()).toContain("shows no natural noise");
  });

  it("of decoded rows whose norms were rounded otherwise, where hashes cannot tell", async () => {
    const [embed] = atLevel([rows("embed", 4)], "stats");
    const [other] = atLevel([rows("embed", 2)], "stats");
    if (embed === undefined || other === undefined) throw new Error("no record");
    const rounded = { ...other, rowRms: other.rowRms.map((x) => x * (1 + 2 ** -23)) };
    expect((await compare([[embed], tokensOf(4)], [[rounded], tokensOf(2)])).verdict).toBe("match");
  });
});

describe("the first line says", () => {
  it("what was not compared, and at how many positions", async () => {
    const all = ["embed", "blk.0.attn_norm", "logits"].map((tap) => rows(tap, 4));
    const few = await compare([all.slice(0, 1), tokensOf(4)], [all, tokensOf(4)]);
    expect(line(few)).toBe(
      "match: 1 records alike over 1 step; not compared: 0 expected, 2 actual; all equal to the bit",
    );
    const short = await compare([all, tokensOf(4)], [[rows("embed", 1, wave(8))], tokensOf(1)]);
    expect(line(short)).toContain("1 records alike at 1 of 4 positions");
  });

  it("how much of it statistics alone vouch for, though a record has equal bits", async () => {
    const side = (scale: number) =>
      atLevel([rows("embed", 4), rows("blk.0.attn_norm", 4, wave(32, scale))], "stats") as Unnumbered[];
    expect(line(await compare([side(1), tokensOf(4)], [side(1 + 1e-7), tokensOf(4)]))).toContain(
      "1 of 2 only as far as statistics can tell",
    );
  });

  it("that budgets were too wide to see anything", async () => {
    const half = { dtype: "bf16" };
    const side = (scale: number) =>
      [[rows("embed", 4, wave(32), half), rows("blk.40.ffn_norm", 4, wave(32, scale), half)], tokensOf(4)] as const;
    const comparison = await compare(side(1), side(1.001), [
      rows("embed", 4),
      rows("blk.40.ffn_norm", 4, wave(32, -1)),
    ]);
    expect(line(comparison)).toContain("1 of 2 could not have been seen to differ");
  });

  it("that what feeds an origin was not compared", async () => {
    const logits = (scale: number) => [[rows("logits", 4, wave(32, scale))], tokensOf(4)] as const;
    const comparison = await compare(logits(1), logits(2));
    expect(line(comparison)).toContain("what feeds it was not compared (final_norm)");
    expect(line(comparison)).not.toContain("nothing that feeds it");
  });
});

describe("the words", () => {
  it("name the token at a position, also where steps compute all positions again", async () => {
    const step = (scale: number) => [rows("embed", 2, wave(16)), rows("embed", 3, wave(24, scale), { step: 1 })];
    const steps = [
      [1, 2],
      [1, 2, 3],
    ];
    const bad = step(1);
    const values = wave(24);
    values[20] = 9;
    bad[1] = rows("embed", 3, values, { step: 1 });
    expect(first(await compare([step(1), steps], [bad, steps]))?.at).toMatchObject({ position: 2, piece: "<3>" });
  });

  it("name the step of a differing token that has no record", async () => {
    const side = (last: number): Side => [[rows("embed", 2)], [[1, 2], [last]]];
    const comparison = await compare(side(3), side(4));
    expect(comparisonJson(comparison).first).toMatchObject({ kind: "token", step: 1 });
  });

  it("tell a record that stands twice from one without positions", async () => {
    const { unmatched } = await compare(
      [[rows("embed", 2), rows("embed", 2)], tokensOf(2)],
      [[rows("embed", 2)], tokensOf(2)],
    );
    expect(unmatched.map(({ reason }) => reason)).toEqual(["another record of this trace has its positions"]);
  });

  it("say that zeros on both sides show nothing", async () => {
    const zeros = [rows("embed", 2, new Float32Array(16))];
    expect(comparisonText(await compare([zeros, tokensOf(2)], [zeros, tokensOf(2)]))).toContain(
      "1 of 1 records are zero on both sides",
    );
  });
});

describe("totals", () => {
  const record = fc.record({
    tap: fc.constantFrom("embed", "logits"),
    step: fc.nat(3),
    posStart: fc.nat(4),
    tokens: fc.integer({ min: 1, max: 4 }),
    columns: fc.constantFrom(8, 8, 8, 9),
  });
  const summary = ({
    tap,
    step,
    posStart,
    tokens,
    columns,
  }: {
    tap: string;
    step: number;
    posStart: number;
    tokens: number;
    columns: number;
  }) => {
    const values = new Float32Array(tokens * columns);
    const made = recordOf(tap, "token embd", [tokens, columns], values, { step, posStart });
    return { ...made, seq: 0, hasSketch: true, hasValues: true } satisfies RecordSummary & Unnumbered;
  };

  it("add up: every record of either side is matched, unmatched or refused, and only one of them", () => {
    const side = fc.array(record, { maxLength: 6 });
    const ids = fc.array(fc.nat(1), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(side, side, ids, ids, (e, a, eIds, aIds) => {
        const [expected, actual] = [e.map(summary), a.map(summary)];
        const tokens = alignTokens({ ids: eIds, pieces: [] }, { ids: aIds, pieces: [] });
        const plan = planPairs(expected, actual, tokens);
        for (const [name, records] of [
          ["expected", expected],
          ["actual", actual],
        ] as const) {
          const fates = [
            ...new Set(plan.pairs.map((pair) => pair[name])),
            ...[...plan.unmatched, ...plan.refused].filter(({ side: of }) => of === name).map(({ index }) => index),
          ];
          expect(fates.sort((x, y) => x - y)).toEqual(records.map((_, index) => index));
        }
      }),
    );
  });
});
