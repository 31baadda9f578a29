"""What a result was computed with: versions, machine, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmark.backbones.base import cpu_model

_DISTRIBUTIONS = {
    "queryshift": "queryshift",
    "torchvision": "torchvision",
    "open_clip": "open_clip_torch",
    "numpy": "numpy",
}


def environment(device: str = "cpu") -> dict[str, Any]:
    """Facts to store beside a result.

    Args:
        device: the torch device string that the cell runs on.

    Returns:
        Versions (None where not installed), CPU model, usable cores, torch threads, device and
        its name, git commit of the checkout (None where there is none), platform, and the time
        now (``started``: UTC, ISO 8601).
    """
    return {
        **_fixed(),
        "threads": torch.get_num_threads(),
        "device": device,
        "device_name": processor(device),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def processor(device: str) -> str:
    """Name of the GPU or CPU that cells on a device run on."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu_model()


@cache
def _fixed() -> dict[str, Any]:
    """What does not change while the process lives."""
    commit, dirty = _git_state(Path(__file__).resolve().parents[2])
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # unlike the metadata it names the build
        **{name: version_of(distribution) for name, distribution in _DISTRIBUTIONS.items()},
        "platform": f"{platform.system()}-{platform.machine()}",
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "git_commit": commit,
        "git_dirty": dirty,
    }


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _git_state(root: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout at ``root`` and whether tracked files differ from it.

    An installed package may lie inside somebody else's repository (a virtual environment in a
    checkout), whose commit would say nothing: only a repository rooted at ``root`` counts.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:
        return None, None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return _git(root, "rev-parse", "HEAD"), None if changed is None else bool(changed)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
