#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "gguf==0.19.0",
#   "jax==0.10.2",
#   "jaxlib==0.10.2",
#   "numpy==2.4.6",
#   "tokenizers==0.23.3",
# ]
# ///
"""Trains faultline-tiny, the 3.5 M parameter llama model that ships with Faultline.

Writes models/faultline-tiny-f16.gguf (7.1 MB; float16 matrices, float32 norm gains, byte-level BPE
vocabulary of 2048) and models/faultline-tiny.eval.json (its measured quality).

Data: two public domain texts from Debian 12; every 20th chapter or entry is held out.
  bible-kjv, bible-kjv-text 4.38   "The copyright for the King James Version text of the Bible is expired
                                   since the translation was done in 1611"
  jargon-text 4.4.7-4.1            "This document (the Jargon File) is in the public domain, to be freely
                                   used, shared, and modified." (Jargon File 4.4.7, 29 Dec 2003)

Run it from the repository root:
  apt-get install bible-kjv jargon-text
  uv run scripts/train-embedded-model.py
Slim container images leave out /usr/share/doc, where jargon-text keeps its text; allow that path there.

Takes 32 minutes on 2 CPU cores without a GPU: 1700 steps, 3.5 M tokens, 2.2 passes over the text.
Result with seed 1: held-out loss 3.562 nats/token, perplexity 35.2 (unigram 538, uniform 2048); the true
continuation of a held-out context scores 1.01 nats/token above a foreign one and 5.34 above unigram noise.
The same seed gives the same file on the same machine; elsewhere expect small differences in rounding.
"""

import argparse
import gzip
import json
import math
import re
import subprocess
import time
import unicodedata
from functools import partial
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

D_MODEL = 256
N_LAYERS = 4
N_HEADS = 8
N_KV_HEADS = 2
HEAD_DIM = 32
D_FFN = 768
VOCAB = 2048
CONTEXT = 512
NORM_EPS = 1e-5
ROPE_BASE = 10000.0

BOS, EOS, N_SPECIAL = 256, 257, 2
BIBLE_VERSES = 31102
JARGON_PATH = Path("/usr/share/doc/jargon-text/jargon.txt.gz")
BOX_DRAWING = re.compile("[\u2500-\u257f]")
HOLDOUT_EVERY = 20

WEIGHT_DECAY = 0.1
BETA1, BETA2, ADAM_EPS = 0.9, 0.95, 1e-8
CLIP_NORM = 1.0
WARMUP_STEPS = 100


# ---------------------------------------------------------------- text

ASCII_FOR = {
    "\u2018": "'", "\u2019": "'", "\u00b4": "'", "\u201c": '"', "\u201d": '"',
    "\u2014": " -- ", "\u2212": "-", "\u00b7": "-", "\u2022": "*", "\u2192": "->", "\u00d7": "x",
}


def to_ascii(text):
    """Curly quotes and dashes to their ASCII look-alikes, accents stripped, the rest dropped."""
    for char, plain in ASCII_FOR.items():
        text = text.replace(char, plain)
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def bible_documents():
    """One document per chapter, one line per verse, without book names and verse numbers."""
    printed = subprocess.run(
        ["bible", "-f", "Genesis1:1-Revelation22:21"], capture_output=True, text=True, check=True
    ).stdout
    verses = re.findall(r"^(\w+?\d+):\d+ (.+)$", printed, flags=re.MULTILINE)
    if len(verses) != BIBLE_VERSES:
        raise SystemExit(f"bible printed {len(verses)} verses, expected {BIBLE_VERSES}")
    chapters = {}
    for chapter, verse in verses:
        chapters.setdefault(chapter, []).append(to_ascii(verse).strip())
    return ["\n".join(lines) for lines in chapters.values()]


