"""Inputs of a stream and tables of embeddings: on disk where that works, else in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.evaluation.cache.disk import DiskCache
from benchmark.evaluation.cache.entry import Entry, Recording
from benchmark.evaluation.cache.memory import InputCache

KIND = "queries"


@dataclass(frozen=True)
class Address:
    """Where something lies in the disk cache.

    Attributes:
        key: content address.
        about: what it is, for people.
    """

    key: str
    about: Mapping[str, Any] = field(default_factory=dict)


class Tables:
    """Embeddings that are stored and read as a whole; without a disk nothing is kept.

    Attributes:
        disk: where, or None.
    """

    def __init__(self, disk: DiskCache | None) -> None:
        self.disk = disk

    def find(self, kind: str, address: Address | None) -> Tensor | None:
        """The rows, on the CPU, or None."""
        if self.disk is None or address is None:
            return None
        entry = self.disk.open(kind, address.key)
        return None if entry is None else entry.rows()

    def put(self, kind: str, address: Address | None, rows: Tensor) -> None:
        """Stores rows where that is possible."""
        if self.disk is not None and address is not None:
            self.disk.put(kind, address.key, rows.cpu(), address.about)

    def table(self, kind: str, address: Address | None, make: Callable[[], Tensor]) -> Tensor:
        """The rows, made and stored where they are not there."""
        found = self.find(kind, address)
        if found is None:
            found = make()
            self.put(kind, address, found)
        return found


class Shelf:
    """Preprocessed queries of one stream, by index of the query.

    With a disk cache the first pass over the stream writes an entry, row by row as the queries are
    made, and all later passes, in this process or another, read it. Where the rows differ in shape
    or type, or the disk does not take them, memory serves instead.

    Args:
        name: of the shelf in the memory cache.
        memory: shared by all shelves.
        queries: ascending indices of the queries that the stream holds; rows are in this order.
        disk: None for memory alone.
        address: where the entry lies; None for memory alone.
    """

    def __init__(
        self,
        name: Hashable,
        memory: InputCache,
        queries: np.ndarray,
        disk: DiskCache | None = None,
        address: Address | None = None,
    ) -> None:
        self._name, self._memory, self._disk, self._address = name, memory, disk, address
        self._row: dict[int, int] = {}
        self._entry: Entry | None = None
        self._recording: Recording | None = None
        self._on_disk = disk is not None and address is not None
        if disk is not None and address is not None:
            self._row = {int(query): row for row, query in enumerate(queries)}
            self._open(disk.open(KIND, address.key))

    def reopen(self) -> None:
        """Marks the shelf as in use."""
        self._memory.open(self._name)

    def get(self, index: int) -> Tensor | None:
        """A stored input, in memory of its own or not to be written to; or None."""
        row = self._row.get(index)
        if row is not None and self._entry is not None:
            return self._entry.row(row)
        if row is not None and self._recording is not None:
            return self._recording.read(row)
        return self._memory.get(self._name, index)

    def put(self, index: int, value: Tensor) -> None:
        """Keeps an input where that is possible."""
        row = self._row.get(index)
        if row is None or not self._record(row, value):
            self._memory.put(self._name, index, value)

    def rest(self) -> None:
        """Called when a batch has been read: lets go of what is only a view of the disk."""
        if self._entry is not None:
            self._entry.rest()

    def close(self) -> None:
        """Lets go of everything; what was never finished is removed from the disk."""
        self._stop_recording()
        self._entry = None

    def _record(self, row: int, value: Tensor) -> bool:
        if not self._on_disk or self._disk is None or self._address is None:
            return False
        if self._recording is None:
            address, count = self._address, len(self._row)
            self._recording = self._disk.record(KIND, address.key, count, value, address.about)
        recording = self._recording
        if recording is None or not recording.fits(value):
            self._stop_recording()
            return False
        try:
            recording.write(row, value)
        except OSError as error:
            self._disk.give_up(error)
            self._stop_recording()
            return False
        if recording.complete:
            self._recording = None
            self._open(self._disk.finish(recording))
            self._on_disk = self._entry is not None
        return True

    def _open(self, entry: Entry | None) -> None:
        """Takes an entry into use if it has a row for each query."""
        if entry is not None and entry.header.shape[0] == len(self._row):
            self._entry = entry

    def _stop_recording(self) -> None:
        self._on_disk = False
        if self._recording is not None:
            self._recording.discard()
            self._recording = None
