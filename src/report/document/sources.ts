/** What a report is made from: a bisection, a comparison, or an audit alone. */
import type { Bisection } from "../../compare/bisection.ts";
import type { Comparison } from "../../compare/compare.ts";
import type { Trace } from "../../trace/reader.ts";
import type { DeterminismFacts } from "../determinism.ts";

export interface ReportSources extends Omit<Bisection, "comparison" | "determinism"> {
  /** Null where there is no second run, and with it `expected`. */
  readonly comparison: Comparison | null;
  readonly determinism: DeterminismFacts | null;
  readonly expected: Trace | null;
  /** The second reference of the comparison, where one took part. */
  readonly envelope?: Trace;
  /** The run that is judged. */
  readonly actual: Trace;
  /** Text of a token; that of the traces where no tokenizer is at hand. */
  readonly piece: ((id: number) => string) | null;
  readonly version: string;
  /** When it is made, ISO 8601. */
  readonly created: string;
}

/** The bisection that sources with a comparison are. */
export function bisectionOf(sources: ReportSources): Bisection | null {
  const { comparison, determinism } = sources;
  return comparison === null ? null : { ...sources, comparison, determinism: determinism?.judgement ?? null };
}

/** `faultline 0.1.0 on llvmpipe, f32`. */
export function sideName({ manifest: { producer } }: Trace): string {
  return `${producer.name} ${producer.version} on ${producer.device}, ${producer.dtype}`;
}
