"""Cells spread over a Ray cluster: the same workers on other machines (extra ``ray``)."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark import __version__
from benchmark.cell import Cell, Record, Status
from benchmark.errors import ConfigError
from benchmark.evaluation.callbacks import Progress
from benchmark.evaluation.resources import Resources
from benchmark.executors.todo import Todo
from benchmark.executors.worker import Hands, child_variables

LOCAL = "local"
"""Address that stands for a cluster on this machine, started for the run and ended with it."""

_OBJECT_STORE_BYTES = 100_000_000
"""Memory of a local cluster for results under way: a cell's numbers per query are small."""

_STILLBORN = 3
"""So many workers in a row that end before they were ready stop the run."""


class RayExecutor:
    """Runs cells on a Ray cluster; their results are saved by this process as they end.

    Each worker is an actor that keeps its data and weights from cell to cell. A cell whose worker
    is lost (its process or its machine died) is run again on another, at most ``retries`` times;
    a cell that has failed is not. News of single batches is not sent over the network.

    Every machine of the cluster needs the same version of this package, and data under the same
    path.

    Args:
        factory: makes a worker's resources; a module-level function, since workers import it.
        address: "local", or that of a running cluster as ``ray.init`` takes it.
        workers: number of workers; by default as many as the cluster has room for.
        threads: torch threads of each worker, and CPUs that it books.
        gpus: GPUs that each worker books; parts of one are possible.
        time_limit: seconds that a cell may take, loading of its data included.
        retries: how often a cell is given to another worker when its worker is lost.
    """

    def __init__(
        self,
        factory: Callable[[], Resources],
        *,
        address: str = LOCAL,
        workers: int | None = None,
        threads: int = 1,
        gpus: float = 0.0,
        time_limit: float | None = None,
        retries: int = 2,
    ) -> None:
        if (workers is not None and workers < 1) or threads < 1:
            raise ValueError("workers and threads must be at least 1")
        if time_limit is not None and not time_limit > 0:
            raise ValueError("the time limit must be more than 0 seconds")
        self.factory = factory
        self.address = address
        self.workers = workers
        self.threads = threads
        self.gpus = gpus
        self.time_limit = time_limit
        self.retries = retries

    def run(
        self,
        cells: Sequence[Cell],
        save: Callable[[Record, Mapping[str, np.ndarray]], None],
        *,
        progress: Progress | None = None,
    ) -> list[Record]:
        """See ``Executor.run``.

        Raises:
            ConfigError: the extra is missing, the cluster cannot be reached, has no room for a
                worker, or has another version of this package.
        """
        ray = import_ray()
        todo = Todo(cells, save, progress=progress)
        with _connected(ray, self):
            crew = _Crew(ray, self, todo)
            try:
                return crew.work()
            except KeyboardInterrupt:
                crew.interrupted()
                raise
            finally:
                crew.dismiss()


def import_ray() -> Any:
    """The module ``ray``.

    Raises:
        ConfigError: it is not installed.
    """
    # Ray reports its use to its makers unless told otherwise, and that before the first call.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            f"the executor ray needs the extra: pip install 'queryshift[ray]' ({error})"
        ) from None


