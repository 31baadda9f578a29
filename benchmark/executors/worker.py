"""Worker: a process that runs the cells it is sent through a pipe."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np
import torch

from benchmark.cell import Cell, Record, Status, reason_of, unfinished
from benchmark.evaluation.callbacks import Callback
from benchmark.evaluation.prefetch import WORKERS_VARIABLE
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.executors import allocator

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def child_variables(threads: int, device: str = "", workers: int | None = None) -> dict[str, str]:
    """Environment variables that a worker must find when it starts.

    Args:
        threads: torch threads of the worker.
        device: the worker's value of CUDA_VISIBLE_DEVICES, "" to leave that as it is.
        workers: how many there are on the machine, None where that is not known.
    """
    # The user's own settings of the allocator win; the number of threads is the executor's.
    wanted = {name: os.environ.get(name, value) for name, value in allocator.VARIABLES.items()}
    wanted |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    wanted[WORKERS_VARIABLE] = str(workers or "unknown")
    return wanted | ({"CUDA_VISIBLE_DEVICES": device} if device else {})


@contextmanager
def environment_of_children(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for what is started within."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class WorkerContext:
    """What a worker keeps from cell to cell: its own resources, or why it has none.

    Args:
        factory: makes the resources.
        threads: torch threads of this process.
    """

    def __init__(self, factory: Callable[[], Resources], threads: int) -> None:
        torch.set_num_threads(threads)
        self._resources: Resources | None = None
        self._problem = ""
        try:
            self._resources = factory()
        except (Exception, SystemExit) as error:
            # Reported with every cell that comes; dying would only respawn.
            self._problem = reason_of(error)

    @property
    def spoiled(self) -> bool:
        """A cell has changed what others share: another worker is to run the next one."""
        return self._resources is not None and self._resources.spoiled

    def key(self, cell: Cell) -> str:
        """The cell's key, or "" where its data or weights cannot be loaded."""
        if self._resources is None:
            return ""
        try:
            return self._resources.key(cell)
        except BaseException:  # run_cell meets the same error and turns it into the cell's record
            return ""

    def run(
        self, cell: Cell, progress: Callback | None = None
    ) -> tuple[Record, dict[str, np.ndarray]]:
        """Runs a cell; whatever goes wrong is in its record."""
        if self._resources is None:
            return unfinished(cell, "", Status.FAILED, self._problem), {}
        return run_cell(cell, self._resources, progress=progress)


class _Relay:
    """Callback that sends events through the pipe; the end of a cell is told with its record."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def cell_started(self, cell: Cell, batches: int) -> None:
        self._connection.send(("started", batches))

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        self._connection.send(("batch", dict(batch_log)))

    def cell_done(self, record: Record) -> None:
        return None


def serve(connection: Connection, factory: Callable[[], Resources], threads: int) -> None:
    """Runs cells as they come through the pipe, until it closes.

    Sends ("begun",), ("key", key), ("started", batches), ("batch", log) and ("done", record,
    arrays, whether the worker is spoiled) for each.
    """
    # Ctrl-C reaches the whole process group; the parent decides what becomes of the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    context = WorkerContext(factory, threads)
    try:
        while True:
            cell = connection.recv()
            connection.send(("begun",))
            connection.send(("key", context.key(cell)))  # told early: a dead worker cannot
            record, arrays = context.run(cell, _Relay(connection))
            connection.send(("done", record, arrays, context.spoiled))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is done with us, or gone


def _end_with_parent() -> None:
    """Ends this process when its parent is gone: a hanging cell would otherwise stay for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
