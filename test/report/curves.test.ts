/** Curves of a report: every trace that took part is in them, told apart by more than colour, in the step of the chosen op. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compareTraces } from "../../src/compare/compare.ts";
import { Trace } from "../../src/trace/reader.ts";
import { closeBrowser, noBrowser, openPage } from "../support/browser.ts";
import { faultline } from "../support/cli.ts";
import { dataOf } from "../support/pages.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-curves-"));
const at = (name: string) => join(folder, name);
const MODEL = "models/faultline-tiny-f16.gguf";
const [expected, actual, envelope] = [at("expected.arrow"), at("actual.arrow"), at("envelope.arrow")];

beforeAll(() => {
  const run = ["trace", MODEL, "--tokens", "1,200,30,411", "-n", "2", "--capture", "full", "--quiet", "-o"];
  for (const args of [
    [expected],
    [actual, "--fault", "norm.weight-missing@blk.1.attn_norm"],
    [envelope, "--dtype", "f16"],
  ])
    expect(faultline(...run, ...args).errors).toEqual([]);
  for (const [page, options] of [
    ["with.html", ["--envelope", envelope]],
    ["without.html", []],
    ["twin.html", ["--envelope", expected]],
  ] as const)
    expect(faultline("compare", expected, actual, ...options, "--html", at(page), "-q").errors).toEqual([]);
});
afterAll(closeBrowser);

describe("the document", () => {
  it("has what the second reference measured, op by op, and how large its values are", async () => {
    const [reference, second] = [await Trace.open(expected), await Trace.open(envelope)];
    const { ops: apart } = await compareTraces(reference, second);
    const { ops, taps, sides } = dataOf(at("with.html"));
    expect(sides.envelope).toMatch(/f16$/);
    for (const op of ops) {
      const tap = taps[op.tap]?.name;
      const own = apart.find((each) => each.tap === tap && each.step === op.step);
      const record = second.records.find((each) => each.tap === tap && each.step === op.step);
      expect(op.envelope?.measured).toBeCloseTo(own?.judgement.relL2 ?? Number.NaN, 4);
      expect(op.envelope?.rms).toBe(Number(record?.statistics.rms.toPrecision(4)));
    }
    expect(ops.some((op) => Number(op.envelope?.measured) > 1e-4)).toBe(true);
    await reference.close();
    await second.close();
  });

  it.each(["without.html", "twin.html"])("names no second reference where none took part: %s", (name) => {
    const { ops, sides, facts } = dataOf(at(name));
    expect(sides.envelope).toBeNull();
    expect(ops.filter((op) => op.envelope !== null)).toEqual([]);
    expect(facts.filter(([label]) => label.startsWith("envelope"))).toEqual([]);
  });
});

describe.skipIf(noBrowser !== null)(`the page${noBrowser === null ? "" : ` (${noBrowser})`}`, () => {
  it("draws every trace with its own dashes, mark and name at the line's end", async () => {
    const { page, problems } = await openPage(at("with.html"));
    const ends = await page
      .locator("#curves figure")
      .evaluateAll((figures) =>
        figures.map((each) => [...each.querySelectorAll("text.end")].map((text) => text.textContent)),
      );
    expect(ends.map((each) => each.toSorted())).toEqual([
      ["\u25a0 judged", "\u25b2 envelope", "\u25c6 allowed"],
      ["\u25a0 judged", "\u25b2 envelope", "\u25cf reference"],
      ["\u25a0 judged", "\u25b2 envelope", "\u25cf reference"],
    ]);
    const dashes = await page
      .locator("#curves figure .key line")
      .evaluateAll((all) => all.map((line) => line.getAttribute("stroke-dasharray")));
    expect(new Set(dashes.slice(3, 6)).size).toBe(3);
    // Names do not lie on one another, and none is cut off.
    const boxes = await page.locator("#curves figure").nth(1).locator("text.end").all();
    const places = await Promise.all(boxes.map((each) => each.boundingBox()));
    const tops = places.map((each) => each?.y ?? 0).toSorted((a, b) => a - b);
    expect(tops.every((top, i) => i === 0 || top - (tops[i - 1] ?? 0) >= 12)).toBe(true);
    const figure = await page.locator("#curves figure").nth(1).boundingBox();
    const right = (figure?.x ?? 0) + (figure?.width ?? 0);
    expect(places.every((each) => (each?.x ?? 1e9) + (each?.width ?? 0) <= right)).toBe(true);
    expect(problems).toEqual([]);
    await page.close();
  });

  it("follows the step of the op that is chosen", async () => {
    const { page } = await openPage(at("with.html"));
    const caption = page.locator("#curves figcaption").first();
    expect(await caption.textContent()).toMatch(/output, step 0: 4 tokens$/);
    await page.locator("#map").getByLabel("step").selectOption("2");
    await page.getByRole("button", { name: /^blk\.3\.ffn_norm:/ }).click();
    expect(await caption.textContent()).toMatch(/output, step 2: /);
    expect(await page.locator("#curves select").nth(1).inputValue()).toBe("2");
    await page.locator("#op select").selectOption("1");
    expect(await caption.textContent()).toMatch(/output, step 1: /);
    await page.close();
  });
});
