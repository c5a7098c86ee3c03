/** Hyper-parameters of the llama architecture: the only reader of `llama.*` keys. Checked against the tensors' shapes. */
import type { AxisSizes } from "../trace/dims.ts";
import { ModelError } from "./errors.ts";
import type { GgufFile } from "./gguf.ts";
import { numberKeys } from "./metadata.ts";
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
  const number = numberKeys(file, "llama");
  if (number("expert_count", 0) > 0) {
    throw new ModelError(`${file.name}: ${number("expert_count")} experts; mixtures of experts cannot be run, use a dense model`);
  }
  const embd = number("embedding_length");
  const heads = number("attention.head_count");
  const kvHeads = number("attention.head_count_kv", heads);
  const headDim = number("attention.key_length", embd / heads);
  if (!Number.isInteger(headDim) || heads % kvHeads !== 0 || number("attention.value_length", headDim) !== headDim) {
    throw new ModelError(
      `${file.name}: ${heads} heads over ${kvHeads} KV heads, head size ${headDim}, embedding ${embd} do not fit together; the metadata are damaged`,
    );
  }
  const table = file.tensor("token_embd.weight");
  const parameters: LlamaParameters = {
    layers: number("block_count"),
    embd,
    heads,
    kvHeads,
    headDim,
    ffn: number("feed_forward_length"),
    vocab: table.rows,
    context: number("context_length"),
    eps: number("attention.layer_norm_rms_epsilon"),
    rope: readRopeParameters(file, "llama", headDim),
  };
  checkShapes(file, parameters);
  return parameters;
}

/** Sizes of the named axes for a step of `tokens` rows over `keys` cached positions. */
export function axisSizes(p: LlamaParameters, tokens: number, keys: number): AxisSizes {
  const { embd, heads: head, kvHeads: kv_head, headDim: head_dim, ffn, vocab } = p;
  return { token: tokens, key: keys, embd, head, kv_head, head_dim, ffn, vocab, rope_pair: p.rope.dimensions / 2 };
}

/** Every weight the forward page reads, with the shape that the metadata ask for. */
export function llamaWeights(p: LlamaParameters, has: (name: string) => boolean): [name: string, shape: number[]][] {
  const q = p.heads * p.headDim;
  const kv = p.kvHeads * p.headDim;
  const inLayer: [string, number[]][] = [
    ["attn_norm.weight", [p.embd]],
    ["attn_q.weight", [q, p.embd]],
    ["attn_k.weight", [kv, p.embd]],
    ["attn_v.weight", [kv, p.embd]],
    ["attn_output.weight", [p.embd, q]],
    ["ffn_norm.weight", [p.embd]],
    ["ffn_gate.weight", [p.ffn, p.embd]],
    ["ffn_up.weight", [p.ffn, p.embd]],
    ["ffn_down.weight", [p.embd, p.ffn]],
  ];
  const weights: [string, number[]][] = [["token_embd.weight", [p.vocab, p.embd]]];
  for (let layer = 0; layer < p.layers; layer++) {
    for (const [name, shape] of inLayer) {
      weights.push([`blk.${layer}.${name}`, shape]);
      const bias = `blk.${layer}.${name.replace(".weight", ".bias")}`;
      if (has(bias)) weights.push([bias, shape.slice(0, 1)]);
    }
  }
  weights.push(["output_norm.weight", [p.embd]]);
  if (has("output.weight")) weights.push(["output.weight", [p.vocab, p.embd]]);
  return weights;
}

function checkShapes(file: GgufFile, p: LlamaParameters): void {
  for (const [name, shape] of llamaWeights(p, (weight) => file.tensors.has(weight))) {
    const found = file.tensor(name).shape;
    if (found.length !== shape.length || found.some((length, axis) => length !== shape[axis])) {
      throw new ModelError(
        `${file.name}: ${name} has shape [${found.join(", ")}], the metadata ask for [${shape.join(", ")}]; convert the model again`,
      );
    }
  }
  const tokens = file.metadata["tokenizer.ggml.tokens"];
  if (Array.isArray(tokens) && tokens.length > p.vocab) {
    throw new ModelError(`${file.name}: ${tokens.length} tokens, but token_embd.weight has ${p.vocab} rows; convert the model again`);
  }
}
