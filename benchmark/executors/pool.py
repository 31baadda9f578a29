"""Pool of workers: gives them the cells of a queue, and copes with time limits and deaths."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass
from typing import Any, Generic, TypeVar

from benchmark.cell import Status
from benchmark.errors import ConfigError
from benchmark.evaluation.resources import Resources
from benchmark.executors import Executor, WorkQueue

_STILLBORN = 3
"""So many workers in a row that end before they are ready stop the run."""


@dataclass(eq=False, kw_only=True)
class Worker:
    """A worker and what it is doing.

    Attributes:
        ready: cells can be sent to it.
        cell: index of the cell under way.
        stream: what the worker's caches hold.
        deadline: of the cell, on ``time.monotonic``, once it has begun.
    """

    ready: bool = True
    cell: int | None = None
    stream: Hashable = None
    deadline: float | None = None


W = TypeVar("W", bound=Worker)


@dataclass(eq=False)
class PoolExecutor(Executor, Generic[W]):
    """Runs cells in several workers; a subclass says what a worker is.

    Args:
        factory: makes a worker's resources; a module-level function, since workers import it.
        workers: number of workers at most; by default as many as there is room for.
        threads: torch threads of each worker.
        time_limit: seconds that a cell may take, loading of its data included.

    Raises:
        ValueError: a number that makes no sense.
    """

    factory: Callable[[], Resources]
    _: KW_ONLY
    workers: int | None = None
    threads: int = 1
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if (self.workers is not None and self.workers < 1) or self.threads < 1:
            raise ValueError("workers and threads must be at least 1")
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError("the time limit must be more than 0 seconds")

    @abstractmethod
    def opened(self) -> AbstractContextManager[int]:
        """Holds what all workers need; gives the number of workers that there is room for."""

    @abstractmethod
    def start(self) -> W:
        """Starts a worker."""

    @abstractmethod
    def send(self, worker: W, index: int) -> None:
        """Sends a cell to a worker that is ready; one that has died says so in ``events``."""

    @abstractmethod
    def events(self, timeout: float | None) -> Iterator[tuple[W, str, list[Any]]]:
        """Waits for events: worker, kind and content.

        Kinds: "ready"; "begun"; "started" (numbers of batches and queries); "batch" (its log);
        "done" (record, numbers per query, whether the worker is spoiled); "died" (why).
        """

    @abstractmethod
    def kill(self, worker: W) -> None:
        """Ends a worker, whatever it is doing."""

    def work(self, queue: WorkQueue) -> None:
        self.queue, self._stillborn = queue, 0
        self.pool: list[W] = []
        with self.opened() as room:
            self.size = min(self.workers or room, len(queue.cells))
            try:
                while not queue.ended:
                    self._assign()
                    self._listen()
            except KeyboardInterrupt:
                for worker in self.pool:
                    if worker.cell is not None:
                        queue.interrupt(worker.cell)
                raise
            finally:  # nothing of theirs is on disk half-written
                while self.pool:
                    self.kill(self.pool.pop())

    def _assign(self) -> None:
        """Starts workers while there is work for them, and gives each idle one its next cell."""
        working = sum(worker.cell is not None for worker in self.pool)
        while len(self.pool) < min(self.size, working + len(self.queue)):
            self.pool.append(self.start())
        for worker in [one for one in self.pool if one.cell is None]:
            if not len(self.queue):
                self.remove(worker)  # it may hold a GPU, or a place that others wait for
            elif worker.ready:
                busy = frozenset(other.stream for other in self.pool if other.cell is not None)
                index = self.queue.take(worker.stream, busy)
                assert index is not None
                worker.cell, worker.stream = index, self.queue.streams[index]
                self.send(worker, index)

    def _listen(self) -> None:
        """Waits for events, until the next deadline at most."""
        now = time.monotonic()
        deadlines = {worker: worker.deadline for worker in self.pool if worker.deadline is not None}
        wait = max(0.0, min(deadlines.values()) - now) if deadlines else None
        silent = [worker for worker, deadline in deadlines.items() if deadline <= now]
        for worker, kind, content in self.events(wait):
            if worker in silent:
                silent.remove(worker)  # it may have said in time that it is done
            if worker in self.pool:
                self._on_event(worker, kind, content)
        for worker in silent:
            self.remove(worker)
            assert worker.cell is not None
            limit = f"the cell took longer than {self.time_limit:g} s; its worker was stopped"
            self.queue.fail(worker.cell, Status.TIMEOUT, f"TimeLimit: {limit}")

    def _on_event(self, worker: W, kind: str, content: list[Any]) -> None:
        if kind == "ready":
            worker.ready, self._stillborn = True, 0
        elif kind == "died":
            self.on_death(worker, *content)
        elif worker.cell is None:
            return
        elif kind == "begun":
            if self.time_limit is not None:
                worker.deadline = time.monotonic() + self.time_limit
        elif kind == "started":
            self.queue.progress.cell_started(self.queue.cells[worker.cell], *content)
        elif kind == "batch":
            self.queue.progress.batch_done(self.queue.cells[worker.cell], *content)
        else:
            index, worker.cell, worker.deadline = worker.cell, None, None
            record, arrays, spoiled = content
            self.queue.finish(index, record, arrays)
            if spoiled:
                self.remove(worker)

    def on_death(self, worker: W, reason: str) -> None:
        """A worker has died: its cell has failed, and another takes its place."""
        self.remove(worker)
        if worker.cell is not None:
            self.queue.fail(worker.cell, Status.FAILED, f"WorkerDied: {reason}")
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise ConfigError(
                    f"workers cannot start on the cluster ({reason}); "
                    "is queryshift installed on all of its machines?"
                )

    def remove(self, worker: W) -> None:
        """Ends a worker; another takes its place while there is work."""
        self.pool.remove(worker)
        self.kill(worker)
