"""Process executor: workers with data, weights and torch threads of their own."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from benchmark.cell import Cell, Record
from benchmark.evaluation.callbacks import Callback
from benchmark.evaluation.environment import usable_cores
from benchmark.evaluation.resources import Resources
from benchmark.executors.pool import Pool, Worker, check_numbers
from benchmark.executors.work_queue import Save, WorkQueue
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
        check_numbers(workers, threads, time_limit)
        self.factory = factory
        self.workers = workers
        self.threads = threads
        self.devices = tuple(devices)
        self.time_limit = time_limit

    def run(
        self,
        cells: Sequence[Cell],
        save: Save,
        *,
        progress: Callback | None = None,
    ) -> list[Record]:
        """See ``Executor.run``."""
        return _ProcessPool(self, WorkQueue(cells, save, progress=progress)).run()


@dataclass(eq=False)
class _Process(Worker):
    process: BaseProcess
    connection: Connection
    slot: int  # its place in the pool, which decides its GPU


class _ProcessPool(Pool[_Process]):
    def __init__(self, settings: ProcessExecutor, queue: WorkQueue) -> None:
        size = min(settings.workers or usable_cores(), len(queue.cells))
        super().__init__(queue, size, settings.time_limit)
        self.settings = settings

    def start(self) -> _Process:
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
        return _Process(process, ours, slot)

    def send(self, worker: _Process, index: int) -> None:
        with suppress(OSError):  # dead: its closed pipe is the next event
            worker.connection.send(self.queue.cells[index])

    def events(self, timeout: float | None) -> Iterator[tuple[_Process, str, list[Any]]]:
        by_connection: dict[Any, _Process] = {w.connection: w for w in self.workers}
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


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; out of memory?" if name == "SIGKILL" else ""
        return f"signal {name}{hint}"
    return f"exit code {code}"
