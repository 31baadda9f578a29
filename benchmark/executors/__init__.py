"""Executors: serial, processes, Ray, Slurm. The records are the same whoever runs the cells.

``identify`` says which cells are done, ``run_cells`` hands the others to an ``Executor``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any

import numpy as np
import torch

from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.config.run import AUTO_WORKERS, BenchConfig
from benchmark.errors import ConfigError, DataError, QueryShiftError, amount, reason_of
from benchmark.evaluation.callbacks import Callback, CallbackList
from benchmark.evaluation.environment import available_bytes, gpus_to_share, usable_cores
from benchmark.evaluation.fingerprints import Fingerprints
from benchmark.evaluation.plugins import warn_of_changed_code
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.evaluation.workers import keep_freed_memory
from benchmark.store.run_store import RunStore, as_filed

LOCAL = "local"
"""Address that stands for a Ray cluster on this machine, started for the run and ended with it."""

WORKER_BYTES = 2 << 30
"""Memory that a worker is counted with: interpreter, libraries, an encoder of ViT-B size with its
gradients at 64 queries, a gallery and the cache of preprocessed queries."""

REFUSALS = (QueryShiftError, SystemExit, GeneratorExit, CancelledError)
"""What loading data or weights raises; a loader's wish to end a process is not the user's."""

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

    def __len__(self) -> int:
        """How many cells are neither ended nor handed out."""
        return sum(map(len, self._waiting.values()))

    def take(self, own: Hashable, busy: frozenset[Hashable]) -> int:
        """Index of a cell to run now; there is one (``len``).

        Args:
            own: the stream that the asking worker's caches hold; preferred.
            busy: streams that other workers hold; avoided where there is a choice.
        """
        free = (stream for stream in self._waiting if stream not in busy)
        stream = own if own in self._waiting else next(chain(free, self._waiting))
        index = self._waiting[stream].popleft()
        if not self._waiting[stream]:
            del self._waiting[stream]
        return index

    def put_back(self, index: int) -> None:
        """Puts a cell that was lost without its fault at the head of the queue."""
        cells = self._waiting.pop(stream := self.streams[index], deque[int]())
        cells.appendleft(index)
        self._waiting = {stream: cells, **self._waiting}

    def finish(self, index: int, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        """Saves what came of a cell, then tells of it."""
        self._save(record, arrays)
        self.records[index] = record
        self.progress.cell_done(record)

    def fail(self, index: int, status: Status, reason: str) -> None:
        self.finish(index, unfinished(self.cells[index], "", status, reason), {})

    def interrupt(self, index: int) -> None:
        self._save(unfinished(self.cells[index], "", Status.INTERRUPTED, "stopped by the user"), {})


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
    failed, loaded = dict[str, Record](), set[str]()
    problem: QueryShiftError | None = None
    for index, cell in enumerate(cells):
        if keys[index] in finished:
            continue
        try:
            keys[index] = resources.key(cell)
        except REFUSALS as error:
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
        done = {key: cell for key, cell in both if key in found.finished}
        store.drop_unfinished(done)
        warn_of_changed_code((cell, found.finished[key]) for key, cell in done.items())
    missing = {key: cell for key, cell in both if key not in records}
    keys = {cell.unfinished_key: key for key, cell in missing.items()}

    def save(record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        # A cell without a result is not to replace the result that is there under its real key.
        store.save(replace(record, key=keys.get(record.key, record.key)), arrays)

    ran = executor.run(list(missing.values()), save, progress=progress) if missing else []
    records |= {key: as_filed(record) for key, record in zip(missing, ran, strict=True)}
    return [records[key] for key in found.keys]


def part_of(cells: Sequence[Cell], config: BenchConfig) -> list[Cell]:
    """The cells that a run is to look after: all, or its shard, of about the same number as others.

    Cells of one stream (all methods under one shift and seed) stay together as long as there are
    enough of them, and those of one benchmark lie side by side: each part loads few data sets and
    has the source model beside its methods. The parts depend on which cells there are, not on
    their order, nor on where data lie or on which device is used.

    Args:
        cells: without duplicates.

    Raises:
        ConfigError: there are more shards than cells.
    """
    if config.shard is None:
        return list(cells)
    index, count = config.shard.index, config.shard.count
    if count > len(cells):
        raise ConfigError(
            f"--shard {config.shard} of {amount(len(cells), 'cell')}: ask for at most so many parts"
        )

    def stream(cell: Cell) -> str:  # as a text to sort by
        return str(stream_of(replace(cell, backbone=replace(cell.backbone, device=""))))

    ordered = sorted(cells, key=lambda cell: (stream(cell), cell.unfinished_key))
    streams = [list(members) for _, members in groupby(ordered, key=stream)]
    units = streams if len(streams) >= count else [[cell] for cell in ordered]
    begin, end = ((index - 1) * len(units) // count, index * len(units) // count)
    return list(chain.from_iterable(units[begin:end]))


def check_settings(config: BenchConfig) -> None:
    """Refuses settings that contradict each other, before anything is loaded.

    Raises:
        ConfigError: says which.
    """
    executor, device = config.executor, config.device
    processes = "say --executor processes"
    contradictions = {
        f"--executor serial runs one cell at a time; leave --workers out, or {processes}": (
            executor == "serial" and config.workers not in (None, 1)
        ),
        f"--executor serial cannot stop a cell; leave --time-limit out, or {processes}": (
            executor == "serial" and config.time_limit is not None
        ),
        f"--address {config.address} names a Ray cluster; say --executor ray as well, or leave it "
        "out": config.address != LOCAL and executor != "ray",
        "--slurm is for --executor slurm; say that as well, or leave it out": (
            config.slurm and executor != "slurm"
        ),
        f"--device {device} names one GPU of this machine; on a cluster say cuda, and each worker "
        "gets its own": ":" in device and executor in ("ray", "slurm"),
    }
    for message, found in contradictions.items():
        if found:
            raise ConfigError(message)


def make_executor(
    config: BenchConfig, found: Identified, resources: Resources, factory: Callable[[], Resources]
) -> Executor:
    """The executor of a run.

    A time limit needs a worker that can be stopped: with one, cells that would run in this
    process run in one worker process.

    Args:
        config: what the user asked for.
        factory: makes a worker's resources.
    """
    device = next((cell.backbone.device for cell in found.cells), "cpu")
    if config.executor in ("ray", "slurm"):
        on_gpu = device.startswith("cuda")
        shared: dict[str, Any] = {
            "workers": None if config.workers == AUTO_WORKERS else config.workers,
            "threads": config.threads or 1,
            "time_limit": config.time_limit,
        }
        if config.executor == "ray":
            from benchmark.executors.ray import RayExecutor

            return RayExecutor(factory, address=config.address, gpus=float(on_gpu), **shared)
        from benchmark.executors.slurm import SlurmExecutor

        gpu = {"gpus_per_node": 1} if on_gpu and "gres" not in config.slurm else {}
        jobs = found.store.path / "jobs"
        return SlurmExecutor(factory, folder=jobs, options=gpu | config.slurm, **shared)
    workers, threads = pool_size(config, found.waiting, device)
    if config.executor == "processes" or config.time_limit is not None or workers > 1:
        from benchmark.executors.processes import ProcessExecutor

        return ProcessExecutor(
            factory,
            workers=workers,
            threads=threads,
            devices=gpus_to_share(device),
            time_limit=config.time_limit,
        )
    if config.threads:
        torch.set_num_threads(config.threads)
    keep_freed_memory()  # workers get it by variables when they start
    return SerialExecutor(resources)


def pool_size(config: BenchConfig, waiting: int, device: str = "cpu") -> tuple[int, int]:
    """Numbers of workers on this machine and of torch threads of each.

    Small encoders gain little from several threads, so cores become workers first: one per core
    as far as memory reaches, or one per GPU where cells run on GPUs.

    Args:
        config: the user's choice of both.
        waiting: how many cells there are to run; there are not more workers.
        device: torch device string that the cells name.
    """
    workers, threads, cores = config.workers, config.threads, usable_cores()
    if workers is None:
        workers = AUTO_WORKERS if config.executor in ("processes", "ray", "slurm") else 1
    if workers == AUTO_WORKERS:
        gpus = len(gpus_to_share(device))
        on_one_device = 1 if device.startswith("cuda") else cores // (threads or 1)
        memory = available_bytes()
        room = on_one_device if memory is None else min(on_one_device, memory // WORKER_BYTES)
        workers = gpus or room
    workers = max(1, min(workers, waiting))
    return workers, threads or max(1, cores // workers)
