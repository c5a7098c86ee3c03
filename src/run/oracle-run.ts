/** A run's own tokens through the f64 oracle, with all values: the trusted run beside a trace that has none. */
import type { Model } from "../model/model.ts";
import { InputError } from "../trace/errors.ts";
import { readPrompt } from "./prompt.ts";
import type { TraceRun } from "./trace-model.ts";

/** What `traceModel` is asked for. Throws InputError where the tokens are not one prompt and single tokens after it. */
export function oracleRun(
  model: Model,
  steps: readonly { readonly posStart: number; readonly tokens: readonly number[] }[],
  run: { readonly path: string; readonly output: string; readonly version: string },
): TraceRun {
  const [first, ...others] = steps;
  const isPlain = first?.posStart === 0 && others.every(({ tokens, posStart }) => tokens.length === 1 && posStart > 0);
  if (first === undefined || !isPlain) {
    throw new InputError(
      `${run.path}: its steps are not one prompt and single tokens after it, which is what the oracle would run; give a reference with --against`,
    );
  }
  const follow = others.flatMap(({ tokens }) => tokens);
  const { tokenizer, prompt } = readPrompt(model, { tokens: first.tokens }, follow.length);
  return {
    ...{ model, tokenizer, prompt, steps: follow.length, follow, output: run.output, version: run.version },
    capture: "full",
    engine: { device: "oracle", dtype: "f32", kvCache: true },
  };
}
