/** Reports in forms that other programs read: each by its own reader's rules, whatever the trace says. */
import fc from "fast-check";
import { micromark } from "micromark";
import { gfm, gfmHtml } from "micromark-extension-gfm";
import { afterAll, describe, expect, it } from "vitest";
import { type Report, reportSchema } from "../../src/report/document/schema.ts";
import { worded } from "../../src/report/document/wording.ts";
import { escaped } from "../../src/report/formats/escape.ts";
import { reportJunit } from "../../src/report/formats/junit.ts";
import { MOST_BYTES, plain, reportMarkdown } from "../../src/report/formats/markdown.ts";
import { modelExplorerJson } from "../../src/report/formats/model-explorer.ts";
import { closeBrowser, noBrowser, openPage } from "../support/browser.ts";

const render = (markdown: string) =>
  micromark(markdown, { extensions: [gfm()], htmlExtensions: [gfmHtml()], allowDangerousHtml: true });
/** Texts of traces: anything, and what is mark-up somewhere. */
const text = fc
  .array(
    fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 6 }),
      fc.constantFrom(
        ..."<>&\"'`*_~[]()|\\$#@!-+.:/ ",
        "www.a.de",
        "https://a.de",
        "@you",
        "#12",
        "a_b_c",
        "]]>",
        "\u202E",
        "\n",
        "&lt;",
        "\uD800",
      ),
    ),
    { maxLength: 12 },
  )
  .map((parts) => worded(parts.join("")));

const statistics = { count: 4, rms: 1, mean: 0, min: -1, max: 1, maxAbs: 1, zeros: 0, nan: 0, inf: 0 };
const op = (tap: number, changes: Partial<Report["ops"][number]>): Report["ops"][number] => ({
  ...{ step: 0, tap, verdict: "alike", isOrigin: false, measured: 1e-7, allowed: 1e-6, share: 0.1, evidence: "values" },
  ...{ expected: statistics, actual: statistics, envelope: null, own: null, parts: null },
  ...changes,
});

const CLEAN = { verdict: "clean", relL2: 0, ofLikely: 0, ofWorst: 0, notFinite: 0, reason: null } as const;

/** A report with these words wherever a trace's words stand. */
function reportWith(word: string, changes: Partial<Report> = {}): Report {
  const tap = (name: string, layer: number | null) => ({
    ...{ name, kind: word, layer, column: word, dims: word, inputs: [word], weights: [word] },
  });
  const token = { id: 1, piece: word };
  const choice = { ...token, logit: 1, probability: 0.5 };
  return reportSchema.parse({
    ...{ schema: "faultline.report/1", verdict: "divergent", finding: "own-fault", sentence: word, proof: word },
    ...{ created: "2026-01-01T00:00:00.000Z", version: "1", warnings: [word], columns: [word] },
    facts: [[word, word]],
    blindSpots: [{ id: word, reason: word }],
    sides: { expected: word, actual: word, envelope: word },
    steps: [{ number: 0, label: word }],
    taps: [tap(`blk.0.${word}`, 0), tap(word, null), tap("logits", null)],
    ops: [
      op(0, {
        verdict: "numeric",
        share: "Inf",
        own: { verdict: "proved", relL2: 1, ofLikely: 9, ofWorst: 9, notFinite: 0, reason: null },
      }),
      op(1, { verdict: "numeric", share: 40 }),
      op(2, {}),
    ],
    findings: [
      {
        ...{ tap: 0, step: 0, side: "actual", sentence: word, proof: word, lines: [word], tolerance: 1e-6 },
        candidates: [{ name: word, what: word, residual: 1e-8, role: word }],
      },
    ],
    details: [],
    tokens: { expected: [token], actual: [token], prompt: 1, firstDifference: 0 },
    logits: [{ position: 0, after: word, kl: 0.1, expected: [choice], actual: [choice] }],
    sections: [
      {
        ...{ id: "more", title: word, intro: word, lines: [word] },
        tables: [{ caption: word, columns: [{ title: word, isNumber: false }], rows: [[word]], mark: null }],
        curves: [],
      },
    ],
    ...changes,
  } satisfies Report);
}

/** Text of rendered HTML as a reader sees it. */
const seen = (html: string) =>
  html
    .replace(/<[^>]*>/g, "")
    .replace(/&lt;/g, "<")
    .replace(/&gt;/g, ">")
    .replace(/&quot;/g, '"')
    .replace(/&amp;/g, "&")
    .replaceAll("\u200b", "");

