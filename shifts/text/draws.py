"""Random choices for short texts, drawn from one numpy generator in blocks.

A scalar call into a numpy generator costs about as much as editing a whole word, so uniforms are
taken a block at a time and turned into choices here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_BLOCK = 32


class Draws:
    """A stream of choices; the same generator state gives the same choices.

    Args:
        rng: the item's generator; it advances by whole blocks of uniforms.
    """

    __slots__ = ("_rng", "_uniforms")

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._uniforms: list[float] = []

    def uniform(self) -> float:
        """A number in [0, 1)."""
        if not self._uniforms:
            self._uniforms = self._rng.random(_BLOCK).tolist()
            self._uniforms.reverse()  # pop() then hands them out in drawn order
        return self._uniforms.pop()

    def below(self, bound: int) -> int:
        """An integer in 0..bound-1 (bound >= 1), uniform to within 2**-53 * bound."""
        return int(self.uniform() * bound)

    def choice(self, items: Sequence[T]) -> T:
        """One of ``items`` (not empty)."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` different positions of ``items`` in random order (count <= len(items))."""
        pool = list(items)
        for i in range(count):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:count]
