/** The report page in a browser: what it says, that it can be used by mouse and keyboard, read by a screen reader, and does no harm. */
import { mkdtempSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Report } from "../../src/report/document/schema.ts";
import { worded } from "../../src/report/document/wording.ts";
import { reportHtml } from "../../src/report/formats/html.ts";
import { ATTACKS } from "../support/attacks.ts";
import { closeBrowser, noBrowser, objections, openPage } from "../support/browser.ts";
import { faultline } from "../support/cli.ts";
import { dataOf } from "../support/pages.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-page-"));
const MODEL = "models/faultline-tiny-f16.gguf";
const html = join(folder, "report.html");

/** A bisection with a planted fault: its folder holds the page. */
beforeAll(() => {
  const common = ["--tokens", "1,200,30,411,52,63,74,85,96,107", "-n", "3", "--quiet"];
  const clean = faultline("trace", MODEL, ...common, "--capture", "full", "-o", join(folder, "clean.arrow"));
  expect(clean.errors).toEqual([]);
  const fault = ["--fault", "rope.pairing@blk.2.q_rope", "--no-determinism"];
  const bisect = faultline(
    "bisect",
    MODEL,
    "--against",
    join(folder, "clean.arrow"),
    ...fault,
    "-o",
    folder,
    "--quiet",
  );
  expect(bisect).toMatchObject({ status: 1, errors: [] });
});
afterAll(closeBrowser);

describe("the document", () => {
  it("says what is wrong, by what proof, with what was held against it", () => {
    const { verdict, sentence, proof, facts, findings, taps, details } = dataOf(html);
    expect([verdict, sentence]).toEqual([
      "divergent",
      expect.stringMatching(/^blk\.2\.q_rope is wrong by itself.*halves.*what differs after it inherits/),
    ]);
    expect(proof).toMatch(/rounding explains/);
    expect(facts[0]).toEqual(["where", "layer 2 of 0 to 3: q_rope (rope), fed by blk.2.q_proj"]);
    const [finding] = findings;
    expect(taps[finding?.tap ?? -1]?.name).toBe("blk.2.q_rope");
    expect(finding?.candidates[0]).toMatchObject({ name: "rope.pairing", role: "reproduces the output" });
    expect(finding?.candidates.at(-1)?.role).toBe("right");
    // What is accused, and what feeds it, can be looked into.
    const detailed = details.map(({ tap }) => taps[tap]?.name);
    expect(detailed).toEqual(expect.arrayContaining(["blk.2.q_rope", "blk.2.q_proj", "logits", "blk.0.output"]));
  });

  it("has every record of the judged trace, each once", () => {
    const { ops, steps, taps } = dataOf(html);
    expect(ops.length).toBe(steps.length * taps.length);
    expect(new Set(ops.map(({ step, tap }) => `${step} ${tap}`)).size).toBe(ops.length);
    expect(ops.filter(({ own }) => own?.verdict === "proved").length).toBe(steps.length);
  });
});

