/** Where the benchmark finds things. */
import { homedir } from "node:os";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");
export const CACHE = process.env.FAULTLINE_CACHE ?? join(homedir(), ".cache", "faultline");
/** The built program; `npm run bench` builds it first. */
export const PROGRAM = join(ROOT, "dist/src/cli/main.js");
export const PYTHON = join(CACHE, "python/bin/python");

/** Models by name. */
export const MODELS: Readonly<Record<string, string>> = {
  smollm2: join(CACHE, "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
  embedded: join(ROOT, "models/faultline-tiny-f16.gguf"),
};
