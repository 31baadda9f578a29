"""The C library keeps freed memory, unless the user has said what it is to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmark.evaluation import workers

JOB = """
import resource
from benchmark.evaluation.workers import keep_freed_memory, loaded
import numpy
def faults():
    numpy.ones(8 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        numpy.ones(8 << 20)  # 64 MiB: 16,384 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def made_by_a_worker(part):
    return faults()
with loaded(made_by_a_worker, [0], 1) as made:
    by_a_worker = next(made)
print(faults(), by_a_worker, keep_freed_memory(), faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_blocks_are_used_again_without_page_faults() -> None:
    """In a process of its own, whose allocator nobody has told anything."""
    command, bare = [sys.executable, "-c", JOB], {"PATH": "/usr/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=bare)
    without, by_a_worker, said, faults = done.stdout.split()
    if said == "False":
        pytest.skip("another C library")
    assert max(int(faults), int(by_a_worker)) < 0.1 * int(without)


def test_the_users_own_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "65536")
    assert workers.keep_freed_memory() is False


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in workers.ALLOCATOR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(workers.ctypes, "CDLL", lambda name: object())
    assert workers.keep_freed_memory() is False