def jargon_documents():
    """One document per dictionary entry or essay section, one line per paragraph.

    Short indented lines without a full stop are entries of its contents lists and are left out.
    """
    text = gzip.decompress(JARGON_PATH.read_bytes()).decode().replace("\u00a0", " ")
    text = text[text.index("\nChapter 1."):]
    documents = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line for line in block.splitlines() if line and not BOX_DRAWING.search(line)]
        paragraph = " ".join(to_ascii(" ".join(lines)).split())
        if not paragraph:
            continue
        if paragraph.startswith(":") or not lines[0].startswith(" "):
            documents.append([paragraph])
        elif len(paragraph) > 40 or paragraph[-1] in ".!?":
            documents[-1].append(paragraph)
    return ["\n".join(paragraphs) for paragraphs in documents]


# ----------------------------------------------------------- tokenizer

def byte_characters():
    """GPT-2's printable character for each byte: a list of 256 strings indexed by byte value."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in kept]
    return [chr(byte) if byte in kept else chr(256 + moved.index(byte)) for byte in range(256)]


def train_tokenizer(documents):
    """Byte-level BPE, ids: 256 bytes by value, <s>, </s>, then one token per merge.

    Returns (tokenizer, token strings by id, merges as "left right" strings).
    """
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.train_from_iterator(documents, trainers.BpeTrainer(
        vocab_size=VOCAB - N_SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    ))
    bpe = json.loads(learned.to_str())["model"]
    merged = [token for token in sorted(bpe["vocab"], key=bpe["vocab"].get) if len(token) > 1]
    tokens = [*byte_characters(), "<s>", "</s>", *merged]
    assert len(set(tokens)) == VOCAB, len(set(tokens))

    vocab = {token: index for index, token in enumerate(tokens) if index not in (BOS, EOS)}
    merges = [tuple(merge) for merge in bpe["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, tokens, [" ".join(merge) for merge in merges]


# ------------------------------------------------------------- batches

def pack(tokenizer, documents):
    """Joins documents as `<s> text </s>` each.

    Returns (tokens [n] int32, line_starts [m]: the indices where a document or a line of one begins).
    """
    stream, line_starts = [], []
    for document in documents:
        line_starts.append(len(stream))
        stream.append(BOS)
        for line in document.splitlines(keepends=True):
            line_starts.append(len(stream))
            stream += tokenizer.encode(line).ids
        stream.append(EOS)
    return np.array(stream, np.int32), np.array(line_starts)


def rows_of(stream, line_starts, length, first_line=0):
    """Cuts the stream into rows [n_rows, length + 1], each one <s> and then text from a line's start.

    Rows overlap by less than one line, so one pass shows every token of the stream about once.
    """
    rows, at = [], line_starts[first_line]
    while at + length + 1 < len(stream):
        begin = at + 1 if stream[at] == BOS else at
        rows.append(np.concatenate([[BOS], stream[begin:begin + length]]))
        line = line_starts[np.searchsorted(line_starts, begin + length, "right") - 1]
        at = line if line > at else begin + length
    return np.array(rows, np.int32)


def batches(stream, line_starts, length, batch_size, rng):
    """Endless batches [batch_size, length + 1] of shuffled rows; each pass cuts the rows elsewhere."""
    while True:
        rows = rows_of(stream, line_starts, length, first_line=rng.integers(20))
        order = rng.permutation(len(rows))
        for at in range(0, len(rows) - batch_size + 1, batch_size):
            yield rows[order[at:at + batch_size]]


# --------------------------------------------------------------- model

def init_params(rng):
    """Random weights under their GGUF tensor names; every matrix is [n_out, n_in] as in the file."""
    def matrix(n_out, n_in, scale=1.0):
        return rng.normal(0, scale / math.sqrt(n_in), (n_out, n_in)).astype(np.float32)

    residual = 1 / math.sqrt(2 * N_LAYERS)
    params = {
        "token_embd.weight": rng.normal(0, 0.02, (VOCAB, D_MODEL)).astype(np.float32),
        "output_norm.weight": np.ones(D_MODEL, np.float32),
    }
    for layer in range(N_LAYERS):
        params |= {
            f"blk.{layer}.attn_norm.weight": np.ones(D_MODEL, np.float32),
            f"blk.{layer}.attn_q.weight": matrix(N_HEADS * HEAD_DIM, D_MODEL),
            f"blk.{layer}.attn_k.weight": matrix(N_KV_HEADS * HEAD_DIM, D_MODEL),
            f"blk.{layer}.attn_v.weight": matrix(N_KV_HEADS * HEAD_DIM, D_MODEL),
            f"blk.{layer}.attn_output.weight": matrix(D_MODEL, N_HEADS * HEAD_DIM, residual),
            f"blk.{layer}.ffn_norm.weight": np.ones(D_MODEL, np.float32),
            f"blk.{layer}.ffn_gate.weight": matrix(D_FFN, D_MODEL),
            f"blk.{layer}.ffn_up.weight": matrix(D_FFN, D_MODEL),
            f"blk.{layer}.ffn_down.weight": matrix(D_MODEL, D_FFN, residual),
        }
    return params


def rms_norm(x, gain):
    """x [..., D_MODEL], gain [D_MODEL] -> [..., D_MODEL]."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPS) * gain


