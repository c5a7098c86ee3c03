/** `--fault`: parsed for a run, and applied to its prompt where the fault is one of the token sequence. */
import type { Fault } from "../engine/faults/fault.ts";
import { parseFaults } from "../engine/faults/parse.ts";
import { faultyTokens } from "../engine/faults/tokens.ts";
import type { Model } from "../model/model.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { InputError } from "../trace/errors.ts";
import type { EngineOptions } from "./options.ts";
import type { Prompt } from "./prompt.ts";

/** The faults of a run and the prompt with them. Throws InputError for a fault that cannot be planted, or would change nothing. */
export function plantedIn(
  model: Model,
  options: EngineOptions,
  given: { readonly tokenizer: Tokenizer; readonly prompt: Prompt },
  steps: number,
): { faults: readonly Fault[]; prompt: Prompt } {
  const texts = options.fault ?? [];
  if (texts.length > 0 && options.device === "oracle") {
    throw new InputError(`--fault ${texts[0]} is planted in GPU kernels; leave --device oracle out`);
  }
  const faults = parseFaults(texts, model, options);
  const tokens = faultyTokens(given.prompt.tokens, faults, given.tokenizer);
  if (tokens.length + steps > model.parameters.context) {
    throw new InputError(
      `${tokens.length} tokens with ${texts.join(", ")} and ${steps} steps exceed the model's context of ${model.parameters.context}; shorten the prompt or lower -n`,
    );
  }
  return { faults, prompt: { ...given.prompt, tokens } };
}
