"""Process executor: workers with data, weights and torch threads of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from benchmark.evaluation.environment import usable_cores
from benchmark.evaluation.resources import Resources
from benchmark.executors.pool import PoolExecutor, Worker
from benchmark.executors.worker import child_variables, environment_of_children, serve

_SECONDS_TO_DIE = 10.0
"""How long a killed worker is waited for: one that hangs in the kernel may never go."""


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
        name = signal.Signals(-code).name
        hint = "; out of memory?" if name == "SIGKILL" else ""
        return f"signal {name}{hint}"
    return f"exit code {code}"
