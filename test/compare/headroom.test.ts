/** Headroom: how near a run comes to the largest half, at every capture level, and the sums of projections behind it. */
import { describe, expect, it } from "vitest";
import { headroom, sumHeadroom } from "../../src/compare/headroom.ts";
import { TraceValues } from "../../src/compare/run-values.ts";
import { plain } from "../../src/report/colors.ts";
import { headroomText } from "../../src/report/headroom.ts";
import { embedded, STEPS } from "../support/faults.ts";
import { atLevel, recordOf, traceFrom } from "../support/traces.ts";

const row = (tap: string, values: number[], changes = {}) =>
  recordOf(tap, "token embd", [1, values.length], Float32Array.from(values), changes);

describe("headroom", () => {
  const records = [
    row("blk.0.output", [1, -32752, 3]),
    row("blk.1.output", [5, 6, 7]),
    row("blk.1.output", [5, 6, 65504], { step: 1, posStart: 1 }),
    row("weight:output.weight", [1e9, 0, 0]),
    row("final_norm", [1, Number.NaN, 2]),
  ];

  it.each(["full", "sketch", "stats"] as const)("of a %s trace, by tap and by name", async (level) => {
    const found = headroom(await traceFrom(atLevel(records, level), [[1], [2]]));
    expect(found.overall).toMatchObject({ maxAbs: 65504, share: 1, notFinite: 1 });
    expect(found.overall.at).toEqual({ step: 1, tap: "blk.1.output", row: 0, column: 2 });
    expect(found.nearest.map(({ name, share }) => [name, share])).toEqual([
      ["blk.1.output", 1],
      ["blk.0.output", 0.5],
      ["final_norm", 2 / 65504],
    ]);
    expect(found.kinds.map(({ name, records: count, maxAbs }) => [name, count, maxAbs])).toEqual([
      ["output", 3, 65504],
      ["final_norm", 1, 2],
    ]);
    expect(found.unknown).toBe(0);
  });

  it("does not claim that a run fits where something is not finite, or not known", async () => {
    const lineOf = async (...of: typeof records) =>
      plain(headroomText(headroom(await traceFrom(of, [[1], [2]])))).split("\n")[0];
    const [first, second, third, , nan] = records;
    if (!first || !second || !third || !nan) throw new Error("records");
    expect(await lineOf(first, second)).toBe(
      "headroom: what is stored fits into f16, the largest is 32750 at blk.0.output, 50 % of 65504",
    );
    expect(await lineOf(row("embed", [131008, 0, 0]))).toBe(
      "headroom: what is stored does not fit into f16, the largest is 1.310e+5 at embed, 2 x of 65504",
    );
    expect(await lineOf(first, nan)).toBe(
      "headroom: the largest is 32750 at blk.0.output, 50 % of 65504; 1 element is not finite already",
    );
    const { statistics } = first;
    const unknown = { ...first, statistics: { ...statistics, maxAbs: Number.NaN } };
    expect(await lineOf(unknown, second)).toMatch(/^headroom: the largest is 7 at blk.1.output/);
  });
});

describe("sums of projections", () => {
  it("are those of the largest elements, by formulas of their own", async () => {
    const { model, clean } = await embedded();
    const trace = await traceFrom(
      clean.flatMap(({ records }) => [...records]),
      STEPS,
    );
    const sums = await sumHeadroom(model, new TraceValues(trace, model), 2);
    expect(sums).toHaveLength(2);
    for (const { step, tap, row: at, column, value, reach, magnitude, share } of sums) {
      const node = model.graph.find(({ op }) => op.tap === tap);
      const weight = node?.op.weights[0] ?? "";
      const w = model.file.decodeRows(model.file.tensor(weight), column, 1);
      const x = clean[step]?.values.get(node?.inputs[0]?.tap ?? "") ?? new Float32Array(0);
      const products = Array.from(w, (each, i) => each * (x[at * w.length + i] as number));
      expect(value).toBeCloseTo(
        products.reduce((sum, each) => sum + each, 0),
        8,
      );
      expect(magnitude).toBeCloseTo(
        products.reduce((sum, each) => sum + Math.abs(each), 0),
        8,
      );
      expect(Math.abs(reach)).toBeGreaterThanOrEqual(Math.abs(value));
      expect(Math.abs(reach)).toBeLessThanOrEqual(magnitude);
      expect(share).toBe(magnitude / 65504);
      expect(clean[step]?.values.get(tap)?.[at * (node ? model.file.tensor(weight).rows : 0) + column]).toBeCloseTo(
        value,
        3,
      );
    }
  });
});
