"""Who gets which cells: shards are a partition by whole streams, and the queue is quick."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmark.cell import BackboneSpec, Cell
from benchmark.config.run import BenchConfig, Shard
from benchmark.evaluation.callbacks import CallbackList
from benchmark.executors import WorkQueue, part_of
from tests.benchmark import fakes
from tests.perf import invented_runs


def cells(sizes: tuple[int, ...]) -> list[Cell]:
    """For each benchmark so many seeds, three methods each."""
    return [
        fakes.cell(method, benchmark=f"b{number}", seed=seed)
        for number, size in enumerate(sizes)
        for seed in range(size)
        for method in ("source", "trained", "random")
    ]


def split(every: list[Cell], count: int) -> list[list[Cell]]:
    shards = [Shard(number + 1, count) for number in range(count)]
    return [part_of(every, BenchConfig(shard=shard)) for shard in shards]


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    count=st.integers(1, 30),
    order=st.randoms(use_true_random=False),
)
def test_shards_are_a_partition_that_does_not_depend_on_the_order(sizes, count, order):
    every = cells(tuple(sizes))
    assume(count <= len(every))
    parts = split(every, count)
    assert Counter(repr(c) for part in parts for c in part) == Counter(map(repr, every))
    assert max(map(len, parts)) - min(map(len, parts)) <= 3  # one stream
    assert all(parts)
    shuffled = list(every)
    order.shuffle(shuffled)
    assert split(shuffled, count) == parts


def test_shards_do_not_depend_on_where_data_and_devices_are():
    here = cells((2, 3))
    there = [
        replace(cell, data_root="/elsewhere", backbone=replace(cell.backbone, device="cuda"))
        for cell in here
    ]
    keys = [
        [[repr((c.benchmark, c.seed, c.method)) for c in p] for p in split(x, 3)]
        for x in (here, there)
    ]
    assert keys[0] == keys[1]


def test_benchmarks_lie_side_by_side():
    for part in split(cells((4, 4, 4, 4)), 2):
        assert len(part) == 24
        assert len({cell.benchmark for cell in part}) == 2


def test_streams_stay_whole_so_that_the_source_is_beside_its_methods():
    (one, two) = split(cells((5,)), 2)
    assert {len(one), len(two)} == {6, 9}
    for part in (one, two):
        assert {Counter(c.seed for c in part)[seed] for seed in {c.seed for c in part}} == {3}


def test_more_parts_than_streams_split_streams():
    parts = split(cells((1,)), 3)
    assert [len(part) for part in parts] == [1, 1, 1]


def test_other_weights_are_other_groups():
    tuned = BackboneSpec("fake", pretrained="tuned.pt")
    both = [*cells((2,)), *(replace(cell, backbone=tuned) for cell in cells((2,)))]
    assert [{c.backbone.pretrained for c in part} for part in split(both, 2)] in (
        [{""}, {"tuned.pt"}],
        [{"tuned.pt"}, {""}],
    )


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
    assert [queue.take(None, NOBODY) for _ in range(8)] == list(range(8))
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
