"""What a second method on the same shift spends on data, and what a hundred cells leave in memory.

The process that adapts prepares the data (no loader workers), so that nothing hides the time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmark.config.run import BenchConfig
from benchmark.evaluation.builders import default_resources
from benchmark.evaluation.workers import keep_freed_memory
from tests.perf.cells import IMAGES, TEXTS, done, in_child, mini_cell, without_disk

CELLS = 100
HERE = "tests.perf.test_cache"


def data_seconds(benchmark: str, shift: str) -> list[float]:
    """Of the first method on a shift, and of the second."""
    resources = default_resources(BenchConfig(cache="off", loader_workers=0))
    done(mini_cell("source", "none", benchmark=benchmark), resources)  # libraries, gallery
    return [
        done(mini_cell(method, shift, benchmark=benchmark), resources).cost["seconds_data"]
        for method in ("source", "tent")
    ]


@pytest.mark.parametrize(
    ("benchmark_id", "shift"), [(IMAGES, "contrast"), (IMAGES, "glass_blur"), (TEXTS, "ocr")]
)
def test_second_method(benchmark: BenchmarkFixture, benchmark_id: str, shift: str) -> None:
    runs = benchmark.pedantic(
        lambda: [in_child(HERE, "data_seconds", benchmark_id, shift) for _ in range(2)], rounds=1
    )
    ratio = min(second for _, second in runs) / min(first for first, _ in runs)
    benchmark.extra_info["second_to_first"] = round(ratio, 4)
    assert ratio <= 0.10


def resident_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(x for x in lines if x.startswith("VmRSS:")).split()[1]) / 1024


def resident_after_cells(kept: bool, count: int = CELLS, limit: int = 64) -> list[float]:
    """Resident size in MiB after each of so many cells of one process, all different."""
    if kept:
        keep_freed_memory()
    resources = without_disk()
    sizes = []
    for number in range(count):
        method = ("tent", "tcr", "rest", "eata")[number % 4]
        shift = ("contrast", "gaussian_noise")[number // 4 % 2]
        done(mini_cell(method, shift, limit=limit, seed=number // 8), resources)
        sizes.append(resident_mb())
    return sizes


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "returned"])
def test_memory_of_a_hundred_cells(benchmark: BenchmarkFixture, kept: bool) -> None:
    sizes: Any = benchmark.pedantic(in_child, (HERE, "resident_after_cells", kept), rounds=1)
    benchmark.extra_info |= {
        "last_to_first": round(sizes[-1] / sizes[0], 3),
        "last_to_tenth": round(sizes[-1] / sizes[9], 3),
    }
    assert sizes[-1] / sizes[0] <= 1.1, benchmark.extra_info
