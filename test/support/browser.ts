/** Debian's Chromium for tests of pages: opened once, every page watched for errors. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = PATHS.find((path) => existsSync(path));

/** Why page tests are skipped; null where there is a browser. */
export const noBrowser: string | null =
  executablePath === undefined ? "no Chromium; install it with: apt-get install chromium" : null;

let browser: Browser | undefined;

export interface Opened {
  readonly page: Page;
  /** Errors and warnings of the console, exceptions, dialogs, and requests for anything but the file. */
  readonly problems: readonly string[];
}

/** Opens a file in a window of its own. */
export async function openPage(path: string, options: BrowserContextOptions = {}): Promise<Opened> {
  // Containers lack the kernel features of Chromium's own sandbox; pages here are our own files.
  browser ??= await chromium.launch({ executablePath: executablePath ?? "", args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options });
  const problems: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("dialog", (dialog) => {
    problems.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const { href } = pathToFileURL(path);
  page.on("request", (request) => {
    if (request.url() !== href) problems.push(`asks for ${request.url().slice(0, 100)}`);
  });
  await page.goto(href);
  return { page, problems };
}

/** What axe-core objects to. The page's policy allows no other script; this one is the test's. */
export async function objections(page: Page): Promise<unknown> {
  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8"));
  return page.evaluate(
    "axe.run(document).then(({ violations }) => violations.map(({ id, nodes }) => id + ' ' + nodes[0].html))",
  );
}

export async function closeBrowser(): Promise<void> {
  await browser?.close();
  browser = undefined;
}
