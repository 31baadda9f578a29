"""Loader workers: processes that decode and corrupt ahead."""

from __future__ import annotations

import ctypes
import gc
import math
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController

from benchmark.errors import ConfigError, DataError, QueryShiftError, reason_of
from benchmark.evaluation.environment import usable_cores
from shifts.base import ShiftError

T = TypeVar("T")
U = TypeVar("U")

WORKERS_VARIABLE = "QUERYSHIFT_WORKERS"
"""How many processes that run cells share this machine; executors set it for their workers."""

WORTH_A_PROCESS = 256
"""Items from which on ``loader_workers`` starts processes by itself."""

MOST_BESIDE_A_GPU = 24
"""Processes that ``loader_workers`` starts by itself beside a GPU; half as many where it is not
known who else is on the machine. A fork takes 40 ms, about what one makes a costly query in."""

STALLED_SECONDS = 600.0
"""A part that takes longer is given up: its worker may be waiting for what will never come."""

ALLOCATOR_VARIABLES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000"}
"""glibc's own variables for the same two settings; where the user has set one, it holds.

Read once, when a process starts, so only child processes can be given them.
"""

# The numbers that malloc.h gives the parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = -1

_FRAMES_KEPT, _ORIGIN = 6, "_frames_of_loader_worker"
_ROOMS = (Path(__file__).parents[2] / name for name in ("benchmark", "methods", "shifts"))
_LIBRARIES = (Path(torch.__file__).parent, *_ROOMS)
_PATIENCE = 0.5  # seconds that workers have to end by themselves
_WAITING = 64  # parts that a worker is asked for at once: their numbers fit into its pipe


