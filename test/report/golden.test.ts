/** The reports of the five investigations: what a person sees first must say what is wrong and where. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { closeBrowser, noBrowser, openPage } from "../support/browser.ts";

const folder = join(import.meta.dirname, "../../docs/reports");
const page = (name: string) => join(folder, `${name}.html`);

/** What each story's first screen has to say (SCENARIOS: where, what, and the cause where it is known). */
const STORIES: Readonly<Record<string, RegExp>> = {
  growth: /^blk\.1\.attn_norm is wrong by itself.*not multiplied by the gain/,
  collapse: /^blk\.2\.q_proj \(step 0\) is the first op whose bits are not the same.*reads what nobody wrote/,
  quantisation: /^in q4_0 blk\.1\.ffn_up is the first op where the engine, not the quantisation, is at fault.*nibbles/,
  tokens: /^the tokens differ at position 1: expected "The", actual "<s>".*stands twice/,
  nan: /^blk\.1\.attn_out is wrong by itself.*NaN/,
  text: /^blk\.0\.attn_scores is wrong by itself in steps 1 to 4: decode steps store their row one slot too far/,
};

it("each story has a page and Markdown, and there are no others", () => {
  const files = Object.keys(STORIES).flatMap((name) => [`${name}.html`, `${name}.md`]);
  expect(readdirSync(folder).sort()).toEqual([...files, "report.png"].sort());
  for (const file of files) expect(statSync(join(folder, file)).size).toBeLessThan(file.endsWith(".md") ? 60_000 : 1e6);
});

describe.each(Object.entries(STORIES))("%s", (name, sentence) => {
  it("as Markdown begins with its verdict", () => {
    const [first = ""] = readFileSync(join(folder, `${name}.md`), "utf8").split("\n");
    expect(first).toMatch(/^### ❌ (divergent|unstable): /);
  });

  it.skipIf(noBrowser !== null)("opens, and its first screen says what is wrong and where", async () => {
    const { page: opened, problems } = await openPage(page(name));
    const heading = opened.getByRole("heading", { level: 1 });
    expect(await heading.textContent()).toMatch(sentence);
    const box = await heading.boundingBox();
    expect((box?.y ?? 1e9) + (box?.height ?? 0)).toBeLessThan(450);
    expect(problems).toEqual([]);
    await opened.setViewportSize({ width: 390, height: 844 });
    expect(await opened.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(390);
    await opened.close();
  });
});
afterAll(closeBrowser);
