/** What README.md shows first is what its command prints: every word, and figures as far as adapters round alike. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { firstChange } from "../../scripts/investigations/same.ts";
import { faultline } from "../support/cli.ts";
import { blocksOf, linesOf } from "../support/markdown-pages.ts";

const CUT = "[...]";

it("the report that README.md begins with", () => {
  const [shown, ...others] = blocksOf("README.md");
  const { command = "", status } = others.flatMap(linesOf).find((line) => line.command.includes("--fault")) ?? {};
  const args = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare = ""]) => quoted ?? bare);
  expect(args.slice(0, 3)).toEqual(["npx", "faultline", "bisect"]);
  const output = mkdtempSync(join(tmpdir(), "faultline-readme-"));
  const run = faultline(...args.slice(2), "-o", output);
  rmSync(output, { recursive: true });
  expect(run.status, run.stderr).toBe(status);

  const printed = run.stdout.split("\n");
  const lines = (shown?.text ?? "").split("\n").filter((line) => line.trim() !== "");
  expect(lines.length).toBeGreaterThan(8);
  for (const line of lines) {
    // What is within rounding is the adapter's; what is cut has no line of its own.
    const isLoose = line.startsWith("ok ") || line.includes(CUT);
    const isSame = (candidate: string) =>
      isLoose
        ? line.split(CUT).every((part) => words(candidate).includes(words(part)))
        : firstChange(line.trim(), candidate.trim()) === null;
    expect(printed.some(isSame), `no line is: ${line}`).toBe(true);
  }
});

/** Without its figures. */
const words = (text: string) =>
  text
    .replaceAll(/\d[\d.]*(e[+-]\d+)?/g, "N")
    .replaceAll(/\s+/g, " ")
    .trim();
