"""Prepares the next batches while the current one is adapted on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import parent_process
from typing import TypeVar

import torch

from benchmark.evaluation.environment import usable_cores

T = TypeVar("T")
U = TypeVar("U")

WORKERS_VARIABLE = "QUERYSHIFT_WORKERS"
"""How many worker processes share this machine; executors set it for their workers."""

DEPTH = 2
"""Batches that are prepared ahead."""


def depth_for(device: str) -> int:
    """How many batches to prepare ahead: none where every core has a process of its own.

    A GPU leaves its process's core idle for most of a step, so there it is always worth while.

    Args:
        device: the torch device that adapts.
    """
    if device.startswith("cuda"):
        return DEPTH
    told = os.environ.get(WORKERS_VARIABLE, "")
    if told.isdigit():
        return DEPTH if int(told) < usable_cores() else 0
    # A worker that does not know how many there are takes it that there is one for each core.
    alone = not told and parent_process() is None
    return DEPTH if alone and usable_cores() > 1 else 0


@contextmanager
def prefetched(items: Iterable[T], make: Callable[[T], U], depth: int) -> Iterator[Iterator[U]]:
    """Gives ``make(item)`` for each item, in order, made ahead by one other thread.

    What comes out is the same as without: one thread makes all of it, one after the other. An
    error in ``make`` is raised where its result would have come out. Leaving the block waits for
    what is being made and drops the rest.

    Args:
        items: iterated in the caller's thread.
        make: called in the other thread, with as many torch threads as the caller has.
        depth: how many results wait at most; 0 makes each when it is asked for, in this thread.
    """
    if depth < 1:
        yield (make(item) for item in items)
        return
    pool = ThreadPoolExecutor(1, "prefetch", torch.set_num_threads, (torch.get_num_threads(),))
    try:
        yield _ahead(iter(items), make, depth, pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ahead(
    items: Iterator[T], make: Callable[[T], U], depth: int, pool: ThreadPoolExecutor
) -> Iterator[U]:
    waiting: deque[Future[U]] = deque()
    for item in items:
        waiting.append(pool.submit(make, item))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
