"""A moving mean of predictions, one for each gallery."""

from __future__ import annotations

from torch import Tensor

MOMENTUM = 0.9
"""Weight of the past in EATA's and ROID's official code."""


class PredictionMeans:
    """(N,) moving means by gallery, because predictions over one mean nothing over another."""

    def __init__(self) -> None:
        self._means: dict[tuple[int, int], Tensor] = {}

    def get(self, gallery: Tensor, default: Tensor) -> Tensor:
        """The mean over this gallery, or the default where there is none yet."""
        return self._means.get(_key(gallery), default)

    def set(self, gallery: Tensor, value: Tensor) -> None:
        """Keeps a mean over this gallery."""
        self._means[_key(gallery)] = value


def _key(gallery: Tensor) -> tuple[int, int]:
    return gallery.data_ptr(), len(gallery)
