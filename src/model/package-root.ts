/** Where the package's own files are (kernels/, models/, references/), run from source or built into dist/. */
import { existsSync, readFileSync } from "node:fs";

/** URL of the folder that holds package.json, with a trailing slash. */
export function packageRoot(): URL {
  let folder = new URL(".", import.meta.url);
  while (!existsSync(new URL("package.json", folder))) {
    const parent = new URL("..", folder);
    if (parent.href === folder.href) throw new Error("package.json not found above the program");
    folder = parent;
  }
  return folder;
}

/** The version that package.json gives; producers of traces and reports name it. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL("package.json", packageRoot()), "utf8")) as { version: string };
  return version;
}