def rope(x):
    """Rotates the pairs (2j, 2j+1) of x [batch, time, heads, HEAD_DIM] by time * ROPE_BASE^(-2j/HEAD_DIM)."""
    inverse_period = ROPE_BASE ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    angle = np.arange(x.shape[1])[:, None, None] * inverse_period
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    even, odd = x[..., 0::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


def attention(x, params, prefix):
    """Causal grouped-query attention, x [batch, time, D_MODEL] -> same; query head h reads KV head h // 4."""
    batch, time_, _ = x.shape
    group = N_HEADS // N_KV_HEADS
    q = rope((x @ params[prefix + "attn_q.weight"].T).reshape(batch, time_, N_HEADS, HEAD_DIM))
    k = rope((x @ params[prefix + "attn_k.weight"].T).reshape(batch, time_, N_KV_HEADS, HEAD_DIM))
    v = (x @ params[prefix + "attn_v.weight"].T).reshape(batch, time_, N_KV_HEADS, HEAD_DIM)
    q = q.reshape(batch, time_, N_KV_HEADS, group, HEAD_DIM)
    scores = jnp.einsum("btkgd,bskd->bkgts", q, k) / math.sqrt(HEAD_DIM)
    causal = np.tril(np.ones((time_, time_), bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e30), axis=-1)
    mixed = jnp.einsum("bkgts,bskd->btkgd", weights, v)
    return mixed.reshape(batch, time_, N_HEADS * HEAD_DIM) @ params[prefix + "attn_output.weight"].T


def feed_forward(x, params, prefix):
    """SwiGLU, x [batch, time, D_MODEL] -> same."""
    gate = jax.nn.silu(x @ params[prefix + "ffn_gate.weight"].T)
    return (gate * (x @ params[prefix + "ffn_up.weight"].T)) @ params[prefix + "ffn_down.weight"].T


def forward(params, tokens):
    """tokens [batch, time] int32 -> logits [batch, time, VOCAB] for each next token."""
    x = params["token_embd.weight"][tokens]
    for layer in range(N_LAYERS):
        prefix = f"blk.{layer}."
        x = x + attention(rms_norm(x, params[prefix + "attn_norm.weight"]), params, prefix)
        x = x + feed_forward(rms_norm(x, params[prefix + "ffn_norm.weight"]), params, prefix)
    return rms_norm(x, params["output_norm.weight"]) @ params["token_embd.weight"].T


def token_log_probs(params, rows):
    """rows [batch, time + 1] -> log-probability [batch, time] of every token after the first."""
    log_probs = jax.nn.log_softmax(forward(params, rows[:, :-1]))
    return jnp.take_along_axis(log_probs, rows[:, 1:, None], axis=-1)[..., 0]


# ------------------------------------------------------------ training

def learning_rate(step, steps, peak):
    """Linear warm-up, then linear decay to zero."""
    return peak * min(1.0, (step + 1) / WARMUP_STEPS) * (1 - step / steps)


@partial(jax.jit, donate_argnums=(0, 1, 2))
def train_step(params, mean, square, rows, rate, step):
    """One AdamW update on rows [batch, time + 1]; returns (params, mean, square, loss)."""
    loss, grads = jax.value_and_grad(lambda p: -token_log_probs(p, rows).mean())(params)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1.0, CLIP_NORM / norm), grads)
    mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, mean, grads)
    square = jax.tree.map(lambda s, g: BETA2 * s + (1 - BETA2) * g * g, square, grads)

    def updated(p, m, s):
        direction = (m / (1 - BETA1**step)) / (jnp.sqrt(s / (1 - BETA2**step)) + ADAM_EPS)
        decay = WEIGHT_DECAY if p.ndim == 2 else 0.0
        return p - rate * (direction + decay * p)

    return jax.tree.map(updated, params, mean, square), mean, square, loss


