"""Content addresses: everything that a cached number depends on, hashed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

SCHEMA = 2
"""Raised when the harness computes cached content in another way."""

_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")
"""Variables that keep torch's libraries from using instructions that the processor has."""

_LIBRARIES = ("numpy", "pillow", "torchvision", "open_clip_torch", "transformers")


def address(**facts: Any) -> str:
    """32 hex digits over plain facts; equal facts, equal address, on every machine."""
    text = json.dumps({**facts, "schema": SCHEMA}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def numerics(device: str) -> dict[str, Any]:
    """What decides the last bits of what torch computes: build, device, threads, precision.

    An entry is only shared where these agree, so that a cached number is the one that would have
    been computed.
    """
    facts: dict[str, Any] = {
        "torch": str(torch.__version__),
        "libraries": _versions(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "amx": torch.cpu._is_amx_tile_supported(),
        "isa": {name: os.environ.get(name, "") for name in _ISA_VARIABLES},
        "threads": torch.get_num_threads(),
        "matmul": torch.get_float32_matmul_precision(),
    }
    if device.startswith("cuda"):
        facts |= {
            "device": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
            "benchmark": torch.backends.cudnn.benchmark,
        }
    return facts


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def code_of(*things: object) -> str:
    """A hash of the source files that functions and objects come from; "" where one has none.

    Versions are raised by hand, and while a shift or a backbone is being written they are not:
    cached inputs must not outlive the code that made them. All files of the top-level package
    count, of this package those of the part that it is in (``benchmark.backbones``).
    """
    hashes = [_code(str(thing.__module__)) for thing in things if thing is not None]
    return "" if "" in hashes else "+".join(sorted(set(hashes)))


@cache
def _code(module: str) -> str:
    parts = module.split(".")
    package = sys.modules.get(".".join(parts[: 2 if parts[0] == "benchmark" else 1]))
    folders = list(getattr(package, "__path__", []))
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    if not folders:
        own = getattr(package or sys.modules.get(module), "__file__", None)
        files = [Path(own)] if own else []
    digest = hashlib.sha256()
    for path in files:
        try:
            digest.update(path.read_bytes())
        except OSError:
            return ""
    return digest.hexdigest()[:16] if files else ""
