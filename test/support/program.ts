/** The program as it is shipped: built once for a run of tests (test/build.ts), it starts in half the time of its sources. */
import { join } from "node:path";

export const PROGRAM = join(import.meta.dirname, "../../dist/src/cli/main.js");