def train(params, train_set, args, rng):
    """Runs args.steps updates, the last fifth on rows of the full context.

    Returns (params, tokens seen, seconds).
    """
    mean, square = jax.tree.map(np.zeros_like, params), jax.tree.map(np.zeros_like, params)
    half, full = CONTEXT // 2, CONTEXT
    half_rows = batches(*train_set, half, args.batch_tokens // half, rng)
    full_rows = batches(*train_set, full, args.batch_tokens // full, rng)
    began, losses = time.monotonic(), []
    for step in range(args.steps):
        rows = next(half_rows if step < args.steps * 4 // 5 else full_rows)
        rate = learning_rate(step, args.steps, args.learning_rate)
        params, mean, square, loss = train_step(params, mean, square, rows, rate, step + 1.0)
        losses.append(float(loss))
        if (step + 1) % 50 == 0:
            seconds = time.monotonic() - began
            print(f"step {step + 1}/{args.steps} loss {np.mean(losses[-50:]):.3f} {seconds:.0f} s", flush=True)
    return params, args.steps * args.batch_tokens, time.monotonic() - began


def stored(params):
    """The weights as the file holds them: matrices float16, norm gains float32."""
    return {name: np.asarray(w, np.float16 if w.ndim == 2 else np.float32) for name, w in params.items()}


# ---------------------------------------------------------- evaluation

CONTEXT_TOKENS, CONTINUATION_TOKENS, N_CONTEXTS = 32, 16, 400
SAMPLE_PROMPTS = ["And it came to pass", "In the beginning", ":hacker: n."]


def unigram_log_probs(stream):
    """Add-one smoothed log-probability [VOCAB] of each token's frequency in the stream."""
    counts = np.bincount(stream, minlength=VOCAB) + 1.0
    return np.log(counts / counts.sum())


def held_out_loss(params, held_stream, unigram):
    """Mean loss in nats per token over the held-out text, cut into rows of the full context that do not overlap.

    Returns (model loss, unigram loss, tokens scored).
    """
    rows = rows_of(held_stream, np.arange(len(held_stream)), CONTEXT)
    score = jax.jit(token_log_probs)
    log_probs = np.concatenate([score(params, rows[at:at + 1]) for at in range(len(rows))])
    return float(-log_probs.mean()), float(-unigram[rows[:, 1:]].mean()), int(log_probs.size)


def continuation_test(params, held_stream, unigram, rng):
    """Compares true continuations of held-out contexts with a foreign one and with unigram noise.

    Each row is <s>, CONTEXT_TOKENS tokens from inside one document, then CONTINUATION_TOKENS more.
    """
    span = CONTEXT_TOKENS + CONTINUATION_TOKENS
    special = np.isin(held_stream, (BOS, EOS))
    inside = [at for at in range(len(held_stream) - span) if not special[at:at + span].any()]
    chosen = rng.choice(inside, N_CONTEXTS, replace=False)
    true = np.array([[BOS, *held_stream[at:at + span]] for at in chosen], np.int32)
    foreign, noise = true.copy(), true.copy()
    foreign[:, -CONTINUATION_TOKENS:] = np.roll(true, 1, axis=0)[:, -CONTINUATION_TOKENS:]
    noise[:, -CONTINUATION_TOKENS:] = rng.choice(VOCAB, (N_CONTEXTS, CONTINUATION_TOKENS), p=np.exp(unigram))

    def mean_log_prob(rows):
        return np.asarray(jax.jit(token_log_probs)(params, rows))[:, -CONTINUATION_TOKENS:].mean(axis=1)

    scores = {"true": mean_log_prob(true), "foreign": mean_log_prob(foreign), "unigram_noise": mean_log_prob(noise)}
    result = {"contexts": N_CONTEXTS, "context_tokens": CONTEXT_TOKENS, "continuation_tokens": CONTINUATION_TOKENS}
    for name, score in scores.items():
        result[f"mean_log_prob_{name}"] = float(score.mean())
    for name in ("foreign", "unigram_noise"):
        margin = scores["true"] - scores[name]
        result[f"margin_over_{name}"] = float(margin.mean())
        result[f"share_true_above_{name}"] = float((margin > 0).mean())
    return result


def greedy(params, tokenizer, prompt, n_new):
    """The prompt's text and its n_new likeliest next tokens, one at a time."""
    ids = [BOS, *tokenizer.encode(prompt).ids]
    last = len(ids) + n_new
    step = jax.jit(lambda tokens, at: jnp.argmax(forward(params, tokens)[0, at]))
    while len(ids) < last and ids[-1] != EOS:
        padded = np.array([ids + [EOS] * (last - len(ids))], np.int32)
        ids.append(int(step(padded, len(ids) - 1)))
    return tokenizer.decode([token for token in ids if token not in (BOS, EOS)])


# ---------------------------------------------------------------- file

def write_gguf(path, weights, tokens, merges):
    """Writes weights (name -> array) and the tokenizer with every key llama.cpp reads for a llama model."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("faultline-tiny")
    writer.add_description("3.5 M parameter llama trained on the King James Bible and the Jargon File")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(D_MODEL)
    writer.add_block_count(N_LAYERS)
    writer.add_feed_forward_length(D_FFN)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KV_HEADS)
    writer.add_layer_norm_rms_eps(NORM_EPS)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([
        gguf.TokenType.CONTROL if token in (BOS, EOS) else gguf.TokenType.NORMAL for token in range(VOCAB)
    ])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOS)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    for name, weight in weights.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description="Train the embedded tiny model and write its GGUF file.")
    parser.add_argument("--out", type=Path, default=Path("models/faultline-tiny-f16.gguf"))
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    documents = bible_documents() + jargon_documents()
    held = documents[::HOLDOUT_EVERY]
    kept = [document for at, document in enumerate(documents) if at % HOLDOUT_EVERY]
    tokenizer, tokens, merges = train_tokenizer(kept)
    train_set, held_set = pack(tokenizer, kept), pack(tokenizer, held)
    print(f"{len(kept)} documents, {len(train_set[0])} training tokens, {len(held_set[0])} held out")

    params, tokens_seen, seconds = train(init_params(rng), train_set, args, rng)
    weights = stored(params)
    write_gguf(args.out, weights, tokens, merges)

    params = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), weights)
    unigram = unigram_log_probs(train_set[0])
    loss, unigram_loss, scored = held_out_loss(params, held_set[0], unigram)
    report = {
        "parameters": sum(w.size for w in weights.values()),
        "training_text_tokens": len(train_set[0]),
        "training_tokens_seen": tokens_seen,
        "training_seconds": round(seconds),
        "steps": args.steps,
        "seed": args.seed,
        "held_out_tokens": scored,
        "held_out_loss_nats": loss,
        "held_out_perplexity": math.exp(loss),
        "unigram_loss_nats": unigram_loss,
        "unigram_perplexity": math.exp(unigram_loss),
        "uniform_loss_nats": math.log(VOCAB),
        "uniform_perplexity": VOCAB,
        "continuation_test": continuation_test(params, held_set[0], unigram, rng),
        "greedy_samples": {prompt: greedy(params, tokenizer, prompt, 48) for prompt in SAMPLE_PROMPTS},
    }
    rounded = json.loads(json.dumps(report), parse_float=lambda digits: round(float(digits), 4))
    text = json.dumps(rounded, indent=2) + "\n"
    args.out.with_name("faultline-tiny.eval.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
