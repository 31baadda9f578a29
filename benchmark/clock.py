"""Measures what a cell costs: wall time by name, highest memory."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Adds up wall time by name; on a GPU it waits for the work that was asked for."""

    def __init__(self, device: str) -> None:
        self._device = device if device.startswith("cuda") else ""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        begun = self.now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - begun

    def now(self) -> float:
        """Seconds on a clock that only runs forwards."""
        if self._device:
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def start_peak(device: str) -> None:
    """Forgets the highest use of device memory so far."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak_mb() -> float:
    """Largest resident size of this process so far, earlier cells included, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS
    return size / 2**20 if size else math.nan
