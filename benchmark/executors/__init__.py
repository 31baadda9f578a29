"""Executors: serial, processes, Ray, Slurm. The records are the same whoever runs the cells.

``identify`` says which cells are done, ``run_cells`` hands the others to an ``Executor``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.errors import DataError, QueryShiftError, reason_of
from benchmark.evaluation.callbacks import Callback, CallbackList
from benchmark.evaluation.fingerprints import Fingerprints
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.store.run_store import RunStore, as_filed

Save = Callable[[Record, Mapping[str, np.ndarray]], None]


class Executor(ABC):
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
        self.finish(index, unfinished(self.cells[index], "", status, reason), {})

    def interrupt(self, index: int) -> None:
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


@dataclass(frozen=True)
class Identified:
    """Cells with their keys, and what is known of them already.

    Attributes:
        cells: what is to be run.
        store: where results are kept.
        keys: one per cell, in their order.
        finished: the stored results that need not be computed again, by key.
        failed: the records of cells whose data or weights cannot be loaded, by key.
    """

    cells: Sequence[Cell]
    store: RunStore
    keys: list[str]
    finished: dict[str, Record]
    failed: dict[str, Record]

    @property
    def waiting(self) -> int:
        """How many cells there are to run."""
        return len(set(self.keys) - set(self.finished) - set(self.failed))

    @property
    def reused(self) -> int:
        """How many of the cells were finished before."""
        return sum(key in self.finished for key in self.keys)


def identify(
    cells: Sequence[Cell], store: RunStore, resources: Resources, *, again: bool = False
) -> Identified:
    """The keys of all cells, and which of them need not be run.

    Data and weights are loaded for their fingerprints, but for cells that are done and whose
    fingerprints the run's folder holds (see ``Fingerprints``).

    Args:
        cells: what is to be run.
        store: where results are kept; checked for writing.
        resources: loads data and weights.
        again: finished cells are to be run again.

    Raises:
        QueryShiftError: results that cannot be written; data or weights that cannot be loaded for
            any of the cells.
    """
    memo = Fingerprints(store.path / "fingerprints")
    keys = [memo.key(cell, resources) for cell in cells]
    finished = {} if again else store.finished(set(keys))
    failed: dict[str, Record] = {}
    problem: QueryShiftError | None = None
    loaded: set[str] = set()
    for index, cell in enumerate(cells):
        if keys[index] in finished:
            continue
        try:
            keys[index] = resources.key(cell)
        # A loader may raise what ends a process, which is not the user's wish.
        except (QueryShiftError, SystemExit, GeneratorExit, CancelledError) as error:
            problem = error if isinstance(error, QueryShiftError) else DataError(reason_of(error))
            record = unfinished(cell, "", Status.FAILED, reason_of(error))
            keys[index], failed[record.key] = record.key, record
            continue
        if not loaded:  # nothing is written before it is known that something can be run
            store.check_writable()
        loaded.add(keys[index])
        memo.remember(cell, resources)
    if problem is not None and len(failed) == len(set(keys)):
        raise problem
    if not again:
        finished |= store.finished(loaded)
    return Identified(cells, store, keys, finished, failed)


def run_cells(
    found: Identified, executor: Executor, *, progress: Callback | None = None
) -> list[Record]:
    """Runs the cells that the store has no finished result of, and stores them as they end.

    Args:
        found: the cells, and what is known of them.
        executor: who runs them.
        progress: told of the cells that are run.

    Returns:
        One record per cell, in their order, reused ones included.

    Raises:
        QueryShiftError: results that cannot be written.
    """
    store = found.store
    for record in found.failed.values():
        store.save(record)
    records = {**found.finished, **found.failed}
    both = list(zip(found.keys, found.cells, strict=True))
    if found.finished:
        store.drop_unfinished({key: cell for key, cell in both if key in found.finished})
    missing = {key: cell for key, cell in both if key not in records}
    keys = {cell.unfinished_key: key for key, cell in missing.items()}

    def save(record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        # A cell without a result is not to replace the result that is there under its real key.
        store.save(replace(record, key=keys.get(record.key, record.key)), arrays)

    ran = executor.run(list(missing.values()), save, progress=progress) if missing else []
    records |= {key: as_filed(record) for key, record in zip(missing, ran, strict=True)}
    return [records[key] for key in found.keys]
