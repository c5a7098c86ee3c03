/** Writes the pages that come from the code: docs/schemas/*.json and docs/options.md. npx tsx scripts/docs.ts [--check] */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { program } from "../src/cli/program.ts";
import { jsonSchemas } from "../src/report/documents.ts";
import { optionsPage } from "./options-page.ts";

const docs = join(import.meta.dirname, "../docs");
const schemas = join(docs, "schemas");

/** Path below docs/ and text of every page. */
export function pages(): Map<string, string> {
  const found = new Map([["options.md", optionsPage(program)]]);
  for (const [name, schema] of jsonSchemas()) {
    found.set(`schemas/${name.replace("/", "-")}.json`, `${JSON.stringify(schema, null, 2)}\n`);
  }
  return found;
}

/** Pages that are not as the code has them: other text, missing, or of no document. */
export function stale(): string[] {
  const wanted = pages();
  const read = (path: string) => {
    try {
      return readFileSync(join(docs, path), "utf8");
    } catch {
      return null;
    }
  };
  const left = readdirSync(schemas).map((file) => `schemas/${file}`);
  return [...new Set([...wanted.keys(), ...left])].filter((path) => read(path) !== wanted.get(path));
}

function write(): void {
  rmSync(schemas, { recursive: true, force: true });
  mkdirSync(schemas);
  for (const [path, text] of pages()) writeFileSync(join(docs, path), text);
}

if (process.argv[1] === import.meta.filename) write();
