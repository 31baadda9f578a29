"""Caches of tensors: LRUCache in memory, EmbeddingCache on disk, StreamCache on either."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np
from torch import Tensor

from benchmark.evaluation.cache.disk import DiskCache
from benchmark.evaluation.cache.entry import CacheKey, Entry

T = TypeVar("T")


class LRUCache(Generic[T]):
    """The least recently used values by key: the last few are kept.

    Args:
        limit: how many.
        dropped: called with a value that has to go, where it must be closed.
    """

    def __init__(self, limit: int, dropped: Callable[[T], object] = lambda value: None) -> None:
        self._limit = limit
        self._dropped = dropped
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key; made, and the least recent one let go, where there is none."""
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        while len(self._values) > self._limit:
            self.drop(next(iter(self._values)))
        return self._values[key]

    def peek(self, key: Hashable) -> T | None:
        """The value of a key, or None."""
        return self._values.get(key)

    def values(self) -> Iterable[T]:
        """All values."""
        return self._values.values()

    def drop(self, key: Hashable) -> None:
        """Lets a value go, if there is one."""
        if key in self._values:
            self._dropped(self._values.pop(key))

    def clear(self) -> None:
        """Lets all values go."""
        while self._values:
            self.drop(next(iter(self._values)))


class EmbeddingCache:
    """Embeddings that are stored and read as a whole; without a disk nothing is kept.

    Attributes:
        disk: where, or None.
    """

    def __init__(self, disk: DiskCache | None) -> None:
        self.disk = disk

    def find(self, key: CacheKey | None) -> Tensor | None:
        """The rows, on the CPU, or None."""
        entry = None if self.disk is None or key is None else self.disk.open(key)
        return None if entry is None else entry.rows()

    def put(self, key: CacheKey | None, rows: Tensor) -> None:
        """Stores rows where that is possible."""
        if self.disk is not None and key is not None:
            self.disk.put(key, rows.cpu())

    def get(self, key: CacheKey | None, make: Callable[[], Tensor]) -> Tensor:
        """The rows, made and stored where they are not there."""
        found = self.find(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found


class StreamCache:
    """Preprocessed queries of one stream, by index of the query.

    With a disk cache the first pass over the stream writes an entry, row by row as the queries are
    made, and all later passes, in this process or another, read it. Where the rows differ in shape
    or type, or the disk does not take them, memory serves instead.

    Args:
        queries: ascending indices of the queries that the stream holds; rows are in this order.
        room: bytes that may still be kept in memory.
        disk: None for memory alone.
        key: where the entry lies; None for memory alone.

    Attributes:
        nbytes: kept in memory.
    """

    def __init__(
        self,
        queries: np.ndarray,
        room: Callable[[], int],
        disk: DiskCache | None = None,
        key: CacheKey | None = None,
    ) -> None:
        self.nbytes = 0
        self._room, self._disk, self._key = room, disk, key
        self._memory: dict[int, Tensor] = {}
        self._row: dict[int, int] = {}
        self._entry: Entry | None = None
        if disk is not None and key is not None:
            self._row = {int(query): row for row, query in enumerate(queries)}
            found = disk.open(key)
            self._entry = found if found is not None and found.shape[0] == len(queries) else None

    def has(self, index: int) -> bool:
        """Whether an input is stored."""
        row = self._row.get(index)
        on_disk = self._entry is not None and row is not None and self._entry.has(row)
        return on_disk or index in self._memory

    def get(self, index: int) -> Tensor | None:
        """A stored input, in memory of its own or not to be written to; or None."""
        entry, row = self._entry, self._row.get(index)
        found = None if entry is None or row is None else entry.row(row)
        return self._memory.get(index) if found is None else found

    def put(self, index: int, value: Tensor) -> None:
        """Keeps an input where that is possible."""
        if not self._write(index, value) and value.nbytes <= self._room():
            self._memory[index] = value
            self.nbytes += value.nbytes

    def close(self) -> None:
        """Lets go of everything; what was never finished is removed from the disk."""
        self._leave_disk()
        self._memory.clear()
        self.nbytes, self._room = 0, lambda: 0

    def _write(self, index: int, value: Tensor) -> bool:
        row = self._row.get(index)
        if self._disk is None or self._key is None or row is None:
            return False
        if self._entry is None:
            self._entry = self._disk.record(self._key, len(self._row), value)
        entry = self._entry
        if entry is not None and entry.fits(value) and self._disk.write(entry, row, value):
            return True
        self._leave_disk()
        return False

    def _leave_disk(self) -> None:
        if self._entry is not None:
            self._entry.discard()
        self._entry = self._disk = None
