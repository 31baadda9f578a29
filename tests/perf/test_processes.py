"""Throughput of worker processes on cells of the mini grid: one, two, and one with two threads.

Counted from the first batch of the first cell to the end of the last cell: starting a worker costs
some seconds whatever the grid's size, and a grid has thousands of cells.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.cell import Cell, Record
from benchmark.executors.processes import ProcessExecutor
from tests.perf.cells import fastest, mini_cell, without_disk

METHODS = ("source", "tent", "eata", "sar", "read", "tcr", "rest")
SHIFTS = ("contrast", "gaussian_noise")
LIMIT = 128


class Watch:
    """When the first cell began to adapt."""

    def __init__(self) -> None:
        self.begun = 0.0

    def cell_started(self, cell: Cell, batches: int, queries: int) -> None:
        self.begun = self.begun or time.perf_counter()

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        return None

    def cell_done(self, record: Record) -> None:
        return None


def seconds(workers: int, threads: int) -> float:
    cells = [mini_cell(method, shift, limit=LIMIT) for shift in SHIFTS for method in METHODS]
    executor, watch = ProcessExecutor(without_disk, workers=workers, threads=threads), Watch()
    records = executor.run(cells, lambda record, arrays: None, progress=watch)
    assert {record.status.value for record in records} == {"done"}
    return time.perf_counter() - watch.begun


def test_two_processes(benchmark: BenchmarkFixture) -> None:
    jobs = [lambda: seconds(1, 1), lambda: seconds(2, 1), lambda: seconds(1, 2)]
    one, two, threads = benchmark.pedantic(fastest, (jobs, 2), rounds=1)
    benchmark.extra_info |= {
        "two_processes": round(one / two, 3),
        "two_threads": round(one / threads, 3),
    }
    assert two < threads, benchmark.extra_info
    assert one / two >= 1.7, benchmark.extra_info
