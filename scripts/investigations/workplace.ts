/** A folder as a reader of the documents has it: the models and examples at hand, the program and a Python with numpy on the path. */
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROGRAM, PYTHON, ROOT } from "../bench/places.ts";

const program = `"${process.execPath}" "${PROGRAM}"`;

/** What each name on the path runs. `npx` knows this program alone and fetches nothing. */
const COMMANDS: Readonly<Record<string, string>> = {
  faultline: `exec ${program} "$@"`,
  npx: `[ "$1" = faultline ] || { echo "npx: no $1 here" >&2; exit 127; }; shift; exec ${program} "$@"`,
  python: `exec "${PYTHON}" "$@"`,
};

export interface Workplace {
  readonly cwd: string;
  /** For the environment variable PATH. */
  readonly path: string;
}

/** A new temporary folder with links, by name, to places in the repository. The caller removes it. */
export function workplace(links: Readonly<Record<string, string>>): Workplace {
  const cwd = mkdtempSync(join(tmpdir(), "faultline-reader-"));
  for (const [name, target] of Object.entries(links)) symlinkSync(join(ROOT, target), join(cwd, name));
  const bin = join(cwd, ".bin");
  mkdirSync(bin);
  for (const [name, script] of Object.entries(COMMANDS)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return { cwd, path: `${bin}:${process.env.PATH ?? ""}` };
}
