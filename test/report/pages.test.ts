/** Pages of `generate --against`, `tokens --against` and `kernels`: what they say, how much of it, and that nothing in them acts. */
import { mkdtempSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compareTraces } from "../../src/compare/compare.ts";
import { generationFacts } from "../../src/compare/generation.ts";
import type { KernelJudgement } from "../../src/compare/kernels/judge.ts";
import { comparePrompts } from "../../src/compare/prompts.ts";
import { generationReport } from "../../src/report/document/generation.ts";
import { kernelsReport } from "../../src/report/document/kernels.ts";
import type { Report } from "../../src/report/document/schema.ts";
import { tokensReport } from "../../src/report/document/tokens.ts";
import { reportHtml } from "../../src/report/formats/html.ts";
import { kernelsJunit } from "../../src/report/formats/junit-kernels.ts";
import { MOST_BYTES, reportMarkdown } from "../../src/report/formats/markdown.ts";
import type { KernelFacts } from "../../src/report/kernel-facts.ts";
import { ATTACKS } from "../support/attacks.ts";
import { closeBrowser, noBrowser, objections, openPage } from "../support/browser.ts";
import { recordOf, traceFrom } from "../support/traces.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-pages-"));
const MADE = { version: "1", created: "2026-01-01T00:00:00.000Z" };
const CREATED = MADE.created;

const side = (name: string, ids: readonly number[], piece = (id: number) => `t${id}`) => ({
  ...{ name, ids, pieces: ids.map(piece), rendered: null },
});
const judgement = (id: string, given: Partial<KernelJudgement> = {}): KernelJudgement => ({
  case: { id, kind: id.startsWith("rope") ? "rope" : "add", shape: "1x1", type: null, data: "normal", dtype: "f32" },
  ...{ verdict: "pass", reasons: [], nmse: 1e-15, worstRowNmse: 1e-15, ofLikely: 0.5, ofWorst: 0.25 },
  ...{ milliseconds: null, bytes: 1000, operations: 1000, ...given },
});
const facts = (judgements: readonly KernelJudgement[], given: Partial<KernelFacts> = {}): KernelFacts => ({
  ...{ judgements, device: "a device", fault: null, elapsedMs: 1000, leftOut: [], baseline: null, otherVersion: null },
  onnx: { version: null, voices: new Map() },
  ...given,
});
const failing = (id: string, ofWorst: number) =>
  judgement(id, { verdict: "fail", reasons: ["bound"], nmse: 1e-3, ofWorst, milliseconds: 2 });

/** Greedy runs of a vocabulary of four: after 1 the first says 2 and the second 3. */
async function generation(
  reading = { piece: (id: number) => `t${id}`, decode: (ids: readonly number[]) => ids.join(" ") },
) {
  const run = (logits: readonly number[], next: number) =>
    traceFrom(
      [
        recordOf("logits", "token vocab", [1, 4], Float32Array.from(logits)),
        { ...recordOf("logits", "token vocab", [1, 4], Float32Array.of(0, 9, 1, 1)), step: 1, posStart: 1 },
      ],
      [[1], [next]],
    );
  const [expected, actual] = [await run([0, 1, 9, 2], 2), await run([0, 1, 2, 9], 3)];
  return generationReport(
    await generationFacts(expected, actual, await compareTraces(expected, actual)),
    reading,
    MADE,
  );
}

const tableOf = ({ sections }: Report, id: string) => {
  const table = sections.find((each) => each.id === id)?.tables[0];
  if (table === undefined) throw new Error(`no table in ${id}`);
  return table;
};

