/** The house's one rule: imports run one way (docs/architecture.md). */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";

/** What each folder may import, beside itself. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  "src/trace": [],
  "src/model": ["src/trace"],
  "src/engine": ["src/model", "src/trace"],
  "src/oracle": ["src/model", "src/trace"],
  "src/run": ["src/oracle", "src/engine", "src/model", "src/trace"],
  "src/compare": ["src/oracle", "src/model", "src/trace"],
  "src/report": ["src/compare", "src/oracle", "src/model", "src/trace"],
  "src/page": ["src/report"],
  "src/api": ["src/run", "src/report", "src/compare", "src/oracle", "src/engine", "src/model", "src/trace"],
  "src/cli": [
    "src/run",
    "src/report",
    "src/compare",
    "src/oracle",
    "src/engine",
    "src/model",
    "src/trace",
    "references",
  ],
  references: ["src/model", "src/trace"],
};

const root = join(import.meta.dirname, "..");
const folderOf = (file: string) => Object.keys(ALLOWED).find((folder) => file.startsWith(`${folder}/`));

function sources(folder: string): string[] {
  if (!existsSync(join(root, folder))) return []; // references/ comes with the first reference
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => `${folder}/${file}`);
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) =>
    relative(root, join(root, dirname(file), match[1] ?? "")),
  );
}

const files = Object.keys(ALLOWED).flatMap(sources);

describe("imports", () => {
  it("run one way", () => {
    const wrong = files.flatMap((file) => {
      const own = folderOf(file) ?? "";
      return importsOf(file)
        .filter((target) => folderOf(target) !== own && !ALLOWED[own]?.includes(folderOf(target) ?? ""))
        .map((target) => `${file} imports ${target}`);
    });
    expect(wrong).toEqual([]);
    expect(files.length).toBeGreaterThan(40);
  });

  it("make no circles", () => {
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, path: readonly string[]) => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (path.includes(file) || done.has(file)) return;
      for (const next of importsOf(file)) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe("files", () => {
  it("stay within 400 lines", () => {
    const long = files.filter((file) => readFileSync(join(root, file), "utf8").split("\n").length > 400);
    expect(long).toEqual([]);
  });
});
