"""Loader workers: processes of torch's DataLoader that decode and corrupt ahead."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from benchmark.errors import ConfigError, DataError
from benchmark.evaluation.environment import usable_cores
from benchmark.evaluation.outputs import frames_of

T = TypeVar("T")
U = TypeVar("U")

WORKERS_VARIABLE = "QUERYSHIFT_WORKERS"
"""How many processes that run cells share this machine; executors set it for their workers."""

WORTH_A_PROCESS = 256
"""Items from which on ``loader_workers`` starts processes by itself."""

MOST_BESIDE_A_GPU = 4
"""Processes that ``loader_workers`` starts by itself beside a GPU."""


def loader_workers(asked: int | None, device: str, items: int) -> int:
    """How many processes load a stream.

    Args:
        asked: the user's choice; None leaves it to the machine: no process where every core has a
            cell of its own or the items are few, else one, and beside a GPU, which leaves its
            process's core idle, up to ``MOST_BESIDE_A_GPU``.
        device: the torch device that adapts.
        items: how many are to be made.
    """
    if asked is not None:
        return asked
    if items < WORTH_A_PROCESS or "fork" not in torch.multiprocessing.get_all_start_methods():
        return 0
    told = os.environ.get(WORKERS_VARIABLE, "")
    # A worker that does not know how many there are takes it that there is one for each core.
    cells = int(told) if told.isdigit() else 1 if parent_process() is None else usable_cores()
    if device.startswith("cuda"):
        return min(MOST_BESIDE_A_GPU, max(1, usable_cores() // max(1, cells) - 1))
    return int(not told.startswith("unknown") and cells < usable_cores())


@contextmanager
def loaded(make: Callable[[T], U], parts: Sequence[T], workers: int) -> Iterator[Iterator[U]]:
    """Gives ``make(part)`` for each part, in order, made ahead by worker processes.

    The workers are forks of this process: they start in milliseconds and nothing has to be
    picklable but results. They compute on one torch thread, so ``make`` must do so too for the
    same bits in this process. Leaving the block, by an error too, ends them; they end with this
    process, however it ends.

    Args:
        make: called in a worker; must not use the GPU. An error that it raises is raised where
            its result would have come out.
        parts: what to make.
        workers: how many; 0 makes each part when it is asked for, in this process.

    Raises:
        ConfigError: workers on a system that cannot fork.
        DataError: a worker has died.
    """
    if not workers or not parts:
        yield map(make, parts)
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        running = _started(_Parts(make, parts, os.getpid()), min(workers, len(parts)))
    finally:
        # The loader's handler would raise in the middle of the method's own code.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)
    try:
        yield _results(running)
    finally:
        for process in running._workers:
            process.terminate()  # rather than wait for items that nobody wants
        running._shutdown_workers()


class _Parts(Dataset[Any], Generic[T, U]):
    def __init__(self, make: Callable[[T], U], parts: Sequence[T], parent: int) -> None:
        self._make, self._parts, self.parent = make, parts, parent

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, place: int) -> U | _Failure:
        try:
            return self._make(self._parts[place])
        except Exception as error:
            return _Failure(error)


def _started(parts: _Parts[Any, Any], workers: int) -> Any:
    """The iterator of a DataLoader, its workers begun."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more workers than cores: the user asked for them
        try:
            return iter(
                DataLoader(
                    parts,
                    batch_size=None,
                    num_workers=workers,
                    collate_fn=_itself,
                    worker_init_fn=_begin,
                    multiprocessing_context="fork",
                    generator=torch.Generator(),  # the global one's next numbers are the method's
                )
            )
        except ValueError as error:
            raise ConfigError(
                f"loader workers need a system that can fork ({error}); say --loader-workers 0"
            ) from None


class _Failure:
    """An error on its way from a worker; the DataLoader would bury it in a traceback."""

    def __init__(self, error: Exception) -> None:
        self.frames = frames_of(error)
        try:
            pickle.loads(pickle.dumps(error))
            self.error = error
        except Exception:
            self.error = RuntimeError(f"{type(error).__name__}: {error}")


def _results(running: Any) -> Iterator[Any]:
    while True:
        try:
            result = next(running)
        except StopIteration:
            return
        except RuntimeError as error:
            codes = [process.exitcode for process in running._workers if process.exitcode]
            how = f"signal {signal.Signals(-codes[0]).name}" if codes and codes[0] < 0 else "exit"
            raise DataError(
                f"a loader worker has died ({how}; out of memory?); ask for fewer with "
                "--loader-workers, 0 for none"
            ) from error
        if isinstance(result, _Failure):
            vars(result.error).update(result.frames)
            raise result.error
        yield result


def _begin(number: int) -> None:
    """Makes a worker end with its parent, and leaves Ctrl-C to that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    info: Any = torch.utils.data.get_worker_info()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != info.dataset.parent:
        os._exit(1)


def _itself(value: T) -> T:
    return value
