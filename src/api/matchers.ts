/** What vitest's `expect` learns. A matcher that cannot judge throws, so that `.not` does not pass by it either. */
import { plain } from "../report/colors.ts";
import { budgetSentence } from "../report/within-budget.ts";
import { InputError } from "../trace/errors.ts";
import type { Declared, Given, Kind, Numbers } from "./given.ts";
import type { TraceOrPath } from "./opened.ts";
import { type MatchOptions, matchTrace } from "./traces.ts";
import { withinBudget } from "./within-budget.ts";

interface Result {
  readonly pass: boolean;
  readonly message: () => string;
}

export const matchers = {
  /** `await expect(trace).toMatchTrace(reference)`: as `faultline compare REFERENCE TRACE` judges. */
  async toMatchTrace(received: unknown, reference: TraceOrPath, options: MatchOptions = {}): Promise<Result> {
    const { verdict, line } = await matchTrace(received as TraceOrPath, reference, options);
    return { pass: verdict === "match", message: () => line };
  },

  /** `expect(output).toBeWithinBudget("rms_norm", { x, gain, eps })`: as `faultline kernels` judges a kernel's output. */
  toBeWithinBudget<K extends Kind>(received: unknown, kind: K, given: Given[K], declared: Declared = {}): Result {
    if (!(received instanceof Float32Array) && !Array.isArray(received)) {
      throw new InputError(`${kind}: the output is ${typeof received}; a Float32Array is needed`);
    }
    const facts = withinBudget(kind, received as Numbers, given, declared);
    const sentence = plain(budgetSentence(facts));
    if (facts.verdict === "not-judged") throw new InputError(sentence);
    return { pass: facts.isWithin, message: () => sentence };
  },
};
