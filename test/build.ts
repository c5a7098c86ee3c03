/**
 * Before any test, and again before each round of a watch: builds the program that tests start, unless it is newer than all that it
 * is built from. Times of change (ctime), unlike those of modification, also tell of files that were copied, moved or checked out;
 * those of the folders tell of files that are gone. Wrong types do not stop a test: `npm run check` is for them.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { PROGRAM } from "./support/program.ts";

const root = join(import.meta.dirname, "..");
const FOLDERS = ["src", "references"];

function build(): void {
  const changed = Math.max(...sources().map((path) => statSync(join(root, path)).ctimeMs));
  if (changed < (statSync(PROGRAM, { throwIfNoEntry: false })?.mtimeMs ?? 0)) return;
  rmSync(PROGRAM, { force: true });
  const begun = new Date();
  spawnSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit" });
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} cannot be built: npm run build says why`);
  utimesSync(PROGRAM, begun, begun);
}

function sources(): string[] {
  const inside = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((path) => join(folder, path)),
  );
  return [...FOLDERS, ...inside, "tsconfig.json", "tsconfig.build.json", "package-lock.json"];
}

export default function setup(project: TestProject): void {
  build();
  project.onTestsRerun(build);
}
