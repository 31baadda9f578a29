"""The machine that a backbone computes on."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from benchmark.errors import ConfigError


@cache
def cpu_model() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def check_device(device: str) -> None:
    """Raises ConfigError unless it is a device that torch knows and this machine has."""
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ConfigError(f"unknown device {device!r}; expected 'cpu' or 'cuda'") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {device!r}: no CUDA device is available; use 'cpu'")
