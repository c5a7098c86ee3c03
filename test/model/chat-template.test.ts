// Chat templates: what they render, and the one chat whose HuggingFace ids are known.
import { describe, expect, it } from "vitest";
import type { ChatMessage } from "../../src/model/chat-template.ts";
import { renderChat } from "../../src/model/chat-template.ts";
import { ModelError } from "../../src/model/errors.ts";
import type { GgufMetadata } from "../../src/model/tokenizer.ts";
import { tokenizerFromMetadata } from "../../src/model/tokenizer.ts";
import { vocabularyMetadata } from "../support/vocabularies.ts";

const TINYLLAMA_TEMPLATE = `{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}`;

const CHAT: readonly ChatMessage[] = [
  { role: "system", content: "You are a friendly chatbot." },
  { role: "user", content: "Hello! How are you?" },
];

// biome-ignore format: as HuggingFace prints them, a line per turn
const HUGGINGFACE_IDS = [
  529, 29989, 5205, 29989, 29958, 13, 3492, 526, 263, 19780, 13563, 7451, 29889,
  2, 29871, 13, 29966, 29989, 1792, 29989, 29958, 13, 10994, 29991, 1128, 526, 366, 29973,
  2, 29871, 13, 29966, 29989, 465, 22137, 29989, 29958, 13,
];

const SMALL: GgufMetadata = {
  "tokenizer.ggml.model": "llama",
  "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>"],
};

describe("TinyLlama's chat", () => {
  const metadata = () => ({ ...vocabularyMetadata("llama-spm"), "tokenizer.chat_template": TINYLLAMA_TEMPLATE });

  it("renders without BOS, every turn on lines of its own", () => {
    expect(renderChat(metadata(), CHAT)).toBe(
      "<|system|>\nYou are a friendly chatbot.</s>\n<|user|>\nHello! How are you?</s>\n<|assistant|>\n",
    );
  });

  it("encodes to HuggingFace's 38 ids: a space before the text after </s>, no BOS", () => {
    const { encode } = tokenizerFromMetadata(metadata());
    expect(encode(renderChat(metadata(), CHAT), { addSpecial: false })).toEqual(HUGGINGFACE_IDS);
  });

  it("encodes to 39 with BOS, and to 36 where only the start gets a space", () => {
    const { encode } = tokenizerFromMetadata(metadata());
    const prompt = renderChat(metadata(), CHAT);
    expect(encode(prompt)).toEqual([1, ...HUGGINGFACE_IDS]);
    const atStart = encode(prompt, { addSpecial: false, spacePrefix: "at-start" });
    expect(atStart).toEqual(HUGGINGFACE_IDS.filter((id) => id !== 29871));
  });
});

describe("renderChat", () => {
  const render = (template: string | undefined, options = {}) =>
    renderChat({ ...SMALL, "tokenizer.chat_template": template }, CHAT, options);

  it("gives the template the special tokens, the generation prompt and further variables", () => {
    const template = "{{ bos_token }}|{{ eos_token }}|{{ add_generation_prompt }}|{{ enable_thinking }}";
    expect(render(template)).toBe("<s>|</s>|true|");
    expect(render(template, { addGenerationPrompt: false, variables: { enable_thinking: false } })).toBe(
      "<s>|</s>|false|false",
    );
  });

  it("names what is wrong with a template", () => {
    const messageOf = (template: string | undefined) => {
      try {
        return render(template);
      } catch (error) {
        if (error instanceof ModelError) return error.message;
        throw error;
      }
    };
    expect([
      messageOf(undefined),
      messageOf("{% for m in messages %}"),
      messageOf("{{ raise_exception('System role not\n supported') }}"),
    ]).toMatchInlineSnapshot(`
      [
        "the model has no chat template (tokenizer.chat_template); give the prompt as plain text with -p",
        "tokenizer.chat_template does not parse: Cannot read properties of undefined (reading 'type'); change the messages, or pass the prompt as plain text",
        "tokenizer.chat_template refuses 2 messages (system, user): System role not supported; change the messages, or pass the prompt as plain text",
      ]
    `);
  });
});
