"""Beside each figure: how busy the machine was, which decides how far a time can be trusted."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture


@pytest.fixture(autouse=True)
def load_average(benchmark: BenchmarkFixture) -> Iterator[None]:
    """Notes the mean number of processes that wanted to run in the last minute of the test."""
    yield
    benchmark.extra_info["load"] = round(os.getloadavg()[0], 1)
