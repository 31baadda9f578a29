"""Cells spread over worker processes, each with its own data, weights and torch threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch

from benchmark.cell import Cell, Record, Status
from benchmark.environment import usable_cores
from benchmark.progress import Progress, Silent
from benchmark.resources import Resources
from benchmark.runner import run_cell, unfinished

_ALLOCATOR = {
    # glibc gives large blocks back to the system after every step and faults them in again at the
    # next; keeping them made a training step of a small encoder about a third faster. Read once,
    # when a process starts, so only children can be given it.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
}

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class ProcessExecutor:
    """Runs cells in freshly started ("spawn") worker processes.

    A worker that dies (out of memory, a crash in native code) marks its cell as failed; another
    takes its place. Ranks do not depend on who runs a cell, as long as the number of torch
    threads, which decides the order of floating-point sums, is the same.

    Args:
        factory: makes a worker's resources; a module-level function, since workers import it.
        workers: number of processes; by default one per usable core.
        threads: torch threads of each worker.
    """

    def __init__(
        self,
        factory: Callable[[], Resources],
        *,
        workers: int | None = None,
        threads: int = 1,
    ) -> None:
        if (workers is not None and workers < 1) or threads < 1:
            raise ValueError("workers and threads must be at least 1")
        self.factory = factory
        self.workers = workers
        self.threads = threads

    def run(
        self,
        cells: Sequence[Cell],
        save: Callable[[Record, Mapping[str, np.ndarray]], None],
        *,
        progress: Progress | None = None,
    ) -> list[Record]:
        """See ``Executor.run``."""
        crew = _Crew(self, cells, save, progress or Silent())
        try:
            return crew.work(min(self.workers or usable_cores(), len(cells)))
        except KeyboardInterrupt:
            crew.interrupted()
            raise
        finally:
            crew.dismiss()


@dataclass
class _Worker:
    """A child process and what it is doing."""

    process: BaseProcess
    connection: Connection
    cell: int | None = None  # index of the cell under way
    key: str = ""  # its key, once the worker has told
    stream: tuple[Any, ...] | None = None  # what its caches hold


class _Crew:
    """The workers of one run."""

    def __init__(
        self,
        settings: ProcessExecutor,
        cells: Sequence[Cell],
        save: Callable[[Record, Mapping[str, np.ndarray]], None],
        progress: Progress,
    ) -> None:
        self.settings, self.cells, self.save, self.progress = settings, cells, save, progress
        self.pending = list(range(len(cells)))
        self.records: dict[int, Record] = {}
        self.workers: list[_Worker] = []

    def work(self, count: int) -> list[Record]:
        for _ in range(count):
            self._assign(self._hire())
        while any(worker.cell is not None for worker in self.workers):
            by_connection = {worker.connection: worker for worker in self.workers}
            for ready in wait(list(by_connection)):
                assert isinstance(ready, Connection)
                self._listen(by_connection[ready])
        return [self.records[index] for index in range(len(self.cells))]

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_worker, args=(theirs, self.settings.factory, self.settings.threads), daemon=True
        )
        with _child_environment(self.settings.threads):
            process.start()
        theirs.close()  # so that the worker's death closes the pipe
        worker = _Worker(process, ours)
        self.workers.append(worker)
        return worker

    def _assign(self, worker: _Worker) -> None:
        """Gives the worker its next cell, if there is one."""
        if not self.pending:
            return
        index = self._next_for(worker)
        self.pending.remove(index)
        worker.cell, worker.key, worker.stream = index, "", _stream(self.cells[index])
        try:
            worker.connection.send(self.cells[index])
        except OSError:
            self._bury(worker)

    def _next_for(self, worker: _Worker) -> int:
        """A cell of the worker's own stream, else of one that nobody works on, else the first."""
        taken = {other.stream for other in self.workers if other.cell is not None}
        streams = {index: _stream(self.cells[index]) for index in self.pending}
        own = (index for index in self.pending if streams[index] == worker.stream)
        free = (index for index in self.pending if streams[index] not in taken)
        return next(own, next(free, self.pending[0]))

    def _listen(self, worker: _Worker) -> None:
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if worker.cell is None:
            return
        cell = self.cells[worker.cell]
        if kind == "key":
            worker.key = content[0]
        elif kind == "started":
            self.progress.cell_started(cell, content[0])
        elif kind == "batch":
            self.progress.batch_done(cell, content[0])
        else:
            self._finish(worker, *content)
            self._assign(worker)

    def _bury(self, worker: _Worker) -> None:
        """A worker has died: its cell has failed, and another worker goes on with the rest."""
        self.workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        if worker.cell is None:
            return
        reason = f"WorkerDied: the worker process ended with {_ending(worker.process.exitcode)}"
        self._finish(
            worker, unfinished(self.cells[worker.cell], worker.key, Status.FAILED, reason), {}
        )
        if self.pending:
            self._assign(self._hire())

    def _finish(self, worker: _Worker, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        assert worker.cell is not None
        index, worker.cell = worker.cell, None
        self.save(record, arrays)
        self.records[index] = record
        self.progress.cell_done(record)

    def interrupted(self) -> None:
        """Saves the cells under way as interrupted."""
        for worker in self.workers:
            if worker.cell is not None:
                cell, worker.cell = self.cells[worker.cell], None
                self.save(
                    unfinished(cell, worker.key, Status.INTERRUPTED, "stopped by the user"), {}
                )

    def dismiss(self) -> None:
        """Ends all workers, whatever they are doing; nothing of theirs is on disk half-written."""
        for worker in self.workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()
        self.workers.clear()


def _stream(cell: Cell) -> tuple[Any, ...]:
    """What neighbouring cells share in a worker's caches."""
    return cell.benchmark, cell.backbone, cell.stream.kind, cell.shift.label, cell.seed


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; out of memory?" if name == "SIGKILL" else ""
        return f"signal {name}{hint}"
    return f"exit code {code}"


@contextmanager
def _child_environment(threads: int) -> Iterator[None]:
    """Environment variables that children must find when they start; the user's own win."""
    wanted = {name: os.environ.get(name, value) for name, value in _ALLOCATOR.items()}
    wanted |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Relay:
    """Progress that is told through the pipe; the end of a cell is told with its record."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cell_started(self, cell: Cell, batches: int) -> None:
        self._connection.send(("started", batches))

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        self._connection.send(("batch", dict(batch_log)))

    def cell_done(self, record: Record) -> None:
        return None


def _worker(connection: Connection, factory: Callable[[], Resources], threads: int) -> None:
    """Runs cells as they come through the pipe, until it closes."""
    # Ctrl-C reaches the whole process group; the parent decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    resources, problem = None, ""
    try:
        resources = factory()
    except Exception as error:  # reported with every cell that comes; dying would only respawn
        problem = f"{type(error).__name__}: {error}"
    try:
        while True:
            cell = connection.recv()
            if resources is None:
                connection.send(("done", unfinished(cell, "", Status.FAILED, problem), {}))
                continue
            _tell_key(connection, cell, resources)
            record, arrays = run_cell(cell, resources, progress=_Relay(connection))
            connection.send(("done", record, arrays))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is done with us, or gone


def _tell_key(connection: Connection, cell: Cell, resources: Resources) -> None:
    """Tells the parent the cell's key early: a dead worker cannot."""
    try:
        key = resources.key(cell)
    except Exception:  # run_cell meets the same error and turns it into the cell's record
        return
    connection.send(("key", key))