describe.skipIf(noBrowser !== null)(`the page${noBrowser === null ? "" : ` (${noBrowser})`}`, () => {
  it("opens from disk without errors or requests, its sentence on the first screen, in light and in dark", async () => {
    for (const colorScheme of ["light", "dark"] as const) {
      const { page, problems } = await openPage(html, { colorScheme });
      const heading = page.getByRole("heading", { level: 1 });
      expect(await heading.textContent()).toBe(dataOf(html).sentence);
      expect(await page.locator("header .top").textContent()).toMatch(/^divergent an op of the judged run is wrong/);
      const box = await heading.boundingBox();
      expect((box?.y ?? 1e9) + (box?.height ?? 0)).toBeLessThan(400);
      const paper = await page.evaluate("getComputedStyle(document.body).backgroundColor");
      expect(paper).toBe(colorScheme === "light" ? "rgb(255, 255, 255)" : "rgb(13, 17, 23)");
      await page.locator("button.theme").click();
      expect(await page.evaluate("getComputedStyle(document.body).backgroundColor")).not.toBe(paper);
      expect(problems).toEqual([]);
      await page.close();
    }
  });

  it("says its verdict without its script", async () => {
    const { page } = await openPage(html, { javaScriptEnabled: false });
    expect(await page.getByRole("heading", { level: 1 }).textContent()).toBe(dataOf(html).sentence);
    await page.close();
  });

  it("shows an op that is clicked, and one that is linked to as its input", async () => {
    const { page, problems } = await openPage(html);
    const title = page.locator("#op h3");
    expect(await title.textContent()).toMatch(/^blk\.2\.q_rope/);
    expect(await page.locator("#op svg").count()).toBeGreaterThan(2);
    await page.getByRole("button", { name: /^blk\.3\.ffn_norm:/ }).click();
    expect(await title.textContent()).toMatch(/^blk\.3\.ffn_norm/);
    await page.locator("#op").getByRole("button", { name: "blk.3.attn_residual" }).click();
    expect(await title.textContent()).toMatch(/^blk\.3\.attn_residual/);
    await page.locator("#op select").selectOption("1");
    expect(await page.locator("#op select").inputValue()).toBe("1");
    await page.locator("#map").getByLabel("show").selectOption("own");
    expect(await page.getByRole("button", { name: /^blk\.2\.q_rope: wrong by itself/ }).getAttribute("class")).toMatch(
      /l5/,
    );
    expect(await page.getByRole("button", { name: /^blk\.2\.attn_scores: / }).getAttribute("class")).toMatch(/l[12]\b/);
    expect(problems).toEqual([]);
    await page.close();
  });

  it("is walked by arrow keys from one stop of the Tab key", async () => {
    const { page } = await openPage(html);
    expect(await page.locator("#map button.cell[tabindex='0']").count()).toBe(1);
    await page.locator("#map button.cell[tabindex='0']").focus();
    const title = page.locator("#op h3");
    for (const [key, tap] of [
      ["ArrowRight", "blk.2.k_rope"],
      ["ArrowDown", "blk.3.k_rope"],
      ["Home", "blk.3.attn_norm"],
      ["ArrowUp", "blk.2.attn_norm"],
      ["End", "blk.2.output"],
    ] as const) {
      await page.keyboard.press(key);
      expect([key, await title.textContent()]).toEqual([key, expect.stringMatching(`^${tap}`)]);
      expect(await page.evaluate("document.activeElement.dataset.tap")).toBe(
        await page.locator("#map .chosen").getAttribute("data-tap"),
      );
    }
    await page.close();
  });

  it.each(["light", "dark"] as const)("has nothing that axe-core objects to, in %s", async (colorScheme) => {
    const { page } = await openPage(html, { colorScheme });
    const found = await objections(page);
    expect(found).toEqual([]);
    await page.close();
  });

  it("fits a phone: what is wide scrolls by itself", async () => {
    const { page } = await openPage(html, { viewport: { width: 380, height: 800 } });
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(380);
    await page.close();
  });

  it("on paper is light, whole and no wider than the sheet, with everything open that is folded on a screen", async () => {
    const { page, problems } = await openPage(html, { colorScheme: "dark" });
    await page.evaluate("document.documentElement.dataset.theme = 'dark'");
    // A4 less the margins of the style sheet.
    const width = Math.floor(((210 - 2 * 12) / 25.4) * 96);
    await page.setViewportSize({ width, height: 1000 });
    await page.emulateMedia({ media: "print" });
    await page.waitForTimeout(300);
    expect(await page.evaluate("getComputedStyle(document.body).backgroundColor")).toBe("rgb(255, 255, 255)");
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width);
    const outside = `[...document.querySelectorAll("header *, main *")]
      .filter((each) => each.getBoundingClientRect().right > ${width + 1}).map((each) => each.outerHTML.slice(0, 80))`;
    expect(await page.evaluate(outside)).toEqual([]);
    const heading = await page.getByRole("heading", { level: 1 }).boundingBox();
    expect(heading?.y).toBeLessThan(200);
    const report = dataOf(html);
    const isSeen = async (text: string) => page.getByText(text, { exact: true }).first().isVisible();
    expect(await page.locator("header details").first().getAttribute("open")).toBeNull();
    for (const { id, reason } of report.blindSpots) expect(await isSeen(`${id}: ${reason}`)).toBe(true);
    for (const warning of report.warnings) expect(await isSeen(warning)).toBe(true);
    for (const { lines } of report.findings) for (const line of lines) expect(await isSeen(line)).toBe(true);
    expect(await page.locator("#op h3").textContent()).toMatch(/^blk\.2\.q_rope/);
    expect(await page.locator("#op").getByText("blk.2.q_proj", { exact: true }).isVisible()).toBe(true);
    expect(await page.locator("#map .cell").first().isVisible()).toBe(true);
    const file = await page.pdf({ format: "A4" });
    const pages = file.toString("latin1").match(/\/Type \/Page\b(?!s)/g)?.length ?? 0;
    expect(pages).toBeGreaterThan(1);
    expect(pages).toBeLessThan(12);
    expect(problems).toEqual([]);
    await page.close();
  });

  it("shows hostile names, texts and tokens as text, and runs none of them", async () => {
    const report = dataOf(html);
    const each = ATTACKS.map((attack) => worded(attack));
    const hostile: Report = {
      ...report,
      sentence: each.join(" "),
      proof: each[0] ?? null,
      facts: each.map((text) => [text, text]),
      warnings: each,
      blindSpots: each.map((text) => ({ id: text, reason: text })),
      taps: report.taps.map((tap, i) => ({ ...tap, kind: each[i % each.length] ?? "", inputs: each })),
      findings: report.findings.map((finding) => ({ ...finding, sentence: each.join(" "), lines: each })),
      tokens: {
        ...report.tokens,
        actual: report.tokens.actual.map((token, i) => ({ ...token, piece: each[i % each.length] ?? "" })),
      },
    };
    const path = join(folder, "hostile.html");
    writeFileSync(path, reportHtml(hostile));
    expect(statSync(path).size).toBeLessThan(5e6);
    const { page, problems } = await openPage(path);
    await page.waitForTimeout(300);
    expect(problems).toEqual([]);
    expect(await page.getByRole("heading", { level: 1 }).textContent()).toBe(hostile.sentence);
    expect(await page.locator("img, iframe, object").count()).toBe(0);
    expect(await page.locator("body script").count()).toBe(2);
    expect(hostile.sentence).not.toMatch(/\p{C}/u);
    await page.close();
  });
});
