"""Worker: runs the cells that it is sent, in a process of its own; the end of such a process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

from benchmark.cell import Cell, Record, Status, unfinished
from benchmark.errors import reason_of
from benchmark.evaluation.callbacks import Callback
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.evaluation.workers import ALLOCATOR_VARIABLES, WORKERS_VARIABLE

GRACE = 5.0
"""Seconds that threads of others have to finish when a process ends; Python would wait for ever."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def child_variables(threads: int, device: str = "", workers: int | None = None) -> dict[str, str]:
    """Environment variables that a worker must find when it starts.

    Args:
        threads: torch threads of the worker.
        device: the worker's value of CUDA_VISIBLE_DEVICES, "" to leave that as it is.
        workers: how many there are on the machine, None where that is not known.
    """
    # The user's own settings of the allocator win; the number of threads is the executor's.
    wanted = {name: os.environ.get(name, value) for name, value in ALLOCATOR_VARIABLES.items()}
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
    """What a worker keeps from cell to cell: its own resources, or why it has none."""

    def __init__(self, factory: Callable[[], Resources], threads: int) -> None:
        torch.set_num_threads(threads)
        self._resources: Resources | None = None
        self._problem = ""
        try:
            self._resources = factory()
        except (Exception, SystemExit) as error:
            # Reported with every cell that comes; dying would only respawn.
            self._problem = reason_of(error)

    def run(
        self, cell: Cell, progress: Callback | None = None
    ) -> tuple[Record, dict[str, np.ndarray], bool]:
        """Record and numbers per query, whatever goes wrong, and whether the worker is spoiled.

        Spoiled: the cell has changed what others share, and another worker is to run the next one.
        """
        if self._resources is None:
            return unfinished(cell, "", Status.FAILED, self._problem), {}, False
        record, arrays = run_cell(cell, self._resources, progress=progress)
        return record, arrays, self._resources.spoiled


class _Relay:
    """Callback that sends events through the pipe; the end of a cell is told with its record."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self._channel.send(("started", batches, queries))

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        self._channel.send(("batch", dict(batch_log)))

    def cell_done(self, record: Record) -> None:
        return None


def serve(
    channel: Any, factory: Callable[[], Resources], threads: int, *, batches: bool = True
) -> None:
    """Runs cells as they come, until the pipe closes, and sends the events of ``Pool.events``.

    Args:
        channel: a pipe to the process that hands out cells; recv raises EOFError when it closes.
        batches: send the events of single batches too.
    """
    context = WorkerContext(factory, threads)
    relay = _Relay(channel) if batches else None
    try:
        channel.send(("ready",))
        while True:
            cell = channel.recv()
            channel.send(("begun",))
            channel.send(("done", *context.run(cell, relay)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the other end is done with us, or gone


def end_despite_threads(code: int, grace: float = GRACE) -> None:
    """Lets this process end at most ``grace`` seconds after its work, with this exit code.

    A method that starts a thread and never ends it would keep a run from ending. Returns at once;
    Python ends as always, and only where it waits for such threads it is cut short with a line.
    """
    timer = threading.Timer(grace, _end, (code,))
    timer.daemon = True
    timer.start()


def _end(code: int) -> None:
    own = (threading.main_thread(), threading.current_thread())
    names = [repr(t.name) for t in threading.enumerate() if not t.daemon and t not in own]
    if not names:
        return
    with suppress(Exception):
        line = "warning: ended without waiting for threads that a plugin left running"
        print(f"{line}: {', '.join(names)}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
