"""Ray executor: the same workers on the machines of a cluster (extra ``ray``)."""

from __future__ import annotations

import importlib
import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark import __version__
from benchmark.cell import Cell, Record
from benchmark.errors import ConfigError
from benchmark.evaluation.callbacks import Callback
from benchmark.evaluation.resources import Resources
from benchmark.executors.pool import Pool, Worker, check_numbers
from benchmark.executors.work_queue import Save, WorkQueue
from benchmark.executors.worker import WorkerContext, child_variables

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
    a cell that has failed is not. Events of single batches are not sent over the network.

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
        check_numbers(workers, threads, time_limit)
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
        save: Save,
        *,
        progress: Callback | None = None,
    ) -> list[Record]:
        """See ``Executor.run``.

        Raises:
            ConfigError: the extra is missing, the cluster cannot be reached, has no room for a
                worker, or has another version of this package.
        """
        ray = import_ray()
        with _connected(ray, self):
            return _RayPool(ray, self, WorkQueue(cells, save, progress=progress)).run()


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
        self._context = WorkerContext(factory, threads)

    def ready(self) -> tuple[str, str]:
        """Versions of this package and of Python here."""
        return __version__, platform.python_version()

    def key(self, cell: Cell) -> str:
        """The cell's key; asked before it is run, since a lost worker cannot tell."""
        return self._context.key(cell)

    def run(self, cell: Cell) -> tuple[Record, dict[str, np.ndarray], bool]:
        """Record and numbers per query, whatever goes wrong, and whether the worker is spoiled."""
        return *self._context.run(cell), self._context.spoiled


@dataclass(eq=False)
class _RayWorker(Worker):
    actor: Any
    calls: dict[Any, str]  # object reference -> kind of the event that it will be


class _RayPool(Pool[_RayWorker]):
    def __init__(self, ray: Any, settings: RayExecutor, queue: WorkQueue) -> None:
        self.ray, self.settings = ray, settings
        self.lost: dict[int, int] = {}  # cell -> how many workers it has cost
        self.stillborn = 0
        room = self._room()
        if not room:
            raise ConfigError(
                f"no machine of the Ray cluster has {settings.threads} CPUs and "
                f"{settings.gpus:g} GPUs for a worker; ask for less (--threads, --device)"
            )
        size = min(settings.workers or room, len(queue.cells))
        super().__init__(queue, size, settings.time_limit)

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

    def start(self) -> _RayWorker:
        settings = self.settings
        remote = self.ray.remote(_Actor).options(
            num_cpus=settings.threads,
            num_gpus=settings.gpus,
            max_restarts=0,
            runtime_env={"env_vars": child_variables(settings.threads)},
        )
        actor = remote.remote(settings.factory, settings.threads)
        return _RayWorker(actor, {actor.ready.remote(): "ready"}, ready=False)

    def send(self, worker: _RayWorker, index: int) -> None:
        cell, actor = self.queue.cells[index], worker.actor
        worker.calls[actor.ready.remote()] = "begun"
        worker.calls[actor.key.remote(cell)] = "key"
        worker.calls[actor.run.remote(cell)] = "done"

    def events(self, timeout: float | None) -> Iterator[tuple[_RayWorker, str, list[Any]]]:
        waited = {ref: worker for worker in self.workers for ref in worker.calls}
        self.ray.wait(list(waited), num_returns=1, timeout=timeout)
        ready, _ = self.ray.wait(list(waited), num_returns=len(waited), timeout=0)
        for ref in ready:
            worker = waited[ref]
            if ref not in worker.calls:
                continue  # it was lost with an earlier event of this round
            kind = worker.calls.pop(ref)
            try:
                content = self.ray.get(ref)
            except self.ray.exceptions.RayError as error:
                why = " ".join(str(error).split())[:300]
                yield worker, "died", [f"{type(error).__name__}: {why}"]
                continue
            if kind == "ready":
                _same_version(content)
                self.stillborn = 0
            yield worker, kind, [content] if kind == "key" else list(content)

    def on_death(self, worker: _RayWorker, reason: str) -> None:
        """A worker is gone: its cell is given to another, but not without end."""
        if not worker.ready:
            self.stillborn += 1
            if self.stillborn >= _STILLBORN:
                raise ConfigError(
                    f"workers cannot start on the Ray cluster ({reason}); "
                    "is queryshift installed on all of its machines?"
                )
        if worker.cell is not None:
            times = self.lost[worker.cell] = self.lost.get(worker.cell, 0) + 1
            often = f"{times} times" if times > 1 else "once"
            reason = f"the worker of this cell was lost {often} ({reason.partition(':')[0]})"
            if times <= self.settings.retries:
                self.queue.put_back(worker.cell)
                worker.cell = None
        super().on_death(worker, reason)

    def kill(self, worker: _RayWorker) -> None:
        worker.calls.clear()
        self.ray.kill(worker.actor, no_restart=True)


def _same_version(there: tuple[str, str]) -> None:
    here = (__version__, platform.python_version())
    if tuple(there) != here:
        raise ConfigError(
            f"the Ray cluster has queryshift {there[0]} on Python {there[1]}, this process "
            f"{here[0]} on Python {here[1]}; install the same on all machines"
        )
