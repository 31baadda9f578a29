"""Cells spread over worker processes, each with its own data, weights and torch threads."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import numpy as np

from benchmark.cell import Cell, Record, Status
from benchmark.evaluation.callbacks import Progress
from benchmark.evaluation.environment import usable_cores
from benchmark.evaluation.resources import Resources
from benchmark.executors.todo import Todo
from benchmark.executors.worker import child_variables, environment_of_children, serve

_SECONDS_TO_DIE = 10.0
"""How long a killed worker is waited for: one that hangs in the kernel may never go."""


class ProcessExecutor:
    """Runs cells in freshly started ("spawn") worker processes.

    A worker that dies (out of memory, a crash in native code) marks its cell as failed, one that
    exceeds the time limit as timeout; another takes its place. Ranks do not depend on who runs a
    cell, as long as the number of torch threads, which decides the order of floating-point sums,
    is the same.

    Args:
        factory: makes a worker's resources; a module-level function, since workers import it.
        workers: number of processes; by default one per usable core.
        threads: torch threads of each worker.
        devices: values of CUDA_VISIBLE_DEVICES, given to the workers in turn, so that "cuda" is
            another GPU in each; empty to let all see the same.
        time_limit: seconds that a cell may take, loading of its data included.
    """

    def __init__(
        self,
        factory: Callable[[], Resources],
        *,
        workers: int | None = None,
        threads: int = 1,
        devices: Sequence[str] = (),
        time_limit: float | None = None,
    ) -> None:
        if (workers is not None and workers < 1) or threads < 1:
            raise ValueError("workers and threads must be at least 1")
        if time_limit is not None and not time_limit > 0:
            raise ValueError("the time limit must be more than 0 seconds")
        self.factory = factory
        self.workers = workers
        self.threads = threads
        self.devices = tuple(devices)
        self.time_limit = time_limit

    def run(
        self,
        cells: Sequence[Cell],
        save: Callable[[Record, Mapping[str, np.ndarray]], None],
        *,
        progress: Progress | None = None,
    ) -> list[Record]:
        """See ``Executor.run``."""
        crew = _Crew(self, Todo(cells, save, progress=progress))
        try:
            return crew.work()
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
    slot: int  # its place in the crew, which decides its GPU
    cell: int | None = None  # index of the cell under way
    key: str = ""  # its key, once the worker has told
    stream: Hashable = None  # what its caches hold
    deadline: float | None = None  # on time.monotonic, once the cell has begun


class _Crew:
    """The workers of one run."""

    def __init__(self, settings: ProcessExecutor, todo: Todo) -> None:
        self.settings, self.todo = settings, todo
        self.size = min(settings.workers or usable_cores(), len(todo.cells))
        self.workers: list[_Worker] = []

    def work(self) -> list[Record]:
        while not self.todo.ended:
            self._staff()
            by_connection = {worker.connection: worker for worker in self.workers}
            for ready in wait(list(by_connection), self._patience()):
                assert isinstance(ready, Connection)
                self._listen(by_connection[ready])
            self._stop_overdue()
        return self.todo.results

    def _staff(self) -> None:
        """Gives every idle worker its next cell, and fills empty places while there is work."""
        idle = [worker for worker in self.workers if worker.cell is None]
        while len(self.todo) and (idle or len(self.workers) < self.size):
            worker = idle.pop() if idle else None
            busy = frozenset(other.stream for other in self.workers if other.cell is not None)
            index = self.todo.take(worker.stream if worker else None, busy)
            if index is None:
                return
            self._give(worker or self._hire(), index)

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        slot = min(set(range(self.size)) - {worker.slot for worker in self.workers})
        settings = self.settings
        device = settings.devices[slot % len(settings.devices)] if settings.devices else ""
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, settings.factory, settings.threads), daemon=True
        )
        with environment_of_children(child_variables(settings.threads, device, self.size)):
            process.start()
        theirs.close()  # so that the worker's death closes the pipe
        worker = _Worker(process, ours, slot)
        self.workers.append(worker)
        return worker

    def _give(self, worker: _Worker, index: int) -> None:
        worker.cell, worker.key, worker.deadline = index, "", None
        worker.stream = self.todo.stream(index)
        try:
            worker.connection.send(self.todo.cells[index])
        except OSError:
            self._bury(worker)

    def _patience(self) -> float | None:
        """How many seconds there may be no news before something else is to be done."""
        now = time.monotonic()
        waits = [max(0.0, w.deadline - now) for w in self.workers if w.deadline is not None]
        return min(waits, default=None)

    def _listen(self, worker: _Worker) -> None:
        try:
            kind, *content = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if worker.cell is None:
            return
        cell = self.todo.cells[worker.cell]
        if kind == "begun":
            if self.settings.time_limit is not None:
                worker.deadline = time.monotonic() + self.settings.time_limit
        elif kind == "key":
            worker.key = content[0]
        elif kind == "started":
            self.todo.progress.cell_started(cell, content[0])
        elif kind == "batch":
            self.todo.progress.batch_done(cell, content[0])
        else:
            index, worker.cell, worker.deadline = worker.cell, None, None
            record, arrays, spoiled = content
            self.todo.finish(index, record, arrays)
            if spoiled:
                self._retire(worker)

    def _bury(self, worker: _Worker) -> None:
        """A worker has died: its cell has failed, and another takes its place."""
        worker.process.join(_SECONDS_TO_DIE)
        reason = f"WorkerDied: the worker process ended with {_ending(worker.process.exitcode)}"
        self._lay_off(worker, Status.FAILED, reason)

    def _stop_overdue(self) -> None:
        for worker in list(self.workers):
            if worker.deadline is None or time.monotonic() < worker.deadline:
                continue
            if worker.connection.poll():
                continue  # it has said something in time, perhaps that it is done
            limit = f"{self.settings.time_limit:g}"
            reason = f"TimeLimit: the cell took longer than {limit} s; its worker was stopped"
            self._lay_off(worker, Status.TIMEOUT, reason)

    def _retire(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.connection.close()
        worker.process.kill()
        worker.process.join(_SECONDS_TO_DIE)

    def _lay_off(self, worker: _Worker, status: Status, reason: str) -> None:
        self._retire(worker)
        if worker.cell is not None:
            self.todo.fail(worker.cell, worker.key, status, reason)

    def interrupted(self) -> None:
        """Saves the cells under way as interrupted."""
        for worker in self.workers:
            if worker.cell is not None:
                index, worker.cell = worker.cell, None
                self.todo.interrupt(index, worker.key)

    def dismiss(self) -> None:
        """Ends all workers, whatever they are doing; nothing of theirs is on disk half-written."""
        for worker in self.workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self.workers:
            worker.process.join(_SECONDS_TO_DIE)
        self.workers.clear()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; out of memory?" if name == "SIGKILL" else ""
        return f"signal {name}{hint}"
    return f"exit code {code}"
