"""Ray executor: the same workers on the machines of a cluster (extra ``ray``)."""

from __future__ import annotations

import logging
import os
import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmark import __version__
from benchmark.errors import ConfigError, import_extra
from benchmark.executors import LOCAL
from benchmark.executors.processes import PoolExecutor, Worker
from benchmark.executors.worker import WorkerContext, child_variables

# Ray reports its use to its makers unless told otherwise, and that before the first call.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

_OBJECT_STORE_BYTES = 100_000_000
"""Memory of a local cluster for results under way: a cell's numbers per query are small."""


class _Actor(WorkerContext):
    def ready(self) -> tuple[str, str]:
        """Versions of this package and of Python here."""
        return __version__, platform.python_version()


@dataclass(eq=False)
class _RayWorker(Worker):
    actor: Any
    calls: dict[Any, str]  # object reference -> kind of the event that it will be


@dataclass(eq=False, kw_only=True)
class RayExecutor(PoolExecutor[_RayWorker]):
    """Runs cells on a Ray cluster; their results are saved by this process as they end.

    Each worker is an actor that keeps its data and weights from cell to cell, and books as many
    CPUs as it has threads. A cell whose worker is lost (its process or its machine died) is run
    again on another, at most ``retries`` times; a cell that has failed is not. Events of single
    batches are not sent over the network.

    Every machine of the cluster needs the same version of this package, and data under the same
    path.

    Args:
        address: "local", or that of a running cluster as ``ray.init`` takes it.
        gpus: GPUs that each worker books; parts of one are possible.
        retries: how often a cell is given to another worker when its worker is lost.
    """

    address: str = LOCAL
    gpus: float = 0.0
    retries: int = 2

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A connection to the cluster.

        Raises:
            ConfigError: the extra is missing, the cluster cannot be reached, or has no room for a
                worker.
        """
        self._ray = import_extra("ray", "ray", "the executor ray needs the extra")
        self._lost: Counter[int] = Counter()  # cell -> how many workers it has cost
        self._connect()
        try:
            yield self._room()
        finally:
            self._ray.shutdown()

    def _connect(self) -> None:
        options: dict[str, Any] = {}
        if self.address == LOCAL:
            options = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
            if self.workers is not None:
                options["num_cpus"] = self.workers * self.threads
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            self._ray.init(address=self.address, **quiet, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ConfigError(
                f"no Ray cluster at {self.address!r} ({' '.join(str(error).split())[:200]}); "
                "expected HOST:PORT of a running one (ray start --head), auto, or local"
            ) from None

    def _room(self) -> int:
        """How many workers the machines of the cluster can hold together."""
        needed = {"CPU": self.threads, "GPU": self.gpus}
        room = 0
        for node in self._ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            room += min(int(has.get(name, 0) // count) for name, count in needed.items() if count)
        if not room:
            raise ConfigError(
                f"no machine of the Ray cluster has {self.threads} CPUs and {self.gpus:g} GPUs for "
                "a worker; ask for less (--threads, --device)"
            )
        return room

    def start(self) -> _RayWorker:
        remote = self._ray.remote(_Actor).options(
            num_cpus=self.threads,
            num_gpus=self.gpus,
            max_restarts=0,
            runtime_env={"env_vars": child_variables(self.threads)},
        )
        actor = remote.remote(self.factory, self.threads)
        return _RayWorker(actor, {actor.ready.remote(): "ready"}, ready=False)

    def send(self, worker: _RayWorker, index: int) -> None:
        cell, actor = self.queue.cells[index], worker.actor
        worker.calls[actor.ready.remote()] = "begun"
        worker.calls[actor.run.remote(cell)] = "done"

    def events(self, timeout: float | None) -> Iterator[tuple[_RayWorker, str, list[Any]]]:
        waited = {ref: worker for worker in self.pool for ref in worker.calls}
        self._ray.wait(list(waited), num_returns=1, timeout=timeout)
        ready, _ = self._ray.wait(list(waited), num_returns=len(waited), timeout=0)
        for ref in ready:
            worker = waited[ref]
            if ref not in worker.calls:
                continue  # it was lost with an earlier event of this round
            kind = worker.calls.pop(ref)
            try:
                content = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                why = " ".join(str(error).split())[:300]
                yield worker, "died", [f"{type(error).__name__}: {why}"]
                continue
            if kind == "ready":
                _refuse_others(*content)
            yield worker, kind, list(content)

    def on_death(self, worker: _RayWorker, reason: str) -> None:
        """A worker is gone: its cell is given to another, but not without end."""
        if worker.cell is not None:
            self._lost[worker.cell] += 1
            times = self._lost[worker.cell]
            often = f"{times} times" if times > 1 else "once"
            reason = f"the worker of this cell was lost {often} ({reason.partition(':')[0]})"
            if times <= self.retries:
                self.queue.put_back(worker.cell)
                worker.cell = None
        super().on_death(worker, reason)

    def kill(self, worker: _RayWorker) -> None:
        worker.calls.clear()
        self._ray.kill(worker.actor, no_restart=True)


def _refuse_others(version: str, python: str) -> None:
    if (version, python) != (__version__, platform.python_version()):
        raise ConfigError(
            f"the Ray cluster has queryshift {version} on Python {python}, this process "
            f"{__version__} on Python {platform.python_version()}; install the same on all machines"
        )
