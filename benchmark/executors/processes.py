"""Pool of workers, with time limits and deaths; its executor in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import KW_ONLY, dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from benchmark.cell import Status
from benchmark.errors import ConfigError
from benchmark.evaluation.environment import usable_cores
from benchmark.evaluation.resources import Resources
from benchmark.executors import Executor, WorkQueue
from benchmark.executors.worker import child_variables, environment_of_children, serve

_STILLBORN = 3
"""So many workers in a row that end before they are ready stop the run."""


_LONGEST_WAIT = 3600.0
"""Seconds; the system's own call takes no more than 24 days, which a time limit may have."""

_SECONDS_TO_DIE = 10.0
"""How long a killed worker is waited for: one that hangs in the kernel may never go."""


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
        time_limit: seconds that a cell may take, loading of its data included.
    """

    factory: Callable[[], Resources]
    _: KW_ONLY
    workers: int | None = None
    threads: int = 1
    time_limit: float | None = None

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
                while len(queue.records) < len(queue.cells):
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
                worker.cell = self.queue.take(worker.stream, busy)
                worker.stream = self.queue.streams[worker.cell]
                self.send(worker, worker.cell)

    def _listen(self) -> None:
        """Waits for events, until the next deadline at most."""
        now = time.monotonic()
        deadlines = {worker: worker.deadline for worker in self.pool if worker.deadline is not None}
        wait = None
        if deadlines:
            wait = min(max(0.0, min(deadlines.values()) - now), _LONGEST_WAIT)
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
                    f"workers cannot start on the cluster ({reason}); expected queryshift, its "
                    "plugins and enough memory on all of its machines"
                )

    def remove(self, worker: W) -> None:
        """Ends a worker; another takes its place while there is work."""
        self.pool.remove(worker)
        self.kill(worker)


@dataclass(eq=False)
class _Process(Worker):
    process: BaseProcess
    connection: Connection
    slot: int  # its place in the pool, which decides its GPU


@dataclass(eq=False, kw_only=True)
class ProcessExecutor(PoolExecutor[_Process]):
    """Runs cells in freshly started ("spawn") worker processes, one per usable core by default.

    A worker that dies (out of memory, a crash in native code) marks its cell as failed, one that
    exceeds the time limit as timeout; another takes its place. Ranks do not depend on who runs a
    cell, as long as the number of torch threads, which decides the order of floating-point sums,
    is the same.

    Args:
        devices: values of CUDA_VISIBLE_DEVICES, given to the workers in turn, so that "cuda" is
            another GPU in each; empty to let all see the same.
    """

    devices: Sequence[str] = ()

    @contextmanager
    def opened(self) -> Iterator[int]:
        yield usable_cores()

    def start(self) -> _Process:
        context = multiprocessing.get_context("spawn")
        slot = min(set(range(self.size)) - {worker.slot for worker in self.pool})
        device = self.devices[slot % len(self.devices)] if self.devices else ""
        ours, theirs = context.Pipe()
        # No daemon, which could not have loader workers; it ends with this process all the same.
        process = context.Process(target=_serve, args=(theirs, self.factory, self.threads))
        resource_tracker.ensure_running()  # starting it unblocks what is blocked here
        with environment_of_children(child_variables(self.threads, device, self.size)):
            # Before a worker can ignore Ctrl-C it imports; until then it inherits this mask.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that the worker's death closes the pipe
        return _Process(process, ours, slot)

    def send(self, worker: _Process, index: int) -> None:
        with suppress(OSError):  # dead: its closed pipe is the next event
            worker.connection.send(self.queue.cells[index])

    def events(self, timeout: float | None) -> Iterator[tuple[_Process, str, list[Any]]]:
        by_connection: dict[Any, _Process] = {w.connection: w for w in self.pool}
        for ready in wait(list(by_connection), timeout):
            worker = by_connection[ready]
            try:
                kind, *content = worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join(_SECONDS_TO_DIE)
                ending = _ending(worker.process.exitcode)
                kind, content = "died", [f"the worker process ended with {ending}"]
            yield worker, kind, content

    def kill(self, worker: _Process) -> None:
        worker.connection.close()
        worker.process.kill()
        worker.process.join(_SECONDS_TO_DIE)


def _serve(connection: Connection, factory: Callable[[], Resources], threads: int) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(connection, factory, threads)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone: a hanging cell would otherwise stay for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        known = {int(one): one.name for one in signal.Signals}  # not all real-time signals
        name = known.get(-code, str(-code))
        hint = "; out of memory?" if name == "SIGKILL" else ""
        return f"signal {name}{hint}"
    return f"exit code {code}"
