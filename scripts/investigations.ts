/**
 * Runs the commands of docs/investigations/*.md and writes what they print below them: npm run investigations [-- --check] [PAGE...].
 * A page is Markdown with blocks that begin with ```console; lines that begin with "$ " are commands, all else in them is output and
 * is replaced. A number after the word (```console 12) is how many lines of each output are kept. With --check nothing is written: a
 * page whose words have changed, or whose figures moved by more than the last digits, ends it with status 1.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "./bench/places.ts";
import { firstChange } from "./investigations/same.ts";
import { type Workplace, workplace } from "./investigations/workplace.ts";

const folder = join(ROOT, "docs/investigations");
const { values, positionals } = parseArgs({
  options: { check: { type: "boolean", default: false } },
  allowPositionals: true,
});

/** What a command prints, with its exit status where that is not 0. Native warnings of the GPU library are left out. */
function run(command: string, { cwd, path }: Workplace, kept: number): string[] {
  const { stdout, stderr, status } = spawnSync("bash", ["--norc", "-c", command], {
    cwd,
    encoding: "utf8",
    env: { ...process.env, PATH: path, NO_COLOR: "1" },
  });
  const lines = `${stdout}${stderr}`
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => !line.startsWith("Warning: max"));
  while (lines.at(-1) === "") lines.pop();
  const shown = lines.length > kept ? [...lines.slice(0, kept), "..."] : lines;
  return [...shown, ...(status === 0 ? [] : [`(exit status ${status})`])];
}

/** The page with the output of its commands. */
function rendered(page: string): string {
  const place = workplace({ models: "models", examples: "docs/examples" });
  try {
    const out: string[] = [];
    let kept: number | null = null;
    for (const line of page.split("\n")) {
      const open = /^```console(?: (\d+))?$/.exec(line);
      if (open !== null) kept = Number(open[1] ?? Number.POSITIVE_INFINITY);
      else if (line === "```") kept = null;
      if (kept === null || open !== null) out.push(line);
      else if (line.startsWith("$ ")) {
        process.stderr.write(`${line}\n`);
        out.push(line, ...run(line.slice(2), place, kept));
      }
    }
    return out.join("\n");
  } finally {
    rmSync(place.cwd, { recursive: true, force: true });
  }
}

const pages = positionals.length > 0 ? positionals : readdirSync(folder).filter((name) => name.endsWith(".md"));
for (const name of pages.sort()) {
  const path = join(folder, name);
  const before = readFileSync(path, "utf8");
  const after = rendered(before);
  if (!values.check) {
    if (after !== before) writeFileSync(path, after);
    continue;
  }
  const change = firstChange(before, after);
  if (change === null) continue;
  process.stderr.write(
    `${name}: is not what the commands print now; line ${change.line}: "${change.before}" is now "${change.after}"; write it again with npm run investigations\n`,
  );
  process.exitCode = 1;
}
