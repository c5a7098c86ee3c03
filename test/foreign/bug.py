"""What a bug is, and the ways to plant one: an op becomes another function, or an attribute of its owner another value."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from llama import Array, Block, turns

Plant = Callable[[Any], None]


@dataclass(frozen=True)
class Bug:
    what: str
    tap: str
    # The layer that it is planted in unless told otherwise; None for ops outside the layers.
    layer: int | None
    plant: Plant
    id: str | None = None
    # The number that goes with the id, as in `--fault id@tap:number`.
    parameter: float | None = None
    fit: str | None = None
    step: int = 0


def around(op: str, wrong: Callable[..., Any]) -> Plant:
    """The op becomes wrong(right op, *its arguments)."""
    return lambda owner: setattr(owner, op, partial(wrong, getattr(owner, op)))


def after(op: str, change: Callable[[Any], Any]) -> Plant:
    """The op's output is changed."""
    return around(op, lambda right, *args: change(right(*args)))


def instead(op: str, wrong: Callable[..., Any]) -> Plant:
    """The op is another function of its arguments."""
    return around(op, lambda _, *args: wrong(*args))


def swapped(a: str, b: str) -> Plant:
    """Two attributes are exchanged."""

    def plant(block: Block) -> None:
        block.__dict__[a], block.__dict__[b] = block.__dict__[b], block.__dict__[a]

    return plant


def fixed(name: str, value: Callable[[Any], Any]) -> Plant:
    """An attribute has another value, made from its owner."""
    return lambda owner: setattr(owner, name, value(owner))


def turned(angle: Callable[[Array], Array], base: float | None = None) -> Plant:
    """Rotations of other positions, or by another base."""
    return fixed("turns", lambda block: turns(angle(np.arange(len(block.turns))), block.head_dim, base or block.base))


def activation(wrong: Callable[[Array], Array]) -> Plant:
    return instead("ffn_act", lambda gate, up: wrong(gate) * up)
