"""Memory does not grow with the number of cells, with a disk cache and without."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import benchmark
from benchmark.cell import Status
from benchmark.evaluation.cache import DiskCache
from benchmark.evaluation.runner import run_cell
from tests.benchmark import fakes

ROOT = Path(benchmark.__file__).resolve().parents[1]
CELLS = 100
WIDE = 50_000
"""Numbers per query: 6 MB per stream, so that a hundred streams cannot hide."""


class Wide(fakes.FakeBackbone):
    """Inputs with much beside what the encoder looks at."""

    def preprocess(self, modality: str) -> Callable[[Any], Tensor]:
        plain = super().preprocess(modality)
        return lambda item: torch.cat([plain(item), torch.ones(WIDE)])

    def collate(self, modality: str, inputs: Sequence[Tensor]) -> Tensor:
        return torch.stack([row[:-WIDE] for row in inputs])


def resident() -> float:
    """Bytes of this process that lie in memory."""
    return float(Path("/proc/self/statm").read_text().split()[1])


def run_cells(folder: str) -> None:
    """Prints the resident size after the last cell over that after the first."""
    torch.set_num_threads(1)
    disk = DiskCache(Path(folder), 1 << 30) if folder else None
    resources = fakes.resources(load_backbone=lambda spec: Wide(), disk=disk)
    sizes = []
    for number in range(CELLS):
        method = ("source", "trained")[number % 2]
        record, _ = run_cell(fakes.cell(method, seed=number), resources)
        assert record.status == Status.DONE, record.reason
        sizes.append(resident())
    print(sizes[-1] / sizes[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("cached", [True, False])
def test_a_hundred_cells_take_no_more_memory_than_one(tmp_path: Path, cached: bool) -> None:
    job = f"from {__name__} import run_cells; run_cells({str(tmp_path) if cached else ''!r})"
    done = subprocess.run(
        [sys.executable, "-c", job], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1.1
