"""Work queue of a run: cells that wait, and the records of those that have ended."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.evaluation.callbacks import Callback, CallbackList

Save = Callable[[Record, Mapping[str, np.ndarray]], None]


class WorkQueue:
    """The cells of one run, handed out one by one; keeps and saves what came of them.

    Args:
        cells: neighbours share data and streams.
        save: called with each record and its numbers per query.
        progress: told of each cell's end, after ``save``.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        save: Save,
        *,
        progress: Callback | None = None,
    ) -> None:
        self.cells = cells
        self.progress: Callback = progress or CallbackList()
        self._save = save
        self._streams = [stream_of(cell) for cell in cells]
        self._again: list[int] = []  # ours already, to be run once more
        self._pending = list(range(len(cells)))
        self._records: dict[int, Record] = {}

    def __len__(self) -> int:
        """How many cells are neither ended nor handed out."""
        return len(self._again) + len(self._pending)

    @property
    def ended(self) -> bool:
        """Whether there is a record of every cell."""
        return len(self._records) == len(self.cells)

    @property
    def results(self) -> list[Record]:
        """One record per cell, in their order; once ``ended``."""
        return [self._records[index] for index in range(len(self.cells))]

    def stream(self, index: int) -> Hashable:
        """What a cell shares with its neighbours in a worker's caches."""
        return self._streams[index]

    def take(self, own: Hashable = None, busy: frozenset[Hashable] = frozenset()) -> int | None:
        """Index of a cell to run now, or None where nothing is left.

        Args:
            own: the stream that the asking worker's caches hold; preferred.
            busy: streams that other workers hold; avoided where there is a choice.
        """
        if self._again:
            return self._again.pop(0)
        if not self._pending:
            return None
        index = self._choose(own, busy)
        self._pending.remove(index)
        return index

    def _choose(self, own: Hashable, busy: frozenset[Hashable]) -> int:
        """The first of the worker's own stream, else of one that nobody works on, else at all."""
        mine = (i for i in self._pending if own is not None and self._streams[i] == own)
        free = (i for i in self._pending if self._streams[i] not in busy)
        return next(mine, next(free, self._pending[0]))

    def put_back(self, index: int) -> None:
        """A cell that was handed out and lost without its fault: it comes next."""
        self._again.append(index)

    def finish(self, index: int, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        """Saves what came of a cell, then tells of it."""
        self._save(record, arrays)
        self._records[index] = record
        self.progress.cell_done(record)

    def fail(self, index: int, key: str, status: Status, reason: str) -> None:
        """Saves a cell that ended without a result."""
        self.finish(index, unfinished(self.cells[index], key, status, reason), {})

    def interrupt(self, index: int, key: str) -> None:
        """Saves a cell that the user stopped."""
        cell = self.cells[index]
        self._save(unfinished(cell, key, Status.INTERRUPTED, "stopped by the user"), {})


def stream_of(cell: Cell) -> Hashable:
    """What neighbouring cells share in a worker's caches."""
    return cell.benchmark, cell.backbone, cell.stream.kind, cell.shift.label, cell.seed
