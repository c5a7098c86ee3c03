/** Hyper-parameters of the llama architecture: the only reader of `llama.*` keys. Checked against the tensors' shapes. */
import { type AxisSizes, shapeOf } from "../trace/dims.ts";
import { ModelError } from "./errors.ts";
import type { GgufFile } from "./gguf.ts";
import { countKeys, numberKeys } from "./number-keys.ts";
import { type RopeParameters, readRopeParameters } from "./rope.ts";

export interface LlamaParameters {
  readonly layers: number;
  readonly embd: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ffn: number;
  readonly vocab: number;
  /** Longest sequence, in tokens. */
  readonly context: number;
  readonly eps: number;
  readonly rope: RopeParameters;
}

export function readLlamaParameters(file: GgufFile): LlamaParameters {
  const count = countKeys(file, "llama");
  const number = numberKeys(file, "llama");
  if (count("expert_count", 0) > 0) {
    throw new ModelError(
      `${file.name}: ${count("expert_count")} experts; mixtures of experts cannot be run, use a dense model`,
    );
  }
  const embd = count("embedding_length");
  const heads = count("attention.head_count");
  const kvHeads = count("attention.head_count_kv", heads);
  const headDim = number("attention.key_length", heads > 0 ? embd / heads : 0);
  if (!Number.isInteger(headDim) || heads % kvHeads !== 0 || number("attention.value_length", headDim) !== headDim) {
    throw new ModelError(
      `${file.name}: ${heads} heads over ${kvHeads} KV heads, head size ${headDim}, embedding ${embd} do not fit together; the metadata are damaged`,
    );
  }
  const table = file.tensor("token_embd.weight");
  const parameters: LlamaParameters = {
    layers: count("block_count"),
    embd,
    heads,
    kvHeads,
    headDim,
    ffn: count("feed_forward_length"),
    vocab: table.rows,
    context: count("context_length"),
    eps: number("attention.layer_norm_rms_epsilon"),
    rope: readRopeParameters(file, "llama", headDim),
  };
  const { layers, context } = parameters;
  if (layers > file.tensors.size || context < 1) {
    throw new ModelError(
      `${file.name}: llama.block_count is ${layers} with ${file.tensors.size} tensors, llama.context_length ${context}; the metadata are damaged`,
    );
  }
  checkShapes(file, parameters);
  return parameters;
}

/** Sizes of the named axes for a step of `tokens` rows over `keys` cached positions. */
export function axisSizes(p: LlamaParameters, tokens: number, keys: number): AxisSizes {
  const { embd, heads: head, kvHeads: kv_head, headDim: head_dim, ffn, vocab } = p;
  return { token: tokens, key: keys, embd, head, kv_head, head_dim, ffn, vocab, rope_pair: p.rope.dimensions / 2 };
}

/** Every weight the forward page reads, with its dims. */
export function llamaWeights(p: LlamaParameters, has: (name: string) => boolean): [name: string, dims: string][] {
  const inLayer: readonly [string, string][] = [
    ["attn_norm.weight", "embd"],
    ["attn_q.weight", "(head head_dim) embd"],
    ["attn_k.weight", "(kv_head head_dim) embd"],
    ["attn_v.weight", "(kv_head head_dim) embd"],
    ["attn_output.weight", "embd (head head_dim)"],
    ["ffn_norm.weight", "embd"],
    ["ffn_gate.weight", "ffn embd"],
    ["ffn_up.weight", "ffn embd"],
    ["ffn_down.weight", "embd ffn"],
  ];
  const weights: [string, string][] = [["token_embd.weight", "vocab embd"]];
  for (let layer = 0; layer < p.layers; layer++) {
    for (const [name, dims] of inLayer) {
      weights.push([`blk.${layer}.${name}`, dims]);
      const bias = `blk.${layer}.${name.replace(".weight", ".bias")}`;
      // A projection's bias has the dims of its rows.
      if (dims.includes(" ") && has(bias)) weights.push([bias, /^(\([^)]*\)|\S+)/.exec(dims)?.[0] ?? dims]);
    }
  }
  weights.push(["output_norm.weight", "embd"]);
  if (has("output.weight")) weights.push(["output.weight", "vocab embd"]);
  return weights;
}

function checkShapes(file: GgufFile, p: LlamaParameters): void {
  const sizes = axisSizes(p, 1, 1);
  for (const [name, dims] of llamaWeights(p, (weight) => file.tensors.has(weight))) {
    const shape = shapeOf(dims, sizes);
    const found = file.tensor(name).shape;
    if (found.length !== shape.length || found.some((length, axis) => length !== shape[axis])) {
      throw new ModelError(
        `${file.name}: ${name} has shape [${found.join(", ")}], the metadata ask for [${shape.join(", ")}]; convert the model again`,
      );
    }
  }
  const tokens = file.metadata["tokenizer.ggml.tokens"];
  if (Array.isArray(tokens) && tokens.length > p.vocab) {
    throw new ModelError(
      `${file.name}: ${tokens.length} tokens, but token_embd.weight has ${p.vocab} rows; convert the model again`,
    );
  }
}