describe("Markdown", () => {
  it("shows any text as it is: no mark-up, no link, no mention", () => {
    fc.assert(
      fc.property(text, (word) => {
        const html = render(`a ${plain(word)} z`);
        expect(html).toMatch(/^<p>[^<]*<\/p>$/);
        const spaces = (of: string) => of.replace(/\s+/gu, " ");
        expect(spaces(seen(html))).toBe(spaces(`a ${word} z`));
        expect(plain(word)).not.toMatch(/@\w|#\d/);
      }),
      { numRuns: 2000 },
    );
  });

  it("keeps its own tables, folds and headings, whatever the words", () => {
    const tagsOf = (word: string) =>
      render(reportMarkdown(reportWith(word)))
        .match(/<[^>]*>/g)
        ?.join("");
    const usual = tagsOf("word");
    expect(usual).toMatch(/<h3>.*<table>.*<details>.*<sub>/);
    fc.assert(
      fc.property(text, (word) => {
        expect(tagsOf(`a${word}z`)).toBe(usual);
      }),
      { numRuns: 300 },
    );
  });

  it("stays below its limit and names what it left out", () => {
    const token = { id: 1, piece: worded("|".repeat(3000)) };
    const many = Array.from({ length: 400 }, () => token);
    const taps = Array.from({ length: 3000 }, (_, i) => ({ ...reportWith("x").taps[0], layer: i, name: `blk.${i}.x` }));
    const long = reportSchema.parse({
      ...reportWith("x"),
      taps,
      tokens: { expected: many, actual: many, prompt: 1, firstDifference: 0 },
    });
    const markdown = reportMarkdown(long);
    expect(Buffer.byteLength(markdown)).toBeLessThan(MOST_BYTES);
    expect(markdown).toMatch(/Left out for length: .*tokens/);
  });
});

describe("JUnit XML", () => {
  it("fails what is accused, skips what follows from it, and counts both", () => {
    const xml = reportJunit(reportWith("word"));
    expect(xml).toMatch(/tests="4" failures="1" skipped="1" errors="0"/);
    expect(xml).toMatch(/name="blk\.0\.word"><failure type="own-fault" message="word; word">/);
    expect(xml).toMatch(/name="word"><skipped message="differs, and so does what feeds it"\/>/);
    expect(xml).toMatch(/name="logits"\/>/);
  });

  it("fails as a whole where the tokens differ and no op is accused", () => {
    const xml = reportJunit(
      reportWith("the tokens differ", { finding: "token", ops: [op(0, {}), op(1, {}), op(2, {})] }),
    );
    expect(xml).toMatch(/tests="4" failures="1" skipped="0"/);
    expect(xml).toMatch(/name="verdict"><failure type="token" message="the tokens differ">/);
  });

  it("skips what only inherits NaN or Inf: one bug is one failure", () => {
    const ops = [
      op(0, { verdict: "non-finite", isOrigin: true, share: "Inf" }),
      op(1, { verdict: "non-finite", share: "Inf" }),
      op(2, { verdict: "non-finite", isOrigin: true, own: { ...CLEAN } }),
    ];
    const xml = reportJunit(reportWith("word", { ops, findings: [] }));
    expect(xml).toMatch(/tests="4" failures="1" skipped="2"/);
    expect(xml).toMatch(/name="blk\.0\.word"><failure type="non-finite"/);
  });

  it("skips what differs anew below something accused, unless its own numbers show it", () => {
    const fed = reportWith("word").taps.map((tap, i) => ({
      ...tap,
      inputs: i === 2 ? ["word"] : i === 1 ? ["blk.0.word"] : [],
    }));
    const origin = { verdict: "numeric", isOrigin: true, share: 40 } as const;
    const first = op(0, origin);
    const count = (...ops: ReturnType<typeof op>[]) =>
      reportJunit(reportWith("word", { taps: fed, ops: [first, ...ops], findings: [] }));
    const anew = count(op(1, {}), op(2, origin));
    expect(anew).toMatch(/failures="1" skipped="1"/);
    expect(anew).toMatch(/name="logits"><skipped message="[^"]*so does blk\.0\.word further up/);
    expect(count(op(1, {}), op(2, { verdict: "non-finite", isOrigin: true, share: "Inf" }))).toMatch(/failures="2"/);
    const apart = fed.map((tap) => ({ ...tap, inputs: [] }));
    expect(
      reportJunit(reportWith("word", { taps: apart, ops: [first, op(1, {}), op(2, origin)], findings: [] })),
    ).toMatch(/failures="2"/);
  });

  it.skipIf(noBrowser !== null)("is XML whatever the words", async () => {
    const { page } = await openPage("/dev/null");
    const words = fc.sample(text, { numRuns: 300, seed: 5 });
    const broken = await page.evaluate(
      `${JSON.stringify(words.map((word) => reportJunit(reportWith(word))))}.filter((xml) =>
        new DOMParser().parseFromString(xml, "application/xml").querySelector("parsererror") !== null)`,
    );
    expect(broken).toEqual([]);
    await page.close();
  });
});
afterAll(closeBrowser);

it("Model Explorer's node data has a finite number for every op that was judged", () => {
  const { results, thresholds } = JSON.parse(modelExplorerJson(reportWith("word")));
  expect(results).toEqual({ "blk.0.word": { value: 1e30 }, word: { value: 40 }, logits: { value: 0.1 } });
  expect(thresholds.at(-1).value).toBeGreaterThanOrEqual(1e30);
});

it("HTML's escapes leave no mark", () => {
  fc.assert(fc.property(text, (word) => !/[<>"']/.test(escaped(word))));
});
