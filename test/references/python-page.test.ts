/** The examples of docs/python.md run as they stand there, in order, on the trace that comes with the repository, and print what the page says. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { faultline } from "../support/cli.ts";
import { runPython } from "../support/python.ts";

const root = join(import.meta.dirname, "../..");
const PAGE = readFileSync(join(root, "docs/python.md"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "faultline-python-page-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The code blocks of a language. */
const blocks = (language: string) =>
  [...PAGE.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(([, name, text = ""]) => (name === language ? [text] : []));

it("python", () => {
  expect(blocks("python").length).toBe(5);
  copyFileSync(join(root, "models/faultline-tiny-f16.hf.arrow"), join(folder, "run.arrow"));
  const { status, stdout, stderr } = runPython(folder, blocks("python").join("\n"));
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: blocks("text").join(""), stderr: "" });
});

it("the commands on what it wrote", () => {
  const commands = blocks("sh").flatMap((block) => [...block.matchAll(/^faultline (.*?)(?: +#.*)?$/gm)]);
  expect(commands.length).toBe(2);
  for (const [, words = ""] of commands) {
    const args = words
      .split(" ")
      .map((word) => (word.endsWith(".arrow") ? join(folder, word) : word.replaceAll("'", "")));
    expect(faultline(...args)).toMatchObject({ status: 0, errors: [] });
  }
});
