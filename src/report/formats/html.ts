/**
 * A report as one HTML file: styles, script and data inside, nothing fetched. What is said at the top needs no script. Data are JSON in an
 * element that is not run, all else that comes from a trace is escaped, and the page's own policy allows this one script alone.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { packageRoot } from "../../model/package-root.ts";
import { InputError } from "../../trace/errors.ts";
import { badgeOf, meaningOf } from "../document/outcome.ts";
import type { Report } from "../document/schema.ts";
import { escaped } from "./escape.ts";

/** Made by `npm run build` (scripts/build-page.mjs) from src/page. */
const ASSETS = "assets/";

/** JSON that ends no element and opens no comment. */
export const embedded = (value: unknown): string => JSON.stringify(value).replaceAll("<", "\\u003c");

/** The whole file. Throws InputError where the page's script was not built. */
export function reportHtml(report: Report): string {
  const [script, style] = [asset("report.js"), asset("report.css")];
  const digest = createHash("sha256").update(script).digest("base64");
  const policy = `default-src 'none'; script-src 'sha256-${digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="generator" content="faultline ${escaped(report.version)}">
<title>${escaped(`${badgeOf(report)}: ${report.sentence}`.slice(0, 200))}</title>
<style>${style}</style>
</head>
<body>
${header(report)}
<nav aria-label="Parts of the report"></nav>
<main></main>
<footer>Made by faultline ${escaped(report.version)}, ${escaped(report.created)}. This file needs no network.</footer>
<script type="application/json" id="report">${embedded(report)}</script>
<script>${script}</script>
</body>
</html>
`;
}

function header({ verdict, finding, sentence, proof, facts, warnings, blindSpots }: Report): string {
  const list = (title: string, lines: readonly string[]) =>
    lines.length === 0
      ? ""
      : `<details><summary>${escaped(title)}</summary><ul>${lines.map((line) => `<li>${escaped(line)}</li>`).join("")}</ul></details>`;
  return `<header>
<p class="top"><strong class="verdict ${verdict ?? ""}">${escaped(badgeOf({ verdict, finding }))}</strong> ${escaped(meaningOf({ verdict, finding }))}</p>
<h1>${escaped(sentence)}</h1>
${proof === null ? "" : `<p class="proof">${escaped(proof)}</p>`}
<dl class="facts">${facts.map(([label, value]) => `<dt>${escaped(label)}</dt><dd>${escaped(value)}</dd>`).join("")}</dl>
${list(`Notes (${warnings.length})`, warnings)}
${list(
  `What this run could not have shown (${blindSpots.length})`,
  blindSpots.map(({ id, reason }) => `${id}: ${reason}`),
)}
<noscript><p>The map, charts and tables below need JavaScript; the verdict above does not.</p></noscript>
</header>`;
}

function asset(name: string): string {
  try {
    return readFileSync(new URL(`${ASSETS}${name}`, packageRoot()), "utf8")
      .replaceAll("</script", "<\\/script")
      .replaceAll("</style", "<\\/style");
  } catch {
    throw new InputError(`assets/${name}: not there, and a report page is made of it; build it with: npm run build`);
  }
}
