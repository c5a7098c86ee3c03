/** A report of an op that is not finite: NaN is a finding in every figure of it. */
import { expect, it } from "vitest";
import { compareTraces } from "../../src/compare/compare.ts";
import { reportOf } from "../../src/report/document/report.ts";
import { modelExplorerJson } from "../../src/report/formats/model-explorer.ts";
import { recordOf, traceFrom } from "../support/traces.ts";

it("is never within what is allowed where an element is NaN and all others are right", async () => {
  const values = Float32Array.of(1, 2, 3, 4);
  const run = (last: number) =>
    traceFrom([recordOf("embed", "token embd", [1, 4], Float32Array.of(...values.slice(0, 3), last))], [[1]]);
  const [expected, actual] = [await run(4), await run(Number.NaN)];
  const report = await reportOf({
    ...{ expected, actual, comparison: await compareTraces(expected, actual), determinism: null },
    ...{ audit: null, auditLeftOut: null, referenceAudit: null, diagnoses: [], blindSpots: [], piece: null },
    ...{ version: "1", created: "2026-01-01T00:00:00.000Z" },
  });
  expect(report.ops).toMatchObject([{ verdict: "non-finite", measured: "NaN", share: "Inf" }]);
  expect(JSON.parse(modelExplorerJson(report)).results).toEqual({ embed: { value: 1e30 } });
});