describe("generate", () => {
  it("has the sentence, both texts, and the first token that differs marked", async () => {
    const report = await generation();
    expect(report).toMatchObject({
      verdict: "divergent",
      sentence: expect.stringMatching(/^the texts part at token 0/),
    });
    const { rows, mark } = tableOf(report, "pairs");
    expect(mark).toBe(0);
    expect(rows[0]).toEqual(["0", '"t2"', "9", "2", '"t3"', "9", "2", "first difference"]);
    expect(rows[1]?.at(-1)).toBe("another text before it");
    expect(tableOf(report, "texts").rows.map((row) => row.at(-1))).toEqual(['"2 1"', '"3 1"']);
  });
});

describe("tokens", () => {
  it("has both sides in rows, gaps where one has more, and the first difference marked", () => {
    const report = tokensReport(comparePrompts(side("a", [1, 2, 3, 4]), side("b", [1, 9, 2, 3, 4])), "m.gguf", MADE);
    expect(report).toMatchObject({ verdict: "divergent", finding: "divergent" });
    const { rows, mark } = tableOf(report, "tokens");
    expect([rows.length, mark]).toEqual([5, 1]);
    expect(rows[1]).toEqual(["", "", "", "1", "9", '"t9"', "first difference: more"]);
    const alike = tokensReport(comparePrompts(side("a", [1, 2]), side("b", [1, 2])), "m.gguf", MADE);
    expect([alike.verdict, alike.finding, tableOf(alike, "tokens").mark]).toEqual(["match", "alike", null]);
  });

  it("of a long text keeps the rows around the difference, and says which rows these are", () => {
    const ids = Array.from({ length: 9000 }, (_, i) => i % 50);
    const other = ids.map((id, i) => (i === 6000 ? 77 : id));
    const report = tokensReport(comparePrompts(side("a", ids), side("b", other)), "m.gguf", MADE);
    const { rows, mark, caption } = tableOf(report, "tokens");
    expect(caption).toBe("Tokens side by side: rows 5001 to 7000 of 9000");
    expect([rows.length, rows[mark ?? -1]?.[0], rows[mark ?? -1]?.at(-1)]).toEqual([
      2000,
      "6000",
      "first difference: other",
    ]);
    const markdown = reportMarkdown(report);
    expect(markdown).toMatch(/\| 6000 \|.*first difference/);
    expect(markdown).toMatch(/and 980 rows before, 980 rows more/);
  });
});

