"""What one process keeps in memory for the next cell: bounded, never needed for a right result."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class InputCache:
    """Preprocessed queries, one shelf per stream, bounded in bytes.

    A cell reads two shelves (its stream, its clean queries), and neighbouring cells share them.
    Shelves beyond the two last opened are dropped, so that memory does not grow with the number of
    cells. The two are never evicted for each other: when they do not fit together, what is beyond
    the bound is simply not kept.
    """

    IN_USE = 2
    """Shelves that are kept."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0
        self._shelves: OrderedDict[Hashable, dict[int, Tensor]] = OrderedDict()

    def open(self, shelf: Hashable) -> None:
        """Marks a shelf as one in use, creating it where it does not exist."""
        self._shelves.setdefault(shelf, {})
        self._shelves.move_to_end(shelf)
        while len(self._shelves) > self.IN_USE:
            _, dropped = self._shelves.popitem(last=False)
            self.used -= sum(tensor.nbytes for tensor in dropped.values())

    def get(self, shelf: Hashable, index: int) -> Tensor | None:
        """The stored input, or None."""
        return self._shelves.get(shelf, {}).get(index)

    def put(self, shelf: Hashable, index: int, value: Tensor) -> None:
        """Stores an input of an open shelf if it fits."""
        size = value.nbytes
        if shelf in self._shelves and self.used + size <= self.max_bytes:
            self._shelves[shelf][index] = value
            self.used += size


class Recent(Generic[T]):
    """The last few values by key.

    Args:
        limit: how many.
        dropped: called with a value that has to go, where it must be closed.
    """

    def __init__(self, limit: int, dropped: Callable[[T], None] | None = None) -> None:
        self._limit = limit
        self._dropped = dropped
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key; made, and the least recent one let go, where there is none."""
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        while len(self._values) > self._limit:
            _, value = self._values.popitem(last=False)
            if self._dropped is not None:
                self._dropped(value)
        return self._values[key]

    def peek(self, key: Hashable) -> T | None:
        """The value of a key, or None."""
        return self._values.get(key)

    def clear(self) -> None:
        """Lets all values go."""
        while self._values:
            _, value = self._values.popitem()
            if self._dropped is not None:
                self._dropped(value)

    def drop(self, key: Hashable) -> None:
        """Lets a value go."""
        self._values.pop(key, None)
