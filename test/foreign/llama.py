"""A small llama in numpy, all of it in f32: fused projections, rotations as complex numbers, one preallocated cache a block.

Every op is a method of Block or Llama named after its tap, and every block has its own weights, constants and cache: bugs.py
replaces them one at a time.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize

Array = np.ndarray
# Takes an op's name and its output.
Tap = Callable[[str, Array], None]


class ModelError(Exception):
    """A model that cannot be run: one line with the thing and the remedy."""


class Checkpoint:
    """A llama GGUF: its numbers, and its weights decoded to f32."""

    def __init__(self, path: Path) -> None:
        reader = GGUFReader(path)
        self.fields = reader.fields
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        architecture = self.fields["general.architecture"].contents()
        if architecture != "llama":
            raise ModelError(f'architecture "{architecture}"; this engine runs llama')
        extra = [name for name in self.tensors if name.endswith(".bias") or name == "rope_freqs.weight"]
        if extra or self.number("rope.scaling.factor", 1.0) != 1.0:
            raise ModelError(f"{next(iter(extra), 'rope scaling')} is not known to this engine; choose a plain llama")

    def number(self, key: str, default: float | None = None) -> float:
        field = self.fields.get(f"llama.{key}")
        if field is None and default is None:
            raise ModelError(f"llama.{key} is missing; convert the model again")
        return default if field is None else field.contents()

    def count(self, key: str, default: int | None = None) -> int:
        return int(self.number(key, default))

    def weight(self, name: str) -> Array:
        """Rows are outputs, as stored."""
        tensor = self.tensors[name]
        return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    def fused(self, *names: str) -> Array:
        """Several projections of one input as one matrix of (inputs, outputs)."""
        return np.ascontiguousarray(np.concatenate([self.weight(name) for name in names]).T)


def turns(positions: Array, head_dim: int, base: float) -> Array:
    """A unit complex number for each position and pair of a head, (positions, head_dim / 2)."""
    frequencies = base ** (-2.0 * np.arange(head_dim // 2) / head_dim)
    return np.exp(1j * np.outer(positions, frequencies)).astype(np.complex64)


def rms_norm(x: Array, gain: Array, eps: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(eps)) * gain


def silu(x: Array) -> Array:
    with np.errstate(over="ignore"):  # x / inf is the 0 that belongs there
        return x / (1 + np.exp(-x))


class Block:
    """One layer. x is (tokens, embd); q, k, v are (tokens, heads, head_dim); the cache is (kv_heads, slots, head_dim)."""

    def __init__(self, file: Checkpoint, layer: int, capacity: int) -> None:
        self.layer = layer
        self.heads = file.count("attention.head_count")
        self.kv_heads = file.count("attention.head_count_kv", self.heads)
        self.head_dim = file.count("attention.key_length", file.count("embedding_length") // self.heads)
        self.eps = file.number("attention.layer_norm_rms_epsilon")
        self.base = file.number("rope.freq_base", 10000.0)
        self.scale = np.float32(self.head_dim**-0.5)
        name = f"blk.{layer}.{{}}.weight".format
        self.attn_gain = file.weight(name("attn_norm"))
        self.ffn_gain = file.weight(name("ffn_norm"))
        self.w_qkv = file.fused(name("attn_q"), name("attn_k"), name("attn_v"))
        self.w_out = file.fused(name("attn_output"))
        self.w_gate_up = file.fused(name("ffn_gate"), name("ffn_up"))
        self.w_down = file.fused(name("ffn_down"))
        self.turns = turns(np.arange(capacity), self.head_dim, self.base)
        self.clear(capacity)

    def clear(self, capacity: int) -> None:
        self.keys = np.zeros((self.kv_heads, capacity, self.head_dim), np.float32)
        self.values = np.zeros_like(self.keys)

    def attn_norm(self, x: Array) -> Array:
        return rms_norm(x, self.attn_gain, self.eps)

    def qkv(self, x: Array) -> tuple[Array, Array, Array]:
        rows = (x @ self.w_qkv).reshape(len(x), -1, self.head_dim)
        q, k, v = np.split(rows, [self.heads, self.heads + self.kv_heads], axis=1)
        return q, k, v

    def rope(self, x: Array, start: int) -> Array:
        """Neighbours (2j, 2j + 1) are the parts of a complex number, a product turns it."""
        pairs = np.ascontiguousarray(x).view(np.complex64)
        return (pairs * self.turns[start : start + len(x), None]).view(np.float32)

    def store(self, start: int, k: Array, v: Array) -> None:
        self.keys[:, start : start + len(k)] = k.swapaxes(0, 1)
        self.values[:, start : start + len(v)] = v.swapaxes(0, 1)

    def spread(self, cache: Array) -> Array:
        """Each KV head serves a run of query heads: (heads, slots, head_dim)."""
        return np.repeat(cache, self.heads // self.kv_heads, axis=0)

    def attn_scores(self, q: Array, keys: Array) -> Array:
        return q.swapaxes(0, 1) @ self.spread(keys).swapaxes(1, 2) * self.scale

    def mask(self, tokens: int, slots: int) -> Array:
        """True where a token sees a slot, (tokens, slots): the last token is in the last slot."""
        return np.tri(tokens, slots, slots - tokens, dtype=bool)

    def attn_probs(self, scores: Array) -> Array:
        seen = np.where(self.mask(*scores.shape[1:]), scores, np.float32(-np.inf))
        weights = np.exp(seen - seen.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)

    def attn_ctx(self, probs: Array, values: Array) -> Array:
        return (probs @ self.spread(values)).swapaxes(0, 1)

    def attn_out(self, ctx: Array) -> Array:
        return ctx.reshape(len(ctx), -1) @ self.w_out

    def attn_residual(self, x: Array, _normed: Array, out: Array) -> Array:
        return x + out

    def ffn_norm(self, x: Array) -> Array:
        return rms_norm(x, self.ffn_gain, self.eps)

    def gate_up(self, x: Array) -> tuple[Array, Array]:
        gate, up = np.split(x @ self.w_gate_up, 2, axis=1)
        return gate, up

    def ffn_act(self, gate: Array, up: Array) -> Array:
        return silu(gate) * up

    def ffn_down(self, x: Array) -> Array:
        return x @ self.w_down

    def output(self, x: Array, down: Array) -> Array:
        return x + down

    def forward(self, x: Array, start: int, tap: Tap) -> Array:
        def seen(name: str, values: Array) -> Array:
            tap(f"blk.{self.layer}.{name}", values)
            return values

        end = start + len(x)
        normed = seen("attn_norm", self.attn_norm(x))
        q, k, v = self.qkv(normed)
        for name, part in {"q_proj": q, "k_proj": k, "v_proj": v}.items():
            tap(f"blk.{self.layer}.{name}", part)
        q, k = seen("q_rope", self.rope(q, start)), seen("k_rope", self.rope(k, start))
        self.store(start, k, v)
        scores = seen("attn_scores", self.attn_scores(q, self.keys[:, :end]))
        probs = seen("attn_probs", self.attn_probs(scores))
        ctx = seen("attn_ctx", self.attn_ctx(probs, self.values[:, :end]))
        out = seen("attn_out", self.attn_out(ctx))
        x = seen("attn_residual", self.attn_residual(x, normed, out))
        gate, up = self.gate_up(seen("ffn_norm", self.ffn_norm(x)))
        hidden = self.ffn_act(seen("ffn_gate", gate), seen("ffn_up", up))
        down = seen("ffn_down", self.ffn_down(seen("ffn_act", hidden)))
        return seen("output", self.output(x, down))


class Llama:
    """The model with room for `capacity` positions."""

    def __init__(self, path: Path, capacity: int) -> None:
        file = Checkpoint(path)
        self.capacity = capacity
        self.table = file.weight("token_embd.weight")
        self.blocks = [Block(file, layer, capacity) for layer in range(file.count("block_count"))]
        self.gain = file.weight("output_norm.weight")
        self.eps = file.number("attention.layer_norm_rms_epsilon")
        self.w_head = (file.weight("output.weight") if "output.weight" in file.tensors else self.table).T

    def embed(self, tokens: list[int]) -> Array:
        return self.table[tokens]

    def final_norm(self, x: Array) -> Array:
        return rms_norm(x, self.gain, self.eps)

    def logits(self, x: Array) -> Array:
        return x @ self.w_head

    def forward(self, tokens: list[int], start: int, tap: Tap) -> Array:
        """One pass over tokens at positions from `start` on; gives their logits, (tokens, vocab)."""

        def seen(name: str, values: Array) -> Array:
            tap(name, values)
            return values

        first = self.blocks[0]
        rotation = turns(np.arange(start, start + len(tokens)), first.head_dim, first.base)
        tap("rope.cos", rotation.real)
        tap("rope.sin", rotation.imag)
        x = seen("embed", self.embed(tokens))
        for block in self.blocks:
            x = block.forward(x, start, tap)
        return seen("logits", self.logits(seen("final_norm", self.final_norm(x))))