describe("kernels", () => {
  const tried = facts([
    judgement("add a"),
    failing("add b", 3),
    failing("rope c", 70),
    judgement("rope d", { ofWorst: 0.9 }),
  ]);

  it("has failures first, the worst at the top, then kernels with their worst case, times where measured, and every case", () => {
    const report = kernelsReport(tried, "mine.wgsl as rope", MADE);
    expect(report).toMatchObject({ verdict: "divergent", finding: "fail" });
    expect(report.sentence).toMatch(/^2 of 4 cases fail; the worst: rope c is further off .*70 x its bound/);
    expect(report.sections.map(({ id }) => id)).toEqual(["failures", "by-kernel", "cases"]);
    expect(tableOf(report, "failures").rows.map(([id]) => id)).toEqual(["rope c", "add b"]);
    expect(tableOf(report, "by-kernel").rows[1]).toEqual([
      ...["rope", "2", "1", "0", "50 %", "70 x", "rope c", "rope c", "2", "0.0005", "0.0005"],
    ]);
    expect(tableOf(report, "cases").rows.map(([, verdict]) => verdict)).toEqual(["pass", "fail", "fail", "pass"]);
    expect(report.facts[0]).toEqual(["kernels", "mine.wgsl as rope"]);
    const untimed = kernelsReport(facts([judgement("add a")]), null, MADE);
    expect(untimed).toMatchObject({ verdict: "match", finding: "pass" });
    expect(untimed.sections.map(({ id }) => id)).toEqual(["by-kernel", "cases"]);
    expect(tableOf(untimed, "cases").columns.map(({ title }) => title)).not.toContain("ms");
  });

  it("as JUnit is a test case a case, with its time and why it fails; what is not tried is skipped", () => {
    const leftOut = [{ reason: "takes <no> f16", cases: 7 }];
    const rise = { case: "add a", before: 1e-9, now: 1e-8 };
    const baseline = { path: "h", compared: 4, unknown: 0, adapters: [], versions: [], rises: [rise] };
    const xml = (alarmsFail: boolean) => kernelsJunit({ ...tried, leftOut, baseline }, alarmsFail, CREATED);
    expect(xml(false)).toContain('<testsuites tests="5" failures="2" skipped="1" errors="0">');
    expect(xml(false)).toMatch(
      /<testcase classname="rope" name="rope c" time="0\.002000"><failure type="bound" message="rope c is further off/,
    );
    expect(xml(false)).toContain('<testcase classname="add" name="add a"/>');
    expect(xml(false)).toContain('name="7 cases"><skipped message="the kernel takes &lt;no&gt; f16"/>');
    expect(xml(true)).toContain('failures="3"');
    expect(xml(true)).toMatch(/name="add a"><failure type="alarm" message="relL2 1\.000e-8, above 1\.5 times/);
  });
});

describe("hostile words", () => {
  const piece = (id: number) => ATTACKS[id % ATTACKS.length] ?? "";
  const ids = Array.from({ length: ATTACKS.length }, (_, i) => i);
  const decode = (of: readonly number[]) => of.map(piece).join("");
  const PAGES: Readonly<Record<string, () => Report | Promise<Report>>> = {
    generate: () => generation({ piece: (id) => piece(id + 5), decode: (of) => decode([...ids, ...of]) }),
    tokens: () =>
      tokensReport(
        comparePrompts(
          { ...side("a", ids, piece), rendered: decode(ids) },
          { ...side(decode(ids), ids.toReversed(), piece), rendered: decode(ids.toReversed()) },
        ),
        decode(ids),
        MADE,
      ),
    kernels: () =>
      kernelsReport(
        facts([failing("add b", 3)], { device: decode(ids), leftOut: [{ reason: decode(ids), cases: 1 }] }),
        decode(ids),
        MADE,
      ),
  };

  it.each(Object.entries(PAGES))("in %s are cut where it shows, escaped, and run nowhere", async (name, make) => {
    const report = await make();
    const path = join(folder, `${name}.html`);
    writeFileSync(path, reportHtml(report));
    expect(statSync(path).size).toBeLessThan(1e6);
    expect(JSON.stringify(report)).toMatch(/\u2026 \(\d{8} characters\)/);
    expect(JSON.stringify(report)).not.toMatch(/\p{C}/u);
    expect(Buffer.byteLength(reportMarkdown(report))).toBeLessThan(MOST_BYTES);
    if (noBrowser !== null) return;
    const { page, problems } = await openPage(path, { viewport: { width: 390, height: 844 } });
    await page.waitForTimeout(200);
    expect(problems).toEqual([]);
    expect(await page.getByRole("heading", { level: 1 }).textContent()).toBe(report.sentence);
    expect(await page.locator("img, iframe, object, body svg[onload]").count()).toBe(0);
    expect(await page.locator("body script").count()).toBe(2);
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(390);
    await page.close();
  });
});

describe.skipIf(noBrowser !== null)("the pages", () => {
  it.each(["light", "dark"] as const)("have nothing that axe-core objects to, in %s", async (colorScheme) => {
    const tokens = tokensReport(comparePrompts(side("a", [1, 2]), side("b", [1, 9, 2])), "m.gguf", MADE);
    const reports = [await generation(), tokens, kernelsReport(facts([failing("add b", 3)]), null, MADE)];
    for (const [i, report] of reports.entries()) {
      const path = join(folder, `${i}.html`);
      writeFileSync(path, reportHtml(report));
      const { page, problems } = await openPage(path, { colorScheme });
      expect([await objections(page), problems]).toEqual([[], []]);
      await page.close();
    }
  });
});
afterAll(closeBrowser);
