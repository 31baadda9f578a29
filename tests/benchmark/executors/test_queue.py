"""The queue of cells: who gets which, and that taking one costs the same in a queue of any size."""

from __future__ import annotations

import time

from benchmark.evaluation.callbacks import CallbackList
from benchmark.executors import WorkQueue
from tests.perf import invented_runs

NOBODY: frozenset[object] = frozenset()


def queue_of(count: int) -> WorkQueue:
    """Cells of eight methods on each stream."""
    return WorkQueue(list(invented_runs.cells(count)), lambda *_: None, CallbackList())


def test_a_worker_stays_on_its_stream_and_avoids_those_of_others() -> None:
    queue = queue_of(24)
    first, second, third = queue.streams[0], queue.streams[8], queue.streams[16]
    assert queue.take(None, NOBODY) == 0
    assert queue.take(None, frozenset({first})) == 8
    assert queue.take(first, frozenset({second})) == 1
    assert queue.take(None, frozenset({first, second, third})) == 2, "nothing else is left"
    assert len(queue) == 20


def test_a_lost_cell_is_the_next_one() -> None:
    queue = queue_of(16)
    taken = [queue.take(None, NOBODY) for _ in range(8)]
    assert taken == list(range(8))
    queue.put_back(3)
    assert len(queue) == 9
    assert [queue.take(None, NOBODY), queue.take(None, NOBODY)] == [3, 8]


def test_every_cell_is_taken_once() -> None:
    queue = queue_of(100)
    own = queue.streams[50]
    taken = [queue.take(own, NOBODY) for _ in range(100)]
    assert sorted(taken) == list(range(100))
    assert taken[:6] == [48, 49, 50, 51, 52, 53]
    assert len(queue) == 0


def seconds_to_empty(count: int) -> float:
    queue = queue_of(count)
    busy = frozenset({queue.streams[0]})
    own, begun = queue.streams[-1], time.process_time()
    for _ in range(count):
        own = queue.streams[queue.take(own, busy)]
    return time.process_time() - begun


def test_a_large_queue_is_no_slower_for_each_cell() -> None:
    small, large = (min(seconds_to_empty(n) for _ in range(3)) for n in (2_000, 32_000))
    assert large / small < 60  # 16 times the cells; by looking at all of them it was 256
