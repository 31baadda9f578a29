"""Digests of a data set's files: the first time all are read, later only asked for their state.

pytest tests/perf/test_digests.py
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from shifts import digests

IMAGES = 5000
BYTES = 100_000


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files of random bytes, old enough to be trusted, and a folder for their digests."""
    folder = tmp_path / "images"
    folder.mkdir()
    paths = [folder / f"{index:06}.jpg" for index in range(IMAGES)]
    for path in paths:
        path.write_bytes(os.urandom(BYTES))
    monkeypatch.setattr(digests, "TICK", 0)
    monkeypatch.setattr(digests, "_folder", tmp_path / "memo")
    return paths


def seconds(paths: list[Path]) -> float:
    """What it takes a process that knows no digest yet."""
    digests._recent.clear()
    begun = time.perf_counter()
    digests.digests_of(paths)
    return time.perf_counter() - begun


def test_first_and_later(benchmark: BenchmarkFixture, pictures: list[Path]) -> None:
    first = seconds(pictures)
    later = benchmark.pedantic(lambda: min(seconds(pictures) for _ in range(3)), rounds=1)
    begun = time.perf_counter()
    digests.digests_of(pictures)
    same = time.perf_counter() - begun
    benchmark.extra_info |= {
        "first": round(first, 3),
        "later": round(later, 3),
        "same_process": round(same, 3),
    }
    assert first < 3.0
    assert max(later, same) < 0.2
