/** What `kernels` prints: columns that have something to say and fit, and why cases of another version fail. */
import { describe, expect, it } from "vitest";
import type { KernelJudgement } from "../../src/compare/kernels/judge.ts";
import { plain } from "../../src/report/colors.ts";
import type { KernelFacts, VersionPair } from "../../src/report/kernel-facts.ts";
import { kernelsJson, kernelsText } from "../../src/report/kernels.ts";
import { kernelsSummary } from "../../src/report/kernels-summary.ts";
import { table } from "../../src/report/table.ts";
import { atWidth } from "../../src/report/terminal.ts";

const judgement = (id: string, given: Partial<KernelJudgement> = {}): KernelJudgement => ({
  case: { id, kind: "add", shape: "1x1", type: null, data: "normal", dtype: "f32" },
  ...{ verdict: "pass", reasons: [], nmse: 1e-15, worstRowNmse: 1e-15, ofLikely: 0.5, ofWorst: 0.25 },
  ...{ milliseconds: null, bytes: 1000, operations: 1000, ...given },
});
const facts = (judgements: readonly KernelJudgement[], versions: readonly VersionPair[] = []): KernelFacts => ({
  ...{ judgements, device: "a device", fault: null, elapsedMs: 1000, leftOut: [], baseline: null },
  onnx: { version: "1.0", voices: new Map() },
  otherVersion: { folder: "before", versions },
});
const TIMES = ["largest: ms", "GB/s", "GFLOP/s"];

describe("the table", () => {
  it("has columns of times only where something was timed", () => {
    const [without, with_] = [null, 2].map((milliseconds) =>
      plain(kernelsText(facts([judgement("a", { milliseconds })]))),
    );
    for (const title of TIMES) expect([without?.includes(title), with_?.includes(title)]).toEqual([false, true]);
    expect(kernelsSummary(facts([judgement("a")]), false)).not.toMatch(/ms|GB\/s/);
  });

  it("fits a terminal, says what it leaves out, and leaves nothing out where there is none", () => {
    const all = facts([judgement("add 524291x1 normal f32", { milliseconds: 2 })]);
    const header = (width = Number.POSITIVE_INFINITY) =>
      plain(atWidth(width, () => kernelsText(all)))
        .split("\n")
        .find((line) => line.startsWith("kernel")) ?? "";
    const whole = header();
    expect(whole.length).toBeGreaterThan(130);
    for (const width of [80, 100, 120, 140]) {
      expect(header(width).length).toBeLessThanOrEqual(width);
      expect(header(width)).toMatch(/^kernel +cases +fail.* of bound/);
      const left =
        /^a wider terminal shows (.*)$/m.exec(plain(atWidth(width, () => kernelsText(all))))?.[1]?.split(", ") ?? [];
      const titles = (line: string) => line.split(/ {2,}/);
      expect([...titles(header(width)), ...left].sort()).toEqual(
        titles(whole)
          .flatMap((title) => (title === "NMSE, normal f32" && left.includes("NMSE") ? title.split(", ") : title))
          .sort(),
      );
    }
    expect(kernelsText(all)).not.toContain("a wider terminal");
  });

  it("drops the column of the largest number first, and those without one never", () => {
    const columns = [{ title: "name" }, { title: "second", spare: 1 }, { title: "first", spare: 2 }];
    const at = (width: number) => plain(table(columns, [["a", "b", "c"]], width)).split("\n");
    expect(at(19)[0]).toBe("name  second  first");
    expect([at(18)[0], at(18)[2]]).toEqual(["name  second", "a wider terminal shows first"]);
    expect([at(1)[0], at(1)[2]]).toEqual(["name", "a wider terminal shows first, second"]);
  });
});

describe("a case that fails in another version", () => {
  const failing = (id: string, ofWorst: number) =>
    judgement(id, { verdict: "fail", reasons: ["bound"], nmse: 1e-3, worstRowNmse: 1e-2, ofWorst });
  const versions = [failing("add slight", 2), failing("add worst", 300), judgement("add right")].map((other) => ({
    ...{ other, isSame: false, ratio: null },
  }));
  const both = facts([judgement("add slight"), judgement("add worst"), judgement("add right")], versions);
  const reason = /worst .*\(NMSE 0\.001, 300 x its bound\)/;

  it("is told with its reason, the worst first, in text and summary", () => {
    const text = plain(kernelsText(both));
    expect(text).toContain("there 2 fail, the worst first:\n>> there add worst ");
    expect(text).toMatch(reason);
    expect(text.indexOf(">> there add worst")).toBeLessThan(text.indexOf(">> there add slight"));
    const page = kernelsSummary(both, false);
    expect(page).toContain("2 fail there");
    expect(page).toMatch(
      /\| failing there \| NMSE \|\n\| --- \| --- \|\n\| add worst .*300 x its bound\) \| 0\.001 \|\n\| add slight /,
    );
  });

  it("has its reasons and figures in the document, as this version's cases have", () => {
    const { verdict, other_version } = kernelsJson(both);
    expect(verdict).toBe("pass");
    expect(other_version?.cases[1]).toMatchObject({
      ...{ id: "add worst", verdict: "fail", reasons: ["bound"] },
      ...{ nmse: 1e-3, worst_row_nmse: 1e-2, of_likely: 0.5, of_worst: 300 },
    });
    expect(other_version?.cases[2]?.reasons).toEqual([]);
  });
});
