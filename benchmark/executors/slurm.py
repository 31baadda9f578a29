"""Slurm executor: cells in jobs of a cluster, through ``submitit`` (extra ``slurm``)."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.cell import Cell, Record, Status
from benchmark.errors import ConfigError
from benchmark.evaluation.callbacks import Callback
from benchmark.evaluation.resources import Resources
from benchmark.executors.ending import end_despite_threads
from benchmark.executors.shards import split
from benchmark.executors.work_queue import Save, WorkQueue
from benchmark.executors.worker import WorkerContext, child_variables, environment_of_children
from benchmark.store.run_store import RunStore

POLL_SECONDS = 2.0
"""How often jobs are looked at."""

JOBS = 16
"""Jobs at most, where nothing else is asked for."""

_DAY_MINUTES = 24 * 60
_SECONDS_TO_DIE = 60.0


class SlurmExecutor:
    """Runs cells in jobs; each job runs one part of them (see ``shards``), one after another.

    A job that ends in the middle of a cell (killed, out of memory, out of time) fails that cell,
    and another job does the rest; what it had finished is kept, since each cell is handed over as
    soon as it has ended. ``submitit`` pickles a job's function into a folder that only this user
    can read; it is made for the run and removed with its end. Results come as ordinary records.

    Args:
        factory: makes a job's resources; a module-level function, since jobs import it.
        folder: shared by this machine and those of the cluster; the jobs' folder is made in it.
        jobs: number of jobs; by default one per cell, up to ``JOBS``.
        threads: torch threads of each job, and CPUs that it books.
        options: of the batch system, as in ``{"partition": "gpu", "time": 60}``.
        time_limit: seconds that a cell may take, loading of its data included.
        cluster: "slurm", or "local" for processes on this machine, for tests.
    """

    def __init__(
        self,
        factory: Callable[[], Resources],
        *,
        folder: Path,
        jobs: int | None = None,
        threads: int = 1,
        options: Mapping[str, Any] | None = None,
        time_limit: float | None = None,
        cluster: str = "slurm",
    ) -> None:
        self.factory = factory
        self.folder = folder
        self.jobs = jobs
        self.threads = threads
        self.options = dict(options or {})
        self.time_limit = time_limit
        self.cluster = cluster

    def run(
        self,
        cells: Sequence[Cell],
        save: Save,
        *,
        progress: Callback | None = None,
    ) -> list[Record]:
        """See ``Executor.run``.

        Raises:
            ConfigError: the extra or Slurm is missing, or Slurm refuses the jobs.
        """
        submitit = import_submitit()
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise ConfigError(
                "there is no Slurm on this machine (sbatch is not on the PATH); start the run on a "
                "login node of the cluster, or say --executor processes"
            )
        queue = WorkQueue(cells, save, progress=progress)
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="slurm-", dir=self.folder))  # with mode 0700
        try:
            return _Jobs(submitit, self, folder.resolve(), queue).work()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def import_submitit() -> Any:
    """The module ``submitit``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module("submitit")
    except ImportError as error:
        raise ConfigError(
            f"the executor slurm needs the extra: pip install 'queryshift[slurm]' ({error})"
        ) from None


def run_part(
    factory: Callable[[], Resources], cells: Sequence[Cell], threads: int, folder: str
) -> None:
    """What a job does: its cells one after another, each in a small results folder of its own."""
    context = WorkerContext(factory, threads)
    for number, cell in enumerate(cells):
        (Path(folder) / f"{number}.key").write_text(context.key(cell))
        record, arrays = context.run(cell)
        RunStore(Path(folder) / str(number)).save(record, arrays)
        (Path(folder) / f"{number}.done").touch()
        if context.spoiled:
            break  # another job goes on with the rest
    end_despite_threads(0)


@dataclass
class _Job:
    """A job and what it has still to deliver."""

    job: Any
    folder: Path
    waiting: list[int]  # indices of cells, in the job's order
    next: int = 0  # number of its next result
    begun: float | None = None  # on time.monotonic, when its cell was first seen under way

    @property
    def started(self) -> bool:
        """Whether the next cell is under way."""
        return (self.folder / f"{self.next}.key").exists()

    @property
    def key(self) -> str:
        """The key of that cell, or ""."""
        return (self.folder / f"{self.next}.key").read_text() if self.started else ""


