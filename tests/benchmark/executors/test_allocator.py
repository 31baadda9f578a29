"""The C library keeps freed memory, unless the user has said what it is to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmark.executors import choose

JOB = """
import resource
from benchmark.executors.choose import keep_freed_memory
said = {call}
import numpy
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
numpy.ones(8 << 20)
before = faults()
for _ in range(10):
    numpy.ones(8 << 20)  # 64 MiB: 16,384 pages
print(said, faults() - before)
"""


def run(call: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", JOB.format(call=call)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin"},
    )
    said, faults = done.stdout.split()
    return said, int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_blocks_are_used_again_without_page_faults() -> None:
    said, faults = run("keep_freed_memory()")
    if said == "False":
        pytest.skip("another C library")
    _, without = run("None")
    assert faults < 0.1 * without


def test_the_users_own_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "65536")
    assert choose.keep_freed_memory() is False


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in choose.ALLOCATOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(choose.ctypes, "CDLL", lambda name: object())
    assert choose.keep_freed_memory() is False
