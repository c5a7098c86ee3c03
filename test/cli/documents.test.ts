/** What is published of the program is what the program has: JSON Schemas and the page of options. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { stale } from "../../scripts/docs.ts";
import { jsonSchemas } from "../../src/report/documents.ts";

it("docs/schemas and docs/options.md are as the code has them (npm run docs)", () => {
  expect(stale()).toEqual([]);
});

it("every document of src/report has a schema", () => {
  const folder = join(import.meta.dirname, "../../src/report");
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => [...readFileSync(join(folder, file), "utf8").matchAll(/z\.literal\("(faultline\.[^"]+)"\)/g)])
    .map(([, name]) => name);
  expect([...jsonSchemas().keys()].sort()).toEqual([...new Set(names)].sort());
});
