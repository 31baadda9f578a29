"""Worker pool: gives the cells of a queue to workers, and copes with time limits and deaths."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from benchmark.cell import Record, Status
from benchmark.executors.work_queue import WorkQueue


@dataclass(eq=False, kw_only=True)
class Worker:
    """A worker and what it is doing.

    Attributes:
        ready: cells can be sent to it.
        cell: index of the cell under way.
        key: that cell's key, once the worker has told.
        stream: what the worker's caches hold.
        deadline: of the cell, on ``time.monotonic``, once it has begun.
    """

    ready: bool = True
    cell: int | None = None
    key: str = ""
    stream: Hashable = None
    deadline: float | None = None


W = TypeVar("W", bound=Worker)


def check_numbers(workers: int | None, threads: int, time_limit: float | None) -> None:
    """Refuses settings of a pool that make no sense.

    Raises:
        ValueError: says which.
    """
    if (workers is not None and workers < 1) or threads < 1:
        raise ValueError("workers and threads must be at least 1")
    if time_limit is not None and not time_limit > 0:
        raise ValueError("the time limit must be more than 0 seconds")


class Pool(ABC, Generic[W]):
    """The workers of one run.

    Args:
        queue: the run's cells.
        size: number of workers at most.
        time_limit: seconds that a cell may take.
    """

    def __init__(self, queue: WorkQueue, size: int, time_limit: float | None) -> None:
        self.queue, self.size, self.time_limit = queue, size, time_limit
        self.workers: list[W] = []

    @abstractmethod
    def start(self) -> W:
        """Starts a worker."""

    @abstractmethod
    def send(self, worker: W, index: int) -> None:
        """Sends a cell to a worker that is ready; one that has died says so in ``events``."""

    @abstractmethod
    def events(self, timeout: float | None) -> Iterator[tuple[W, str, list[Any]]]:
        """Waits for events: worker, kind and content.

        Kinds: "ready"; "begun"; "key" (the cell's key); "started" (number of batches); "batch"
        (its log); "done" (record, numbers per query, whether the worker is spoiled); "died" (why).
        """

    @abstractmethod
    def kill(self, worker: W) -> None:
        """Ends a worker, whatever it is doing."""

    def run(self) -> list[Record]:
        """Runs the queue's cells; see ``Executor.run``."""
        try:
            while not self.queue.ended:
                self._assign()
                now = time.monotonic()
                silent = [w for w in self.workers if w.deadline is not None and w.deadline <= now]
                for worker, kind, content in self.events(self._patience(now)):
                    if worker in silent:
                        silent.remove(worker)  # it may have said in time that it is done
                    if worker in self.workers:
                        self._on_event(worker, kind, content)
                for worker in silent:
                    self._on_time_limit(worker)
            return self.queue.results
        except KeyboardInterrupt:
            for worker in self.workers:
                if worker.cell is not None:
                    self.queue.interrupt(worker.cell, worker.key)
            raise
        finally:
            self.shutdown()

    def _assign(self) -> None:
        """Starts workers while there is work for them, and gives each idle one its next cell."""
        working = sum(worker.cell is not None for worker in self.workers)
        while len(self.workers) < min(self.size, working + len(self.queue)):
            self.workers.append(self.start())
        for worker in self.workers:
            if not worker.ready or worker.cell is not None:
                continue
            busy = frozenset(other.stream for other in self.workers if other.cell is not None)
            index = self.queue.take(worker.stream, busy)
            if index is None:
                return
            worker.cell, worker.key, worker.stream = index, "", self.queue.stream(index)
            self.send(worker, index)

    def _patience(self, now: float) -> float | None:
        """Seconds until the next deadline."""
        waits = [max(0.0, w.deadline - now) for w in self.workers if w.deadline is not None]
        return min(waits, default=None)

    def _on_event(self, worker: W, kind: str, content: list[Any]) -> None:
        if kind == "ready":
            worker.ready = True
        elif kind == "died":
            self.on_death(worker, *content)
        elif worker.cell is None:
            return
        elif kind == "begun":
            if self.time_limit is not None:
                worker.deadline = time.monotonic() + self.time_limit
        elif kind == "key":
            (worker.key,) = content
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
            self.queue.fail(worker.cell, worker.key, Status.FAILED, f"WorkerDied: {reason}")

    def _on_time_limit(self, worker: W) -> None:
        self.remove(worker)
        assert worker.cell is not None
        limit = f"{self.time_limit:g}"
        reason = f"TimeLimit: the cell took longer than {limit} s; its worker was stopped"
        self.queue.fail(worker.cell, worker.key, Status.TIMEOUT, reason)

    def remove(self, worker: W) -> None:
        """Ends a worker; another takes its place while there is work."""
        self.workers.remove(worker)
        self.kill(worker)

    def shutdown(self) -> None:
        """Ends all workers; nothing of theirs is on disk half-written."""
        while self.workers:
            self.kill(self.workers.pop())
