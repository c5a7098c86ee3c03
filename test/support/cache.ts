/** Files that scripts/fetch.sh puts into the cache. A test that needs one and finds none fails and says how to get it. */
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export function cached(path: string): string {
  const cache = process.env.FAULTLINE_CACHE ?? join(homedir(), ".cache", "faultline");
  const found = join(cache, path);
  if (existsSync(found)) return found;
  throw new Error(`${found} does not exist: run \`npm run setup\`, which fetches it`);
}

export const smolLm2 = () => cached("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
