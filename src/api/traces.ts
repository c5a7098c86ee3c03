/** Traces opened, compared and judged as `faultline compare` does. */
import { z } from "zod";
import { auditTrace } from "../compare/audit.ts";
import { type Comparison, compareTraces as compare } from "../compare/compare.ts";
import { diagnoseAudit } from "../compare/judged-audit.ts";
import { judgeTraces } from "../compare/judged-traces.ts";
import { bisectionSentence, bisectionVerdict } from "../report/bisection.ts";
import { plain } from "../report/colors.ts";
import { verdictLine } from "../report/comparison.ts";
import { isBlind } from "../report/comparison-facts.ts";
import { InputError } from "../trace/errors.ts";
import { Trace } from "../trace/reader.ts";
import { callback, checkOptions } from "./checked.ts";
import { type TraceOrPath, withModelOf, withTraces } from "./opened.ts";

export interface CompareTracesOptions {
  /** A second trusted trace: how far it is from the expected one is the natural noise. */
  readonly envelope?: TraceOrPath;
  /** In records. */
  readonly progress?: (done: number, total: number) => void;
}

const COMPARE_KNOWN: { readonly [K in keyof CompareTracesOptions]-?: z.ZodType } = {
  ...{ envelope: z.unknown().optional(), progress: callback.optional() },
};

export interface MatchOptions {
  /** Path of the GGUF file that was run: every op of the judged trace is recomputed too, which needs one with values. */
  readonly model?: string;
  /** A second trusted trace: how far it is from the reference is taken as natural. */
  readonly envelope?: TraceOrPath;
  /** True: a record without a partner on the other side is no match either. */
  readonly complete?: boolean;
}

export interface TraceMatch {
  readonly verdict: "match" | "divergent";
  /** The verdict and the first thing to look at, in one line. */
  readonly line: string;
  readonly comparison: Comparison;
}

/** Opens a trace file, whole or broken off; the caller closes it. Throws TraceError where it is none. */
export const openTrace = (path: string): Promise<Trace> => Trace.open(path);

/**
 * Holds every record of a trace against its partner in a trusted one, as `faultline compare` does. `verdict` is "divergent" where one is
 * off by more than its budget; `ops` has every pair, `isOrigin` those that nothing divergent feeds; `unmatched` says what had no partner.
 * Reads from both files, needs no GPU. Throws TraceError where nothing can be compared.
 */
export async function compareTraces(
  expected: TraceOrPath,
  actual: TraceOrPath,
  options: CompareTracesOptions = {},
): Promise<Comparison> {
  checkOptions("compareTraces", COMPARE_KNOWN, options);
  const { envelope, progress } = options;
  return withTraces(async (open) =>
    compare(await open("what is expected", expected), await open("what is judged", actual), {
      ...(envelope === undefined ? {} : { envelope: await open("the envelope", envelope) }),
      ...(progress === undefined ? {} : { progress }),
    }),
  );
}

/**
 * Holds a trace against a reference. Throws InputError where nothing is compared: no record with a partner, none that could have been
 * seen to differ, or an audit asked for that cannot be made.
 */
export async function matchTrace(
  actual: TraceOrPath,
  reference: TraceOrPath,
  options: MatchOptions = {},
): Promise<TraceMatch> {
  return withTraces(async (open) => {
    const [expected, judged] = [await open("the reference", reference), await open("what is judged", actual)];
    const envelope = options.envelope === undefined ? {} : { envelope: await open("the envelope", options.envelope) };
    const comparison = await compare(expected, judged, envelope);
    checkSeen(expected, judged, comparison);
    const found = await judgedWith(options.model, expected, judged, comparison);
    return { ...completed(found, comparison, options.complete ?? false), comparison };
  });
}

/** A match of which nothing could have been seen to differ says nothing. */
function checkSeen(expected: Trace, actual: Trace, { verdict, ops }: Comparison): void {
  if (verdict === "match" && ops.every((op) => isBlind(op) || op.verdict === "other-context")) {
    throw new InputError(
      `${expected.path} and ${actual.path}: none of ${ops.length} records could have been seen to differ: their budgets are as large as they are; give an envelope, or an exact reference`,
    );
  }
}

async function judgedWith(path: string | undefined, expected: Trace, actual: Trace, comparison: Comparison) {
  if (path === undefined) return { verdict: comparison.verdict, line: plain(verdictLine(comparison)) };
  return withModelOf(actual, path, async (model) => {
    const rest = await judgeTraces(model, expected, actual, comparison, async (trace, options) =>
      diagnoseAudit(model, trace, await auditTrace(model, trace, options)),
    );
    if (rest.auditLeftOut !== null) throw new InputError(`the audit that { model } asks for: ${rest.auditLeftOut}`);
    const bisection = { comparison, determinism: null, ...rest };
    const verdict = bisectionVerdict(bisection);
    return {
      verdict,
      line: verdict === "match" ? plain(verdictLine(comparison)) : `divergent: ${bisectionSentence(bisection)}`,
    };
  });
}

function completed(found: Omit<TraceMatch, "comparison">, { unmatched }: Comparison, asked: boolean) {
  const [first] = unmatched;
  if (!asked || found.verdict === "divergent" || first === undefined) return found;
  const line = `divergent: ${unmatched.length} records have no partner; first ${first.tap} (step ${first.step}, ${first.side}): ${first.reason}`;
  return { verdict: "divergent" as const, line };
}
