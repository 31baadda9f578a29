"""What a method keeps for each gallery: predictions over one mean nothing over another."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class PerGallery(Generic[T]):
    """Values by gallery.

    It holds on to the galleries: another one could otherwise come to lie at the address of one
    that is gone, and be taken for it.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], tuple[Tensor, T]] = {}

    def get(self, gallery: Tensor) -> T | None:
        """The value for this gallery, None where there is none yet."""
        found = self._kept.get(_key(gallery))
        return None if found is None else found[1]

    def set(self, gallery: Tensor, value: T) -> None:
        """Keeps a value for this gallery."""
        self._kept[_key(gallery)] = gallery, value


def _key(gallery: Tensor) -> tuple[int, int]:
    return gallery.data_ptr(), len(gallery)