class _Jobs:
    """The jobs of one run."""

    def __init__(
        self, submitit: Any, settings: SlurmExecutor, folder: Path, queue: WorkQueue
    ) -> None:
        self.settings, self.folder, self.queue = settings, folder, queue
        self.jobs: list[_Job] = []
        try:
            self.executor = submitit.AutoExecutor(folder / "log", cluster=settings.cluster)
            self.executor.update_parameters(**self._parameters())
        except (TypeError, ValueError, NameError, RuntimeError) as error:
            raise ConfigError(_refused(error)) from None

    def _parameters(self) -> dict[str, Any]:
        threads = self.settings.threads
        if self.settings.cluster != "slurm":
            return {"name": "queryshift", "timeout_min": _DAY_MINUTES}
        own = {f"slurm_{name}": value for name, value in self.settings.options.items()}
        booked = {"name": "queryshift", "cpus_per_task": threads, "slurm_time": _DAY_MINUTES}
        return booked | own

    def work(self) -> list[Record]:
        cells = self.queue.cells
        places = {id(cell): index for index, cell in enumerate(cells)}
        try:
            for part in split(cells, min(self.settings.jobs or JOBS, len(cells))):
                self._submit([places[id(cell)] for cell in part])
            while not self.queue.ended:
                for job in list(self.jobs):
                    self._look(job)
                if not self.queue.ended:
                    time.sleep(POLL_SECONDS if self.settings.cluster == "slurm" else 0.1)
            return self.queue.results
        except KeyboardInterrupt:
            for job in self.jobs:
                if job.waiting and job.started:
                    self.queue.interrupt(job.waiting[0], job.key)
            raise
        finally:
            for job in self.jobs:
                with suppress(Exception):  # it has ended, or the cluster does not answer
                    job.job.cancel(check=False)
                if self.settings.cluster == "local":
                    job.job._process.wait(_SECONDS_TO_DIE)

    def _submit(self, indices: list[int]) -> None:
        folder = self.folder / str(len(self.jobs))
        folder.mkdir()
        cells, settings = [self.queue.cells[index] for index in indices], self.settings
        try:
            with environment_of_children(child_variables(settings.threads)):
                job = self.executor.submit(
                    run_part, settings.factory, cells, settings.threads, str(folder)
                )
        except Exception as error:  # what submitit makes of sbatch's refusal
            raise ConfigError(_refused(error)) from None
        self.jobs.append(_Job(job, folder, indices))

    def _look(self, job: _Job) -> None:
        """Takes what a job has finished; where it has ended, another does what is left."""
        if not job.waiting:
            return
        ended = job.job.done()  # asked first: what the job wrote before its end is there then
        while job.waiting and (job.folder / f"{job.next}.done").exists():
            store = RunStore(job.folder / str(job.next))
            (record,) = store.records()
            arrays = store.arrays(record.key) if record.status is Status.DONE else {}
            job.next, job.begun = job.next + 1, None
            self.queue.finish(job.waiting.pop(0), record, arrays)
        if not job.waiting:
            return
        limit = self.settings.time_limit
        if ended and (job.started or not job.next):
            self._on_death(job, Status.FAILED, f"WorkerDied: the job ended as {job.job.state}")
        elif ended:
            self._resubmit(job)
        elif limit is not None and job.started:
            job.begun = job.begun or time.monotonic()
            if time.monotonic() > job.begun + limit:
                job.job.cancel(check=False)
                reason = f"TimeLimit: the cell took longer than {limit:g} s; its job was stopped"
                self._on_death(job, Status.TIMEOUT, reason)

    def _on_death(self, job: _Job, status: Status, reason: str) -> None:
        """The cell under way ends so. What the job had not begun is run by another."""
        stillborn = not job.started
        self.queue.fail(job.waiting.pop(0), job.key, status, reason)
        if stillborn:  # so would the next be
            for index in job.waiting:
                self.queue.fail(index, "", status, reason)
            job.waiting = []
        self._resubmit(job)

    def _resubmit(self, job: _Job) -> None:
        rest, job.waiting = job.waiting, []
        if rest:
            self._submit(rest)


def _refused(error: Exception) -> str:
    why = " ".join(str(error).split())[:300]
    return f"Slurm does not take the jobs ({type(error).__name__}: {why}); check --slurm"
