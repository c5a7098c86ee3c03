/** Writes docs/reports/report.png: the first screens of a report, as the README shows them. node scripts/report-picture.mjs REPORT.html */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [report] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 1160, height: 1800 } });
await page.goto(pathToFileURL(resolve(report ?? "")).href);
// Facts and proof are long; the sentence and the map are what a picture can show.
await page.addStyleTag({ content: ".facts, header details, #findings { display: none } nav { position: static }" });
await page.waitForTimeout(500);
const map = await page.locator("#map").boundingBox();
await page.screenshot({
  path: new URL("../docs/reports/report.png", import.meta.url).pathname,
  clip: { x: 0, y: 0, width: 1160, height: (map?.y ?? 0) + (map?.height ?? 600) + 16 },
});
await browser.close();
