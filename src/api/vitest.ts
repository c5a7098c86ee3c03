/** `import "faultline/vitest"`: matchers for people's own suites, and their types. */
import { expect } from "vitest";
import type { Declared, Given, Kind } from "./given.ts";
import { matchers } from "./matchers.ts";
import type { TraceOrPath } from "./opened.ts";
import type { MatchOptions } from "./traces.ts";

declare module "vitest" {
  // biome-ignore lint/suspicious/noExplicitAny: vitest declares it so, and both must agree
  interface Matchers<T = any> {
    /**
     * The trace (or the path of one) matches a reference, as `faultline compare` judges: the message is the first divergent op.
     * Rejects where nothing was compared, with `.not` too.
     */
    toMatchTrace(reference: TraceOrPath, options?: MatchOptions): Promise<T>;
    /** The output of an op of this kind on these inputs is within what any right computation may give. */
    toBeWithinBudget<K extends Kind>(kind: K, given: Given[K], declared?: Declared): T;
  }
}

expect.extend(matchers);

export { matchers } from "./matchers.ts";
