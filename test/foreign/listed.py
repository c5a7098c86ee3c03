"""Bugs of the catalogue, docs/faults.md, each made in this engine's own way."""

from collections.abc import Callable

import numpy as np

from bug import Bug, activation, after, around, fixed, instead, swapped, turned
from llama import Array, Block, rms_norm


def rope_halves(right: Callable[..., Array], x: Array, start: int) -> Array:
    """Element j turns with j + head_dim / 2."""
    half = x.shape[-1] // 2
    together = np.stack([x[..., :half], x[..., half:]], axis=-1).reshape(x.shape)
    turned = right(together, start)
    return np.concatenate([turned[..., 0::2], turned[..., 1::2]], axis=-1)


def layer_norm(block: Block) -> None:
    block.attn_norm = lambda x: rms_norm(x - x.mean(axis=-1, keepdims=True), block.attn_gain, block.eps)


def gqa_modulo(block: Block) -> None:
    block.spread = lambda cache: np.tile(cache, (block.heads // block.kv_heads, 1, 1))


def newest_dropped(block: Block) -> None:
    """Decode steps store their rows when they are over."""
    store, late = block.store, []

    def wrong(start: int, k: Array, v: Array) -> None:
        while late:
            store(*late.pop())
        if start == 0:
            store(start, k, v)
        else:
            late.append((start, k, v))

    block.store = wrong


def values_stale(block: Block) -> None:
    """Decode steps store the values of the step before."""
    store, last = block.store, [None]

    def wrong(start: int, k: Array, v: Array) -> None:
        store(start, k, v if start == 0 else last[0])
        last[0] = v[-1:]

    block.store = wrong


def mask_zero(block: Block) -> None:
    """The mask multiplies scores."""

    def wrong(scores: Array) -> Array:
        weights = np.exp(scores * block.mask(*scores.shape[1:]))
        return weights / weights.sum(axis=-1, keepdims=True)

    block.attn_probs = wrong


def heads_transposed(ctx: Array) -> Array:
    return np.ascontiguousarray(ctx.swapaxes(1, 2)).reshape(ctx.shape)


def tail_zero(parts: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    q, k, v = parts
    return q, k, np.where(np.arange(v[0].size).reshape(v.shape[1:]) < v[0].size - 16, v, np.float32(0))


def tile_dropped(right: Callable[[Array], Array], x: Array) -> Array:
    return right(np.where(np.arange(x.shape[1]) // 64 == 1, np.float32(0), x))


def gelu(x: Array) -> Array:
    return x / 2 * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3)))


def half(x: Array) -> Array:
    return x.astype(np.float16).astype(np.float32)


LISTED = {
    "embed-next-row": Bug(
        "ids count from 1",
        "embed",
        None,
        id="embed.row-plus-one",
        plant=lambda model: setattr(model, "embed", lambda ids: model.table[(np.array(ids) + 1) % len(model.table)]),
    ),
    "norm-eps": Bug("eps 1e-3 for the file's", "attn_norm", 0, fixed("eps", lambda _: 1e-3), id="norm.eps", parameter=1e-3),
    # Beside a mean square of 100 these two move a row by 4e-7 and 4e-8 of itself.
    "norm-eps-small": Bug("eps 1e-4 for the file's", "attn_norm", 2, fixed("eps", lambda _: 1e-4), id="norm.eps", parameter=1e-4),
    "norm-eps-unfelt": Bug(
        "eps 1e-6 for the file's", "attn_norm", 2, fixed("eps", lambda _: 1e-6), id="norm.eps", parameter=1e-6
    ),
    "norm-gain-missing": Bug(
        "the gain is left at ones",
        "ffn_norm",
        1,
        fixed("ffn_gain", lambda block: np.ones_like(block.ffn_gain)),
        id="norm.weight-missing",
    ),
    "norm-gains-swapped": Bug(
        "the layer's two gains are exchanged", "attn_norm", 3, swapped("attn_gain", "ffn_gain"), id="norm.other-weight"
    ),
    "layer-norm": Bug("the mean is subtracted", "attn_norm", 1, layer_norm, id="norm.mean-subtracted"),
    "rope-halves": Bug("pairs are (j, j + half)", "q_rope", 1, around("rope", rope_halves), id="rope.pairing"),
    "rope-base": Bug("base 500000", "q_rope", 2, turned(lambda positions: positions, 500000.0), id="rope.base", parameter=500000),
    "rope-from-one": Bug(
        "positions count from 1",
        "q_rope",
        0,
        turned(lambda positions: positions + 1),
        id="rope.position-plus-one",
    ),
    "rope-backwards": Bug("angles are negative", "q_rope", 3, turned(lambda positions: -positions), id="rope.sign"),
    "rope-stuck": Bug(
        "every pass starts at position 0",
        "q_rope",
        1,
        around("rope", lambda right, x, _: right(x, 0)),
        id="rope.position-zero",
        step=1,
    ),
    "scale-missing": Bug("scores are q . k", "attn_scores", 2, fixed("scale", lambda _: np.float32(1)), id="attn.scale-missing"),
    "gqa-tiled": Bug("KV heads are tiled, not repeated", "attn_scores", 1, gqa_modulo, id="attn.gqa-modulo"),
    "mask-ahead": Bug(
        "each token sees the next one",
        "attn_probs",
        0,
        instead("mask", lambda tokens, slots: np.tri(tokens, slots, slots - tokens + 1, dtype=bool)),
        id="attn.mask-one-ahead",
    ),
    "mask-times": Bug("the mask multiplies scores by 0", "attn_probs", 2, mask_zero, id="attn.mask-zero"),
    "heads-transposed": Bug(
        "heads are merged as (head_dim head)",
        "attn_ctx",
        1,
        after("attn_ctx", heads_transposed),
        id="attn.heads-merged-transposed",
    ),
    "kv-late": Bug("decode steps store after they read", "attn_scores", 1, newest_dropped, id="kv.newest-dropped", step=1),
    "kv-next-slot": Bug(
        "decode steps store one slot too far",
        "attn_scores",
        2,
        around("store", lambda right, start, k, v: right(start + (start > 0), k, v)),
        id="kv.slot-plus-one",
        step=1,
    ),
    "v-stale": Bug("decode steps store the last step's values", "attn_ctx", 0, values_stale, id="kv.v-stale", step=1),
    "kv-swapped": Bug(
        "the fused projection is split as q, v, k",
        "k_proj",
        2,
        after("qkv", lambda parts: (parts[0], parts[2], parts[1])),
        id="linear.swap-kv",
    ),
    "v-tail-zero": Bug(
        "the fused projection's last 16 outputs are 0",
        "v_proj",
        3,
        after("qkv", tail_zero),
        id="linear.rows-tail-zero",
        parameter=16,
    ),
    "out-transposed": Bug(
        "the output projection is read by columns",
        "attn_out",
        2,
        fixed("w_out", lambda block: block.w_out.T),
        id="linear.transposed",
    ),
    "down-tile-dropped": Bug(
        "inputs 64 to 127 are not added",
        "ffn_down",
        1,
        around("ffn_down", tile_dropped),
        id="linear.k-tile-dropped",
        parameter=64,
    ),
    "gate-up-swapped": Bug(
        "the fused projection is split as up, gate",
        "ffn_gate",
        3,
        after("gate_up", lambda parts: parts[::-1]),
        id="linear.swap-gate-up",
    ),
    "gelu": Bug("GELU (tanh) for SiLU", "ffn_act", 2, activation(gelu), id="act.gelu-tanh"),
    "relu": Bug("ReLU for SiLU", "ffn_act", 0, activation(lambda x: np.maximum(x, 0)), id="act.relu"),
    "residual-from-norm": Bug(
        "the normalised row is added",
        "attn_residual",
        1,
        instead("attn_residual", lambda _, normed, out: normed + out),
        id="residual.from-norm",
    ),
    "output-f16": Bug("the stream is kept in f16", "output", 2, after("output", half), id="precision.f16-store"),
    "final-norm-missing": Bug(
        "the head reads the stream", "final_norm", None, instead("final_norm", lambda x: x), id="head.norm-missing"
    ),
}
