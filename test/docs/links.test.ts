/** Every relative link and anchor of the documents leads somewhere, and so does every file, script and type that they name. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, it } from "vitest";
import { inlineCode, PAGES, proseOf, root, textOf } from "../support/markdown-pages.ts";

/** A heading's anchor as GitHub makes it: small letters, punctuation away, a hyphen for each space, `-1` at the second of a name. */
function anchors(page: string): Set<string> {
  const found = new Map<string, number>();
  const names = [...proseOf(page).matchAll(/^#+ +(.*)$/gm)].map(([, heading = ""]) => {
    const text = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll(/<[^>]*>/g, "");
    const name = text
      .trim()
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
      .replaceAll(" ", "-");
    const count = found.get(name) ?? 0;
    found.set(name, count + 1);
    return count === 0 ? name : `${name}-${count}`;
  });
  return new Set(names);
}

/** Links of the prose; code holds none. */
const links = (page: string) =>
  [
    ...proseOf(page)
      .replaceAll(/`[^`\n]*`/g, "")
      .matchAll(/\]\(([^)\s]+)\)/g),
  ].map(([, link = ""]) => link);

it("relative links lead to files and headings", () => {
  const all = PAGES.flatMap((page) => links(page).map((link) => ({ page, link })));
  expect(all.length).toBeGreaterThan(100);
  const broken = all.filter(({ page, link }) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [path = "", anchor] = link.split("#", 2);
    const target = path === "" ? page : normalize(join(dirname(page), path));
    if (!existsSync(join(root, target))) return true;
    return anchor !== undefined && !anchors(target).has(anchor);
  });
  expect(broken).toEqual([]);
});

const FOLDERS = ["docs", "kernels", "models", "references", "scripts", "src", "test"];
const FILES = FOLDERS.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((file) => `/${folder}/${file}`),
);
/** A name is a file's path, or the end of one: pages leave out what goes before, as in `engine/plan.ts`. */
const FILE =
  /^(?:[\w.-]+\/)*[\w.-]+\.(?:ts|py|sh|wgsl|yml|mjs)$|^(?:src|test|scripts|references|kernels|models)\/[\w./-]+$/;

it("files in code marks exist", () => {
  const named = PAGES.filter((page) => !page.startsWith("docs/reports/")).flatMap((page) =>
    inlineCode(page)
      .filter((code) => FILE.test(code))
      .map((code) => ({ page, code: code.replace(/\/$/, "") })),
  );
  expect(named.length).toBeGreaterThan(80);
  expect(
    named.filter(({ code }) => !existsSync(join(root, code)) && !FILES.some((file) => file.endsWith(`/${code}`))),
  ).toEqual([]);
});

it("scripts of package.json exist under the names that the documents have", () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: object };
  const named = PAGES.flatMap((page) =>
    [...textOf(page).matchAll(/\bnpm run (?:--silent )?([\w-]+)/g)].map(([, name = ""]) => name),
  );
  expect(new Set(named).size).toBeGreaterThan(8);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

it("docs/terms.md names what the code exports, where it says", () => {
  const rows = [...textOf("docs/terms.md").matchAll(/`(\w+)` in `([^`]+)`/g)];
  expect(rows.length).toBeGreaterThan(15);
  for (const [, name = "", file = ""] of rows) {
    const source = readFileSync(join(root, file), "utf8");
    expect(source, `${name} in ${file}`).toMatch(
      new RegExp(`export (?:async )?(?:abstract )?(?:class|interface|type|const|function\\*?) ${name}\\b`),
    );
  }
});

it("every document is linked from README.md, itself or by its folder's", () => {
  const linked = new Set(links("README.md").map((link) => normalize(link.split("#")[0] ?? "").replace(/\/$/, "")));
  const missing = PAGES.filter((page) => page !== "README.md" && !linked.has(page) && !linked.has(dirname(page)));
  expect(
    missing.filter((page) => !(page.startsWith("docs/investigations/") && linked.has("docs/investigations/README.md"))),
  ).toEqual([]);
});
