"""What executors have in common: the interface and the queue of cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain

import numpy as np

from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.evaluation.callbacks import Callback, CallbackList
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell

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
        # By stream, so that taking a cell does not look at all others.
        self._waiting: dict[Hashable, deque[int]] = {}
        for index, stream in enumerate(self.streams):
            self._waiting.setdefault(stream, deque()).append(index)
        self._count = len(cells)

    def __len__(self) -> int:
        """How many cells are neither ended nor handed out."""
        return self._count

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
        if not self._waiting:
            return None
        free = (stream for stream in self._waiting if stream not in busy)
        stream = own if own in self._waiting else next(chain(free, self._waiting))
        index = self._waiting[stream].popleft()
        if not self._waiting[stream]:
            del self._waiting[stream]
        self._count -= 1
        return index

    def put_back(self, index: int) -> None:
        """Puts a cell that was lost without its fault at the head of the queue."""
        stream = self.streams[index]
        cells = self._waiting.pop(stream, deque[int]())
        cells.appendleft(index)
        self._waiting = {stream: cells, **self._waiting}
        self._count += 1

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


class SerialExecutor(Executor):
    """Runs cells in this process, with its torch settings as they are.

    A cell that hangs cannot be stopped from within: for a time limit use ``ProcessExecutor`` with
    one worker.

    Args:
        resources: kept from cell to cell.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    def work(self, queue: WorkQueue) -> None:
        for index, cell in enumerate(queue.cells):
            try:
                record, arrays = run_cell(cell, self.resources, progress=queue.progress)
            except KeyboardInterrupt:
                queue.interrupt(index)
                raise
            queue.finish(index, record, arrays)
