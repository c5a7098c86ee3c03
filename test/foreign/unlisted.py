"""Bugs that no catalogue has: a tool must say that it does not know them, or name the closed form where there is one (`fit`)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bug import Bug, Plant, activation, after, around, instead, turned
from llama import Array, Block, silu


def head_rms(x: Array) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(1e-5))


def half_rms(block: Block) -> None:
    def wrong(x: Array) -> Array:
        few = x[:, : x.shape[1] // 2]
        return x / np.sqrt(np.mean(few * few, axis=-1, keepdims=True) + np.float32(block.eps)) * block.ffn_gain

    block.ffn_norm = wrong


def mean_abs_norm(block: Block) -> None:
    block.attn_norm = lambda x: x / (np.mean(np.abs(x), axis=-1, keepdims=True) + np.float32(block.eps)) * block.attn_gain


def fast_rsqrt(block: Block) -> None:
    def rsqrt(x: Array) -> Array:
        guess = (0x5F3759DF - (x.view(np.int32) >> 1)).astype(np.int32).view(np.float32)
        return guess * (np.float32(1.5) - x / 2 * guess * guess)

    block.attn_norm = lambda x: x * rsqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(block.eps)) * block.attn_gain


def dropout(block: Block) -> None:
    """One element of 20 is 0, the rest grow for it."""
    dice = np.random.default_rng(7)
    after("attn_out", lambda x: x * (dice.random(x.shape) >= 0.05) / np.float32(0.95))(block)


def sink_excluded(right: Callable[..., Array], tokens: int, slots: int) -> Array:
    """The first slot is hidden from all that see another."""
    seen = right(tokens, slots)
    seen[:, 0] = seen.sum(axis=1) == 1
    return seen


def window(right: Callable[..., Array], tokens: int, slots: int) -> Array:
    return right(tokens, slots) & ~np.tri(tokens, slots, slots - tokens - 4, dtype=bool)


def softmax_by(exp: Callable[[Array], Array]) -> Plant:
    def plant(block: Block) -> None:
        def wrong(scores: Array) -> Array:
            seen = block.mask(*scores.shape[1:])
            top = np.where(seen, scores, np.float32(-np.inf)).max(axis=-1, keepdims=True)
            weights = np.where(seen, exp(np.minimum(scores - top, 0)), np.float32(0))
            return weights / weights.sum(axis=-1, keepdims=True)

        block.attn_probs = wrong

    return plant


def alibi(scores: Array) -> Array:
    heads, tokens, slots = scores.shape
    slopes = np.float32(2) ** (-8 * np.arange(1, heads + 1, dtype=np.float32) / heads)
    distance = np.arange(slots) - np.arange(slots - tokens, slots)[:, None]
    return scores + slopes[:, None, None] * distance.astype(np.float32)


def rounded_to(levels: int, x: Array) -> Array:
    """Rows as whole multiples of their largest element / levels."""
    step = np.abs(x).max(axis=-1, keepdims=True) / np.float32(levels)
    return np.round(x / step) * step


def head_zeroed(ctx: Array) -> Array:
    return ctx * (np.arange(ctx.shape[1]) != 3)[:, None].astype(np.float32)


def heads_averaged(ctx: Array) -> Array:
    out = ctx.copy()
    out[:, :2] = ctx[:, :2].mean(axis=1, keepdims=True)
    return out


def query_rows_in_halves(parts: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """Queries in the order of another file format: even elements of a head first."""
    q, k, v = parts
    return np.concatenate([q[..., 0::2], q[..., 1::2]], axis=-1), k, v


def channel_tripled(x: Array) -> Array:
    out = x.copy()
    out[:, 17] *= 3
    return out


def neurons_sorted(x: Array) -> Array:
    out = x.copy()
    out[:, x.shape[1] // 2 :].sort(axis=1)
    return out


def remembers(source: str, target: str, wrong: Callable[..., Any]) -> Plant:
    """`target` becomes wrong(right target, what `source` was given, *arguments)."""

    def plant(block: Block) -> None:
        held: list[Array] = []
        around(source, lambda right, x: held.append(x) or right(x))(block)
        around(target, lambda right, *args: wrong(right, held.pop(), *args))(block)

    return plant


UNLISTED = {
    "out-clamped": Bug("clamped to +-2", "attn_out", 1, after("attn_out", lambda x: np.clip(x, -2, 2))),
    "quick-gelu": Bug("x sigmoid(1.702 x)", "ffn_act", 2, activation(lambda x: silu(np.float32(1.702) * x) / np.float32(1.702))),
    "hard-swish": Bug("x relu6(x + 3) / 6", "ffn_act", 1, activation(lambda x: x * np.clip(x + 3, 0, 6) / 6)),
    "leaky-relu": Bug("slope 0.01 below 0", "ffn_act", 3, activation(lambda x: np.where(x > 0, x, x * np.float32(0.01)))),
    "gate-clipped": Bug("gates beyond +-3 are clipped", "ffn_act", 0, activation(lambda x: silu(np.clip(x, -3, 3)))),
    "neurons-sorted": Bug("the second half of the neurons is sorted", "ffn_act", 2, after("ffn_act", neurons_sorted)),
    "rms-of-half": Bug("RMS of the first half of the channels", "ffn_norm", 1, half_rms, fit="row factor"),
    "mean-abs-norm": Bug("division by mean |x|", "attn_norm", 2, mean_abs_norm, fit="row factor"),
    "fast-rsqrt": Bug("1 / sqrt by a shift of the bits and one step of Newton", "attn_norm", 3, fast_rsqrt, fit="row factor"),
    "gain-twice": Bug(
        "the gain is in the head's weights already",
        "final_norm",
        None,
        lambda model: after("final_norm", lambda x: x * model.gain)(model),
        fit="column factor",
    ),
    "rows-shifted": Bug(
        "each row is the one before it",
        "ffn_norm",
        3,
        after("ffn_norm", lambda x: x[np.maximum(np.arange(len(x)) - 1, 0)]),
        fit="shift",
    ),
    "parallel-ffn": Bug(
        "the FFN reads the layer's input", "ffn_norm", 2, remembers("attn_norm", "ffn_norm", lambda right, x, _: right(x))
    ),
    "up-unnormed": Bug(
        "up is made from the row before the norm",
        "ffn_up",
        0,
        remembers("ffn_norm", "gate_up", lambda right, x, normed: (right(normed)[0], right(x)[1])),
    ),
    "query-halves": Bug("query rows are ordered for halves", "q_proj", 1, after("qkv", query_rows_in_halves), fit="permutation"),
    "positions-halved": Bug(
        "positions are divided by 2",
        "q_rope",
        2,
        turned(lambda positions: positions / 2),
    ),
    "qk-norm": Bug(
        "queries and keys are normalised a head", "q_rope", 1, around("rope", lambda right, x, start: right(head_rms(x), start))
    ),
    "alibi": Bug("ALiBi's slopes are added to scores", "attn_scores", 1, after("attn_scores", alibi)),
    "score-cap": Bug("scores are capped at 20 by tanh", "attn_scores", 3, after("attn_scores", lambda x: 20 * np.tanh(x / 20))),
    "kv-int4": Bug(
        "the cache holds 4 bits an element",
        "attn_scores",
        2,
        around("store", lambda right, start, k, v: right(start, rounded_to(7, k), rounded_to(7, v))),
    ),
    "sink-excluded": Bug("nobody sees position 0", "attn_probs", 1, around("mask", sink_excluded)),
    "window": Bug("a token sees itself and 3 before", "attn_probs", 3, around("mask", window)),
    "softmax-base-2": Bug("powers of 2 for powers of e", "attn_probs", 0, softmax_by(np.exp2)),
    "fast-exp": Bug("exp(x) as (1 + x / 256)^256", "attn_probs", 2, softmax_by(lambda x: np.maximum(1 + x / 256, 0) ** 256)),
    "head-zeroed": Bug("head 3 is 0", "attn_ctx", 2, after("attn_ctx", head_zeroed), fit="column factor"),
    "heads-averaged": Bug("heads 0 and 1 are their mean", "attn_ctx", 0, after("attn_ctx", heads_averaged)),
    "heads-reversed": Bug(
        "the last head comes first", "attn_ctx", 3, after("attn_ctx", lambda ctx: ctx[:, ::-1]), fit="permutation"
    ),
    "values-shifted": Bug(
        "each slot gives the values of the one before",
        "attn_ctx",
        1,
        around("attn_ctx", lambda right, p, v: right(p, np.roll(v, 1, axis=1))),
    ),
    "dropout": Bug("dropout of 5 % is left on", "attn_out", 0, dropout),
    "out-int8": Bug(
        "inputs are rounded to int8 a row",
        "attn_out",
        3,
        around("attn_out", lambda right, ctx: right(rounded_to(127, ctx.reshape(len(ctx), -1)))),
    ),
    "half-residual": Bug(
        "half of attention is added", "attn_residual", 2, instead("attn_residual", lambda x, _, out: x + out / 2)
    ),
    "down-bias": Bug("0.01 is added", "ffn_down", 1, after("ffn_down", lambda x: x + np.float32(0.01)), fit="offset"),
    "channel-tripled": Bug("channel 17 is tripled", "output", 1, after("output", channel_tripled), fit="column factor"),
    "temperature": Bug(
        "logits are divided by 0.7 twice", "logits", None, after("logits", lambda x: x / np.float32(0.49)), fit="factor"
    ),
}
