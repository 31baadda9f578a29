"""Slurm executor: workers are jobs of a cluster, through ``submitit`` (extra ``slurm``)."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.errors import ConfigError, import_extra
from benchmark.evaluation.resources import Resources
from benchmark.executors.processes import PoolExecutor, Worker
from benchmark.executors.worker import (
    child_variables,
    end_despite_threads,
    environment_of_children,
    serve,
)

JOBS = 16
"""Jobs at most, where nothing else is asked for."""

_POLL_SECONDS = {"slurm": 2.0, "local": 0.1}
"""How often messages are looked for."""

_SILENCE_SECONDS = 600.0
"""A job that has heard nothing for so long from the process that started it ends."""

_DAY_MINUTES = 24 * 60
_SECONDS_TO_DIE = 60.0


@dataclass(eq=False)
class _Job(Worker):
    job: Any
    channel: FolderChannel


@dataclass(eq=False, kw_only=True)
class SlurmExecutor(PoolExecutor[_Job]):
    """Runs cells in jobs, by default one per cell, up to ``JOBS``.

    A job keeps its data and weights and takes one cell after another. One that ends in the middle
    of a cell (killed, out of memory, out of time) fails that cell, and another takes its place.
    ``submitit`` pickles a job's function into a folder that only this user can read, and so are
    cells and records handed over; it is made for the run and removed with its end.

    Args:
        folder: shared by this machine and those of the cluster; the jobs' folder is made in it.
        options: of the batch system, as in ``{"partition": "gpu", "time": 60}``.
        cluster: "slurm", or "local" for processes on this machine, for tests.
    """

    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = "slurm"

    @contextmanager
    def opened(self) -> Iterator[int]:
        """See ``PoolExecutor``.

        Raises:
            ConfigError: the extra or Slurm is missing, or Slurm refuses the options.
        """
        submitit = import_extra("submitit", "slurm", "the executor slurm needs the extra")
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise ConfigError(
                "there is no Slurm on this machine (sbatch is not on the PATH); start the run on a "
                "login node of the cluster, or say --executor processes"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._place = Path(tempfile.mkdtemp(prefix="slurm-", dir=self.folder)).resolve()  # 0700
        self._started = 0
        try:
            self._submitit = self._configured(submitit)
            yield JOBS
        finally:
            shutil.rmtree(self._place, ignore_errors=True)

    def _configured(self, submitit: Any) -> Any:
        own: dict[str, Any] = {"timeout_min": _DAY_MINUTES, **self.options}
        if self.cluster == "slurm":
            own = {f"slurm_{name}": value for name, value in self.options.items()}
            own = {"cpus_per_task": self.threads, "slurm_time": _DAY_MINUTES} | own
        try:
            executor = submitit.AutoExecutor(self._place / "log", cluster=self.cluster)
            executor.update_parameters(name="queryshift", **own)
        except (TypeError, ValueError, NameError, RuntimeError) as error:
            raise ConfigError(_refused(error)) from None
        return executor

    def start(self) -> _Job:
        folder = self._place / str(self._started)
        self._started += 1
        channel = FolderChannel(folder, "cells", "events")
        (self._place / ALIVE).touch()
        arguments = folder, self.factory, self.threads, _POLL_SECONDS[self.cluster]
        try:
            with environment_of_children(child_variables(self.threads)):
                return _Job(self._submitit.submit(work_in, *arguments), channel, ready=False)
        except Exception as error:  # what submitit makes of sbatch's refusal
            raise ConfigError(_refused(error)) from None

    def send(self, worker: _Job, index: int) -> None:
        worker.channel.send(self.queue.cells[index])

    def events(self, timeout: float | None) -> Iterator[tuple[_Job, str, list[Any]]]:
        time.sleep(_POLL_SECONDS[self.cluster])
        (self._place / ALIVE).touch()
        for worker in list(self.pool):
            ended = worker.job.done()  # asked first: what it wrote before its end is there then
            while worker.channel.poll():
                kind, *content = worker.channel.recv()
                yield worker, kind, content
            if ended:
                yield worker, "died", [f"the job ended as {worker.job.state}"]

    def kill(self, worker: _Job) -> None:
        with suppress(Exception):  # it has ended, or the cluster does not answer
            worker.job.cancel(check=False)
        if self.cluster == "local":
            worker.job._process.wait(_SECONDS_TO_DIE)


ALIVE = "alive"
"""A file beside the jobs' folders that is touched as long as somebody waits for their results."""


class FolderChannel:
    """One end of a pipe between this machine and a job: files in a folder that both can reach.

    Args:
        folder: the job's; made where it is not there.
        sends: name of the messages from this end.
        receives: name of those from the other.
        wait: seconds between two looks.
    """

    def __init__(self, folder: Path, sends: str, receives: str, wait: float = 0.0) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._wait = folder, wait
        self._sends, self._receives = sends, receives
        self._sent = self._received = 0

    def send(self, message: Any) -> None:
        path = self._folder / f"{self._sends}-{self._sent}"
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(message))
        part.rename(path)  # so that it appears whole
        self._sent += 1

    def poll(self) -> bool:
        # The whole folder, since a network file system may remember that a name was not there.
        return f"{self._receives}-{self._received}" in os.listdir(self._folder)

    def recv(self) -> Any:
        """Waits for the next object; EOFError where nobody is there to send one."""
        sign, since = 0, time.monotonic()
        while not self.poll():
            # By this machine's clock alone: the one that touches the file may have another time.
            if (found := (self._folder.parent / ALIVE).stat().st_mtime_ns) != sign:
                sign, since = found, time.monotonic()
            if time.monotonic() - since > _SILENCE_SECONDS:
                raise EOFError("the process that started this job is gone")
            time.sleep(self._wait)
        path = self._folder / f"{self._receives}-{self._received}"
        self._received += 1
        message = pickle.loads(path.read_bytes())
        path.unlink()
        return message


def work_in(folder: Path, factory: Callable[[], Resources], threads: int, wait: float) -> None:
    """What a job does: it runs the cells that it finds in its folder until nobody waits for it."""
    with suppress(FileNotFoundError):  # the folder was removed: the run has ended
        channel = FolderChannel(folder, "events", "cells", wait)
        serve(channel, factory, threads, batches=False)
    end_despite_threads(0)


def _refused(error: Exception) -> str:
    why = " ".join(str(error).split())[:300]
    return f"Slurm does not take the jobs ({type(error).__name__}: {why}); check --slurm"
