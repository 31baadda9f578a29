"""A gallery of a million items: how long ranking takes beside the bare product, and its memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from benchmark.data.retrieval import Relevance, RetrievalSet, Texts
from benchmark.evaluation.environment import peak_mb, start_peak
from benchmark.metrics.ranking import copies_of, rank
from tests.perf.cells import in_child
from tests.perf.test_cache import resident_mb

GALLERY, DIM, QUERIES, BATCH = 1_000_000, 512, 1_000, 64
MEMORY_MB = 4096

JOB = f"""
import resource
from tests.perf.test_gallery import gallery, product_and_ranks, problem, queries
product_and_ranks(queries(), gallery(), problem({GALLERY}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def gallery(size: int = GALLERY) -> Tensor:
    """(N, 512) unit rows, made in place: no second copy of two gigabytes."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.empty(size, DIM).normal_(generator=generator)
    for part in rows.split(100_000):
        part.div_(part.norm(dim=1, keepdim=True))
    return rows


def queries() -> Tensor:
    rows = torch.randn(QUERIES, DIM, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(rows, dim=1)


class Numbers:
    """Items that nobody looks at."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.ids: list[str] = []

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> str:
        return str(index)


def problem(size: int) -> RetrievalSet:
    return RetrievalSet(
        name="million",
        query_modality="text",
        gallery_modality="image",
        queries=Texts([], [""] * QUERIES),
        gallery=Numbers(size),
        relevance=Relevance.from_lists([[q * (size // QUERIES)] for q in range(QUERIES)]),
        groups=np.arange(QUERIES),
        fingerprint="",
    )


def product(asked: Tensor, rows: Tensor) -> None:
    for part in asked.split(BATCH):
        part @ rows.T


def product_and_ranks(asked: Tensor, rows: Tensor, data: RetrievalSet) -> None:
    start = 0
    for part in asked.split(BATCH):
        rank(part @ rows.T, data, np.arange(start, start + len(part)))
        start += len(part)


@pytest.fixture(scope="module")
def rows() -> Tensor:
    return gallery()


def test_bare_product(benchmark: BenchmarkFixture, rows: Tensor) -> None:
    benchmark.group = "1,000 queries on 1,000,000 items"
    benchmark.pedantic(product, (queries(), rows), rounds=2, warmup_rounds=1)


def test_product_and_ranks(benchmark: BenchmarkFixture, rows: Tensor) -> None:
    benchmark.group = "1,000 queries on 1,000,000 items"
    benchmark.pedantic(
        product_and_ranks, (queries(), rows, problem(len(rows))), rounds=2, warmup_rounds=1
    )


def test_memory(benchmark: BenchmarkFixture) -> None:
    """A process of its own, whose peak is its own."""
    done = benchmark.pedantic(
        subprocess.run,
        ([sys.executable, "-c", JOB],),
        {"capture_output": True, "text": True, "check": True},
        rounds=1,
    )
    peak = float(done.stdout.split()[-1])
    benchmark.extra_info["peak_mb"] = round(peak)
    assert peak < MEMORY_MB


def added_by_copies(size: int) -> float:
    """What looking for equal rows adds to a process at its peak, over the gallery's own size."""
    torch.set_num_threads(1)
    rows = gallery(size)
    start_peak("cpu")
    before = resident_mb()
    copies_of(rows)
    return (peak_mb() - before) / (rows.nbytes / 2**20)


def test_memory_of_copies(benchmark: BenchmarkFixture) -> None:
    arguments = ("tests.perf.test_gallery", "added_by_copies", 100_000)
    added = benchmark.pedantic(in_child, arguments, rounds=1)
    benchmark.extra_info["added"] = round(added, 3)
    assert added < 0.5