def loader_workers(asked: int | None, device: str, items: int) -> int:
    """How many processes load a stream.

    Args:
        asked: the user's choice; None leaves it to the machine: no process where every core has a
            cell of its own or the items are few, else one, and beside a GPU, which leaves its
            process's core idle, up to ``MOST_BESIDE_A_GPU``, fewer for few items.
        device: the torch device that adapts.
        items: how many are to be made.
    """
    if asked is not None:
        return asked
    if items < WORTH_A_PROCESS or "fork" not in multiprocessing.get_all_start_methods():
        return 0
    told = os.environ.get(WORKERS_VARIABLE, "")
    unknown = told.startswith("unknown")
    # A worker that does not know how many there are takes it that there is one for each core.
    cells = int(told) if told.isdigit() else 1 if parent_process() is None else usable_cores()
    if device.startswith("cuda"):
        most = MOST_BESIDE_A_GPU // (2 if unknown else 1)
        return max(1, min(most, math.isqrt(items), usable_cores() // max(1, cells) - 1))
    return int(not unknown and cells < usable_cores())


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes on one thread within, torch's and BLAS's, as loader workers do.

    NumPy's matrix products have threads of their own, which wait by spinning: those of two workers
    on two cores made both slower than one worker alone.
    """
    before = torch.get_num_threads()
    with _pools().limit(limits=1, user_api="blas"):
        if before == 1:
            yield
            return
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def keep_freed_memory() -> bool:
    """Tells glibc to keep large freed blocks in this process instead of returning them.

    By default each goes back to the kernel, which hands it out again page by page, cleared: a
    large part of the time of a training step on the CPU. The process's memory does not shrink
    afterwards. Worker processes get the same by variables when they are started, a loader's workers
    by this.

    Returns:
        Whether it is so: False with another C library, or where the user's variables say otherwise.
    """
    if any(name in os.environ for name in ALLOCATOR_VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no mallopt: musl, macOS, Windows
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))


@contextmanager
def loaded(
    make: Callable[[T], U], parts: Iterable[T], workers: int, *, ahead: int = 0
) -> Iterator[Iterator[U]]:
    """Gives ``make(part)`` for each part, in order, made ahead by worker processes.

    The workers are forks of this process: they start in milliseconds and nothing has to be
    picklable but results. They compute on one torch thread, so ``make`` must do so too for the
    same bits in this process. Leaving the block, by an error too, ends them; they end with this
    process, however it ends.

    Args:
        make: called in a worker; must not use the GPU. An error that it raises is raised where
            its result would have come out.
        parts: what to make; without workers they are taken one at a time.
        workers: how many; 0 makes each part when it is asked for, in this process.
        ahead: parts that may be under way at once; at least two for each worker are, and at most
            ``_WAITING``.

    Raises:
        ConfigError: workers on a system that cannot fork.
        DataError: a worker has died, or no worker has made anything for ``STALLED_SECONDS``.
    """
    if not workers:
        yield map(make, parts)
        return
    if "fork" not in multiprocessing.get_all_start_methods():
        raise ConfigError("loader workers need a system that can fork; say --loader-workers 0")
    every = list(parts)
    pool = _Pool(make, every)
    try:
        workers = min(workers, len(every))
        pool.start(workers)
        yield pool.results(min(max(ahead, 2 * workers), _WAITING * workers))
    finally:
        pool.stop()


class _Worker:
    """A process that makes parts. Nothing is shared with its siblings.

    Queues and events of ``multiprocessing`` hold locks that all workers share, and whoever ends a
    worker that holds one waits for it forever. A pipe of its own can be closed at any time.
    """

    def __init__(self, make: Callable[[Any], Any], parts: Sequence[Any], others: list[_Worker]):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        inherited = [self.pipe, *(other.pipe for other in others)]
        arguments = (make, parts, theirs, inherited, os.getpid())
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.asked = 0

    def ask(self, number: int) -> None:
        with suppress(OSError):  # it has died, which shows when its result is waited for
            self.pipe.send(number)
        self.asked += 1


class _Pool:
    def __init__(self, make: Callable[[Any], Any], parts: Sequence[Any]) -> None:
        self._make, self._parts = make, parts
        self._workers: list[_Worker] = []

    def start(self, count: int) -> None:
        """Forks the workers.

        A fork has one thread, whatever this process has, and locks that others held stay locked in
        it. So it must not need the others: the number of threads is set before, where a pool of
        threads can still be ended, and it frees nothing that it has inherited, which may lie on a
        GPU.
        """
        with one_thread():
            gc.freeze()
            try:
                for number in range(count):
                    self._workers.append(_Worker(self._make, self._parts, self._workers))
                    self._workers[-1].ask(number)  # it works while the others start
            finally:
                gc.unfreeze()

    def results(self, ahead: int) -> Iterator[Any]:
        """The results in order; so many parts are under way or wait to be fetched."""
        found: dict[int, Any] = {}
        asked = len(self._workers)
        for number in range(len(self._parts)):
            while asked < min(number + ahead, len(self._parts)):
                min(self._workers, key=lambda worker: worker.asked).ask(asked)
                asked += 1
            while number not in found:
                found |= self._received()
            result = found.pop(number)
            if isinstance(result, _Failure):
                vars(result.error)[_ORIGIN] = result.frames
                raise result.error
            yield result

    def _received(self) -> dict[int, Any]:
        """What workers have sent, at least one result."""
        ready = wait([worker.pipe for worker in self._workers], STALLED_SECONDS)
        if not ready:
            raise DataError(
                f"no loader worker has made anything for {STALLED_SECONDS:g} s, though they run; "
                "if a query can take so long, or this happens again, say --loader-workers 0"
            )
        found = {}
        for worker in self._workers:
            if worker.pipe not in ready:
                continue
            try:
                number, result = pickle.loads(worker.pipe.recv_bytes())
            except (EOFError, OSError) as error:
                worker.process.join(_PATIENCE)
                code = worker.process.exitcode or 0
                how = f"signal {signal.Signals(-code).name}" if code < 0 else "exit"
                raise DataError(
                    f"a loader worker has died ({how}; out of memory?); ask for fewer with "
                    "--loader-workers, 0 for none"
                ) from error
            worker.asked -= 1
            found[number] = result
        return found

    def stop(self) -> None:
        """Ends the workers: idle ones go when their pipe is closed, the others are killed."""
        for worker in self._workers:
            worker.pipe.close()
        deadline = time.monotonic() + _PATIENCE
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.process.close()


class _Failure:
    """An error on its way from a worker."""

    def __init__(self, error: Exception) -> None:
        self.frames = frames_of(error)
        try:
            pickle.loads(pickle.dumps(error))
            self.error = error
        except Exception:
            self.error = RuntimeError(reason_of(error))


def _work(
    make: Callable[[Any], Any],
    parts: Sequence[Any],
    pipe: Connection,
    inherited: Sequence[Connection],
    parent: int,
) -> None:
    """A worker's life: makes what it is asked for until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
    keep_freed_memory()
    for other in inherited:
        other.close()  # or nobody would see its other end close
    made: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_send, args=(pipe, made), daemon=True).start()
    while True:
        try:
            number = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            sent = pickle.dumps((number, make(parts[number])))
        except Exception as error:
            sent = pickle.dumps((number, _Failure(error)))
        made.put(sent)


def _send(pipe: Connection, made: queue.SimpleQueue[bytes]) -> None:
    """Sends results while the next ones are made: a pipe holds less than one."""
    with suppress(OSError):  # nobody wants them any more
        while True:
            pipe.send_bytes(made.get())


def frames_of(error: BaseException) -> dict[str, Any]:
    """Where an error that is not the user's came from: the innermost frames, outermost first.

    And ``where``, the innermost one that is not torch's, Python's or ours: a plugin's, or "".
    """
    if isinstance(error, QueryShiftError | ShiftError):
        return {}
    if _ORIGIN in vars(error):  # it comes from a loader worker
        return dict(vars(error)[_ORIGIN])
    paths, texts = [], []
    for frame in traceback.extract_tb(error.__traceback__):
        paths.append(path := Path(frame.filename))
        texts.append(f"{Path(*path.parts[-2:])}:{frame.lineno} in {frame.name}")
    python = Path(os.__file__).parent
    own = [
        path.parent != python and not any(map(path.is_relative_to, _LIBRARIES)) for path in paths
    ]
    where = [text for text, theirs in zip(texts, own, strict=True) if theirs]
    return {"frames": texts[-_FRAMES_KEPT:], "where": "".join(where[-1:])}
