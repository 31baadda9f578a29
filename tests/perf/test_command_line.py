"""How long a user waits for names: the issue asks for less than half a second."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import benchmark as package

ROOT = Path(package.__file__).resolve().parents[1]


@pytest.mark.parametrize("kind", ["methods", "shifts", "benchmarks", "backbones"])
def test_list(benchmark, kind):
    command = [sys.executable, "-m", "benchmark", "list", kind]
    done = benchmark.pedantic(
        lambda: subprocess.run(command, cwd=ROOT, capture_output=True, check=True),
        rounds=5,
        warmup_rounds=1,
    )
    assert done.stdout
