// A chat as the text that the model was trained on, by the Jinja template in its GGUF.
import { Template } from "@huggingface/jinja";
import { ModelError } from "./errors.ts";
import type { GgufMetadata } from "./metadata.ts";
import { optionalString, optionalStrings } from "./metadata.ts";
import { specialIds } from "./vocabulary.ts";

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

export interface ChatOptions {
  /** End with what opens the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** What else the template asks for, by its own names: `{ enable_thinking: false }`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/**
 * Renders `tokenizer.chat_template`. Most templates write BOS themselves, and text after it must not get a second:
 * encode the result with `{ addSpecial: false }`.
 */
export function renderChat(
  metadata: GgufMetadata,
  messages: readonly ChatMessage[],
  { addGenerationPrompt = true, variables = {} }: ChatOptions = {},
): string {
  const source = optionalString(metadata, "tokenizer.chat_template");
  if (source === undefined) {
    throw new ModelError(
      "the model has no chat template (tokenizer.chat_template); give the prompt as plain text with -p",
    );
  }
  const texts = optionalStrings(metadata, "tokenizer.ggml.tokens") ?? [];
  const { bosId, eosId } = specialIds(metadata);
  const textOf = (id: number | undefined) => (id === undefined ? "" : (texts[id] ?? ""));
  const template = attempt("does not parse", () => new Template(source));
  const roles = messages.map((message) => message.role).join(", ");
  return attempt(`refuses ${messages.length} messages (${roles})`, () =>
    template.render({
      messages: messages.map((message) => ({ ...message })),
      add_generation_prompt: addGenerationPrompt,
      bos_token: textOf(bosId),
      eos_token: textOf(eosId),
      tools: null,
      documents: null,
      ...variables,
    }),
  );
}

function attempt<T>(failure: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ModelError(
      `tokenizer.chat_template ${failure}: ${reason.replaceAll(/\s+/g, " ")}; ` +
        "change the messages, or pass the prompt as plain text",
      { cause: error },
    );
  }
}
