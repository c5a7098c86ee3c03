/** The llama architecture on one page: also Mistral, SmolLM, TinyLlama and whatever else GGUF calls `llama`. */
import { layerTap } from "../trace/taps.ts";
import type { LlamaParameters } from "./llama-parameters.ts";
import type { Ops } from "./ops.ts";

/**
 * One forward pass. Which tokens, at which positions, over which cache: the interpreter knows.
 * `layers` are run in the order given (usually all); `has` tells which optional weights the model holds.
 */
export function llamaForward<T>(
  ops: Ops<T>,
  p: LlamaParameters,
  layers: readonly number[],
  has: (weight: string) => boolean,
): T {
  const heads = { heads: p.heads, kvHeads: p.kvHeads, headDim: p.headDim };
  const scale = 1 / Math.sqrt(p.headDim);

  let x = ops.embed("embed", "token_embd.weight"); //                                                   token embd
  for (const layer of layers) {
    const tap = (name: string) => layerTap(layer, name);
    const gain = (name: string) => `blk.${layer}.${name}.weight`;
    const projection = (name: string) => {
      const bias = `blk.${layer}.${name}.bias`;
      return has(bias) ? { weight: gain(name), bias } : { weight: gain(name) };
    };

    const h = ops.rmsNorm(tap("attn_norm"), x, gain("attn_norm"), p.eps); //                            token embd
    const q = ops.linear(tap("q_proj"), h, projection("attn_q"), "token (head head_dim)");
    const k = ops.linear(tap("k_proj"), h, projection("attn_k"), "token (kv_head head_dim)");
    const v = ops.linear(tap("v_proj"), h, projection("attn_v"), "token (kv_head head_dim)");
    const qr = ops.rope(tap("q_rope"), q, "token (head head_dim)", p.headDim);
    const kr = ops.rope(tap("k_rope"), k, "token (kv_head head_dim)", p.headDim);

    const scores = ops.attentionScores(tap("attn_scores"), qr, ops.cached(kr), heads, scale); //        head token key
    const probabilities = ops.causalSoftmax(tap("attn_probs"), scores); //                              head token key
    const context = ops.attentionContext(tap("attn_ctx"), probabilities, ops.cached(v), heads); //      token (head head_dim)
    const attention = ops.linear(tap("attn_out"), context, projection("attn_output"), "token embd");
    const residual = ops.add(tap("attn_residual"), x, attention); //                                    token embd

    const g = ops.rmsNorm(tap("ffn_norm"), residual, gain("ffn_norm"), p.eps); //                       token embd
    const gate = ops.linear(tap("ffn_gate"), g, projection("ffn_gate"), "token ffn");
    const up = ops.linear(tap("ffn_up"), g, projection("ffn_up"), "token ffn");
    const act = ops.swiglu(tap("ffn_act"), gate, up); //                                                token ffn
    const down = ops.linear(tap("ffn_down"), act, projection("ffn_down"), "token embd");
    x = ops.add(tap("output"), residual, down); //                                                      token embd
  }
  const final = ops.rmsNorm("final_norm", x, "output_norm.weight", p.eps); //                           token embd
  const head = has("output.weight") ? "output.weight" : "token_embd.weight";
  return ops.linear("logits", final, { weight: head }, "token vocab");
}