@contextmanager
def _connected(ray: Any, settings: RayExecutor) -> Iterator[None]:
    """A connection to the cluster; one that the caller has already is used and left open."""
    if ray.is_initialized():
        yield
        return
    own: dict[str, Any] = {}
    if settings.address == LOCAL:
        own = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
        if settings.workers is not None:
            own["num_cpus"] = settings.workers * settings.threads
    try:
        ray.init(address=settings.address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(
            f"no Ray cluster at {settings.address!r} ({' '.join(str(error).split())[:200]}); "
            "expected HOST:PORT of a running one (ray start --head), auto, or local"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


class _Actor:
    """A worker on the cluster."""

    def __init__(self, factory: Callable[[], Resources], threads: int) -> None:
        self._hands = Hands(factory, threads)

    def ready(self) -> tuple[str, str]:
        """Versions of this package and of Python here."""
        return __version__, platform.python_version()

    def key(self, cell: Cell) -> str:
        """The cell's key; asked before it is run, since a lost worker cannot tell."""
        return self._hands.key(cell)

    def run(self, cell: Cell) -> tuple[Record, dict[str, np.ndarray], bool]:
        """Record and numbers per query, whatever goes wrong, and whether the worker is spoiled."""
        return *self._hands.run(cell), self._hands.spoiled


@dataclass
class _Worker:
    """An actor and what it is doing."""

    actor: Any
    news: dict[Any, str] = field(default_factory=dict)  # object reference -> what it will say
    ready: bool = False
    cell: int | None = None  # index of the cell under way
    key: str = ""
    stream: Hashable = None
    deadline: float | None = None  # on time.monotonic


class _Crew:
    """The workers of one run."""

    def __init__(self, ray: Any, settings: RayExecutor, todo: Todo) -> None:
        self.ray, self.settings, self.todo = ray, settings, todo
        self.workers: list[_Worker] = []
        self.lost: dict[int, int] = {}  # cell -> how many workers it has cost
        self.stillborn = 0
        room = self._room()
        if not room:
            raise ConfigError(
                f"no machine of the Ray cluster has {settings.threads} CPUs and "
                f"{settings.gpus:g} GPUs for a worker; ask for less (--threads, --device)"
            )
        self.size = min(settings.workers or room, len(todo.cells))

    def _room(self) -> int:
        """How many workers the machines of the cluster can hold together."""
        needed = {"CPU": self.settings.threads, "GPU": self.settings.gpus}
        rooms = [
            min(
                int(node["Resources"].get(name, 0) // amount)
                for name, amount in needed.items()
                if amount
            )
            for node in self.ray.nodes()
            if node["Alive"]
        ]
        return sum(rooms)

    def work(self) -> list[Record]:
        while not self.todo.ended:
            self._staff()
            waited = {ref: worker for worker in self.workers for ref in worker.news}
            ready, _ = self.ray.wait(list(waited), num_returns=1, timeout=self._patience())
            for ref in ready:
                self._listen(waited[ref], ref)
            self._stop_overdue()
        return self.todo.results

    def _staff(self) -> None:
        """Fills empty places while there is work, and gives every idle worker its next cell."""
        busy = sum(worker.cell is not None for worker in self.workers)
        while len(self.workers) < min(self.size, busy + len(self.todo)):
            self._hire()
        for worker in list(self.workers):
            if not worker.ready or worker.cell is not None:
                continue
            taken = frozenset(other.stream for other in self.workers if other.cell is not None)
            index = self.todo.take(worker.stream, taken)
            if index is None:
                return
            self._give(worker, index)

    def _hire(self) -> None:
        settings = self.settings
        remote = self.ray.remote(_Actor).options(
            num_cpus=settings.threads,
            num_gpus=settings.gpus,
            max_restarts=0,
            runtime_env={"env_vars": child_variables(settings.threads)},
        )
        actor = remote.remote(settings.factory, settings.threads)
        self.workers.append(_Worker(actor, {actor.ready.remote(): "ready"}))

    def _give(self, worker: _Worker, index: int) -> None:
        cell = self.todo.cells[index]
        worker.cell, worker.key, worker.stream = index, "", self.todo.stream(index)
        worker.news[worker.actor.key.remote(cell)] = "key"
        worker.news[worker.actor.run.remote(cell)] = "done"
        if self.settings.time_limit is not None:
            worker.deadline = time.monotonic() + self.settings.time_limit

    def _patience(self) -> float | None:
        now = time.monotonic()
        waits = [max(0.0, w.deadline - now) for w in self.workers if w.deadline is not None]
        return min(waits, default=None)

    def _listen(self, worker: _Worker, ref: Any) -> None:
        if ref not in worker.news:
            return  # it was lost with earlier news of this round
        kind = worker.news.pop(ref)
        try:
            content = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            self._lose(worker, error)
            return
        if kind == "ready":
            _same_version(content)
            worker.ready, self.stillborn = True, 0
        elif kind == "key":
            worker.key = content
        else:
            index, worker.cell, worker.deadline = worker.cell, None, None
            assert index is not None
            record, arrays, spoiled = content
            self.todo.finish(index, record, arrays)
            if spoiled:
                self._lay_off(worker)

    def _lose(self, worker: _Worker, error: Exception) -> None:
        """A worker is gone: its cell is given to another, but not without end."""
        why = " ".join(str(error).split())[:300]
        if not worker.ready:
            self.stillborn += 1
            if self.stillborn >= _STILLBORN:
                raise ConfigError(
                    f"workers cannot start on the Ray cluster ({type(error).__name__}: {why}); "
                    "is queryshift installed on all of its machines?"
                )
        index, worker.cell = worker.cell, None
        self._lay_off(worker)
        if index is None:
            return
        self.lost[index] = self.lost.get(index, 0) + 1
        if self.lost[index] <= self.settings.retries:
            self.todo.put_back(index)
            return
        times = f"{self.lost[index]} times" if self.lost[index] > 1 else "once"
        reason = f"WorkerDied: the worker of this cell was lost {times} ({type(error).__name__})"
        self.todo.fail(index, worker.key, Status.FAILED, reason)

    def _stop_overdue(self) -> None:
        for worker in list(self.workers):
            if worker.deadline is None or time.monotonic() < worker.deadline:
                continue
            done, _ = self.ray.wait(list(worker.news), num_returns=1, timeout=0)
            if done:
                continue  # it has said something in time, perhaps that it is done
            index, worker.cell = worker.cell, None
            assert index is not None
            self._lay_off(worker)
            limit = f"{self.settings.time_limit:g}"
            reason = f"TimeLimit: the cell took longer than {limit} s; its worker was stopped"
            self.todo.fail(index, worker.key, Status.TIMEOUT, reason)

    def _lay_off(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.news.clear()
        self.ray.kill(worker.actor, no_restart=True)

    def interrupted(self) -> None:
        """Saves the cells under way as interrupted."""
        for worker in self.workers:
            if worker.cell is not None:
                index, worker.cell = worker.cell, None
                self.todo.interrupt(index, worker.key)

    def dismiss(self) -> None:
        """Ends all workers, whatever they are doing."""
        for worker in list(self.workers):
            self._lay_off(worker)


def _same_version(there: tuple[str, str]) -> None:
    here = (__version__, platform.python_version())
    if tuple(there) != here:
        raise ConfigError(
            f"the Ray cluster has queryshift {there[0]} on Python {there[1]}, this process "
            f"{here[0]} on Python {here[1]}; install the same on all machines"
        )
