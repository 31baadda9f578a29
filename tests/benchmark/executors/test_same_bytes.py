"""One grid by different executors: the same files, byte for byte but for machine and time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.config.run import BenchConfig, Shard
from benchmark.executors import SerialExecutor, part_of
from benchmark.executors.processes import ProcessExecutor
from benchmark.store.run_store import RunStore
from tests.benchmark.executors import worlds
from tests.benchmark.fakes import run_cells


def in_this_process(store: RunStore) -> None:
    shared = worlds.resources()
    run_cells(worlds.grid(), store, SerialExecutor(shared), resources=shared)


def by_processes(store: RunStore) -> None:
    executor = ProcessExecutor(worlds.resources, workers=2)
    run_cells(worlds.grid(), store, executor, resources=worlds.resources())


def by_shards(store: RunStore) -> None:
    for index in (1, 2, 3):
        shared = worlds.resources()
        part = part_of(worlds.grid(), BenchConfig(shard=Shard(index, 3)))
        run_cells(part, store, SerialExecutor(shared), resources=shared)


def backwards(store: RunStore) -> None:
    shared = worlds.resources()
    run_cells(worlds.grid()[::-1], store, SerialExecutor(shared), resources=shared)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(by_processes, marks=pytest.mark.slow),  # and Ray: see test_ray
        by_shards,
        backwards,
    ],
)
def test_the_same_bytes(way: Callable[[RunStore], None], tmp_path: Path) -> None:
    expected, found = RunStore(tmp_path / "here"), RunStore(tmp_path / "there")
    in_this_process(expected)
    way(found)
    content = worlds.content(expected)
    statuses = [record["status"] for record, _ in content.values()]
    assert (statuses.count("done"), statuses.count("failed")) == (12, 2)
    assert worlds.content(found) == content
    assert worlds.no_files_under_way(tmp_path)
