/** Llama models of any shape with random weights, as GGUF files: for structure, not for sense. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBlocks } from "../../src/compare/kernels/blocks.ts";
import {
  f32,
  f32Tensor,
  type GgufSpec,
  type MetadataValue,
  type TensorSpec,
  text,
  u32,
  writeGguf,
} from "./gguf-builder.ts";
import { normals, uniform } from "./random.ts";

export interface SyntheticLlama {
  readonly embd?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headDim?: number;
  readonly ffn?: number;
  readonly layers?: number;
  readonly vocab?: number;
  readonly context?: number;
  /** Block type of the matrices. */
  readonly type?: string;
  readonly biases?: boolean;
  readonly untied?: boolean;
  readonly ropeFactors?: Float32Array;
  readonly seed?: number;
  /** Factors of F32 weights whose names hold these texts: large queries and keys make attention peaky. */
  readonly scales?: Readonly<Record<string, number>>;
  readonly metadata?: Readonly<Record<string, MetadataValue>>;
}

/** The bytes 0 to 255 as GPT-2 writes them: a vocabulary that any text can be cut into. */
function byteTokens(): string[] {
  const printable = [...Array(256).keys()].filter((b) => (b > 32 && b < 127) || (b > 160 && b !== 173));
  let next = 256;
  return [...Array(256).keys()].map((b) => String.fromCodePoint(printable.includes(b) ? b : next++));
}

export function syntheticLlama(options: SyntheticLlama = {}): GgufSpec {
  const {
    embd = 64,
    heads = 4,
    kvHeads = 2,
    ffn = 96,
    layers = 2,
    vocab = 260,
    context = 128,
    type = "F32",
    seed = 1,
  } = options;
  const headDim = options.headDim ?? embd / heads;
  const random = uniform(seed);
  const scales = { embd: 1 / Math.sqrt(embd), ffn: 1 / Math.sqrt(ffn) };
  let part = seed * 1000;
  const scaleOf = (name: string) =>
    Object.entries(options.scales ?? {}).reduce((scale, [part, by]) => (name.includes(part) ? scale * by : scale), 1);
  const matrix = (name: string, rows: number, columns: number): TensorSpec =>
    type === "F32"
      ? f32Tensor(
          name,
          [rows, columns],
          normals(part++, rows * columns, scaleOf(name) * (columns === ffn ? scales.ffn : scales.embd)),
        )
      : { name, shape: [rows, columns], typeId: TYPE_IDS[type] ?? 0, data: randomBlocks(type, rows * columns, random) };
  const vector = (name: string, length: number, around: number): TensorSpec =>
    f32Tensor(
      name,
      [length],
      normals(part++, length, 0.1).map((x) => scaleOf(name) * (x + around)),
    );
  const bias = (name: string, length: number) => (options.biases ? [vector(name, length, 0)] : []);

  const tensors: TensorSpec[] = [matrix("token_embd.weight", vocab, embd)];
  for (let layer = 0; layer < layers; layer++) {
    const at = (name: string) => `blk.${layer}.${name}`;
    tensors.push(
      vector(at("attn_norm.weight"), embd, 1),
      matrix(at("attn_q.weight"), heads * headDim, embd),
      matrix(at("attn_k.weight"), kvHeads * headDim, embd),
      matrix(at("attn_v.weight"), kvHeads * headDim, embd),
      ...bias(at("attn_q.bias"), heads * headDim),
      ...bias(at("attn_k.bias"), kvHeads * headDim),
      ...bias(at("attn_v.bias"), kvHeads * headDim),
      matrix(at("attn_output.weight"), embd, heads * headDim),
      ...bias(at("attn_output.bias"), embd),
      vector(at("ffn_norm.weight"), embd, 1),
      matrix(at("ffn_gate.weight"), ffn, embd),
      matrix(at("ffn_up.weight"), ffn, embd),
      matrix(at("ffn_down.weight"), embd, ffn),
    );
  }
  tensors.push(vector("output_norm.weight", embd, 1));
  if (options.untied) tensors.push(matrix("output.weight", vocab, embd));
  if (options.ropeFactors)
    tensors.push(f32Tensor("rope_freqs.weight", [options.ropeFactors.length], options.ropeFactors));

  const words = [...byteTokens(), ...Array.from({ length: Math.max(0, vocab - 256) }, (_, i) => `<extra_${i}>`)].slice(
    0,
    vocab,
  );
  return {
    tensors,
    metadata: {
      "general.architecture": text("llama"),
      "llama.block_count": u32(layers),
      "llama.context_length": u32(context),
      "llama.embedding_length": u32(embd),
      "llama.feed_forward_length": u32(ffn),
      "llama.attention.head_count": u32(heads),
      "llama.attention.head_count_kv": u32(kvHeads),
      "llama.attention.key_length": u32(headDim),
      "llama.attention.value_length": u32(headDim),
      "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
      "llama.rope.dimension_count": u32(headDim),
      "tokenizer.ggml.model": text("gpt2"),
      "tokenizer.ggml.pre": text("gpt-2"),
      "tokenizer.ggml.tokens": { type: "strings", value: words },
      "tokenizer.ggml.token_type": { type: "i32s", value: words.map((_, id) => (id < 256 ? 1 : 3)) },
      "tokenizer.ggml.merges": { type: "strings", value: [] },
      ...options.metadata,
    },
  };
}

const TYPE_IDS: Readonly<Record<string, number>> = {
  ...{ F32: 0, F16: 1, BF16: 30, Q4_0: 2, Q4_1: 3, Q5_0: 6, Q5_1: 7, Q8_0: 8 },
  ...{ Q2_K: 10, Q3_K: 11, Q4_K: 12, Q5_K: 13, Q6_K: 14, IQ4_NL: 20 },
};

/** Writes such a model to a folder of its own and gives its path. */
export function syntheticLlamaFile(options: SyntheticLlama = {}): string {
  return writeGguf(join(mkdtempSync(join(tmpdir(), "faultline-test-")), "synthetic.gguf"), syntheticLlama(options));
}
