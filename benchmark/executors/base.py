"""What executors have in common: the interface and the queue of cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain

import numpy as np

from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.evaluation.callbacks import Callback, CallbackList

Save = Callable[[Record, Mapping[str, np.ndarray]], None]


class Executor(ABC):
    """Runs cells."""

    def run(
        self, cells: Sequence[Cell], save: Save, *, progress: Callback | None = None
    ) -> list[Record]:
        """Runs all cells, whatever becomes of each.

        Args:
            cells: neighbours share data and streams (see ``Grid.cells``).
            save: called in this process with each record and its numbers per query as soon as the
                cell has ended; without a result it has the cell's ``unfinished_key``.
            progress: told in this process; ``cell_done`` after ``save``.

        Returns:
            One record per cell, in the order of ``cells``.

        Raises:
            KeyboardInterrupt: after the cells under way were saved as interrupted.
            ConfigError: the executor cannot start, and why.
        """
        queue = WorkQueue(cells, save, progress or CallbackList())
        self.work(queue)
        return [queue.records[index] for index in range(len(cells))]

    @abstractmethod
    def work(self, queue: WorkQueue) -> None:
        """Runs the cells of a queue until all have ended."""


class WorkQueue:
    """The cells of one run, handed out one by one; keeps and saves what came of them.

    Args:
        cells: neighbours share data and streams.
        save: called with each record and its numbers per query.
        progress: told of each cell's end, after ``save``.

    Attributes:
        streams: what each cell shares with its neighbours in a worker's caches.
        records: of the cells that have ended, by index.
    """

    def __init__(self, cells: Sequence[Cell], save: Save, progress: Callback) -> None:
        self.cells, self.progress, self._save = cells, progress, save
        self.streams = [stream_of(cell) for cell in cells]
        self.records: dict[int, Record] = {}
        self._waiting = list(range(len(cells)))

    def __len__(self) -> int:
        """How many cells are neither ended nor handed out."""
        return len(self._waiting)

    @property
    def ended(self) -> bool:
        """Whether there is a record of every cell."""
        return len(self.records) == len(self.cells)

    def take(self, own: Hashable, busy: frozenset[Hashable]) -> int | None:
        """Index of a cell to run now, or None where nothing is left.

        Args:
            own: the stream that the asking worker's caches hold; preferred.
            busy: streams that other workers hold; avoided where there is a choice.
        """
        mine = (index for index in self._waiting if self.streams[index] == own)
        free = (index for index in self._waiting if self.streams[index] not in busy)
        index = next(chain(mine, free, self._waiting), None)
        if index is not None:
            self._waiting.remove(index)
        return index

    def put_back(self, index: int) -> None:
        """Puts a cell that was lost without its fault at the head of the queue."""
        self._waiting.insert(0, index)

    def finish(self, index: int, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        """Saves what came of a cell, then tells of it."""
        self._save(record, arrays)
        self.records[index] = record
        self.progress.cell_done(record)

    def fail(self, index: int, status: Status, reason: str) -> None:
        """Saves a cell that ended without a result."""
        self.finish(index, unfinished(self.cells[index], "", status, reason), {})

    def interrupt(self, index: int) -> None:
        """Saves a cell that the user stopped."""
        cell = self.cells[index]
        self._save(unfinished(cell, "", Status.INTERRUPTED, "stopped by the user"), {})


def stream_of(cell: Cell) -> Hashable:
    """What neighbouring cells share in a worker's caches."""
    return cell.benchmark, cell.backbone, cell.stream.kind, cell.shift.label, cell.seed
