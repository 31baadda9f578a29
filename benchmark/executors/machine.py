"""Size of a pool on this machine: workers, threads and GPUs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from benchmark.config.kinds import AUTO_WORKERS
from benchmark.config.run import BenchConfig

LOCAL = "local"
"""Address that stands for a Ray cluster on this machine, started for the run and ended with it."""

WORKER_BYTES = 2 << 30
"""Memory that a worker is counted with: interpreter, libraries, an encoder of ViT-B size with its
gradients at 64 queries, a gallery and the cache of preprocessed queries."""

ALLOCATOR_VARIABLES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000"}
"""glibc's own variables for the same two settings; where the user has set one, it holds.

Read once, when a process starts, so only child processes can be given them.
"""

# The numbers that malloc.h gives the parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = -1


def wanted_workers(config: BenchConfig) -> int:
    """The number of workers asked for, or ``AUTO_WORKERS``."""
    if config.workers is not None:
        return config.workers
    return AUTO_WORKERS if config.executor in ("processes", "ray", "slurm") else 1


def planned_workers(config: BenchConfig, waiting: int) -> int:
    """How many cells run at the same time on this machine, for an estimate."""
    wanted = wanted_workers(config)
    if wanted == AUTO_WORKERS:
        return pool_size(waiting, threads=config.threads)[0]
    return wanted


def pool_size(
    waiting: int, *, device: str = "cpu", workers: int = AUTO_WORKERS, threads: int | None = None
) -> tuple[int, int]:
    """Numbers of workers and of torch threads of each.

    Small encoders gain little from several threads, so cores become workers first: one per core
    as far as memory reaches, or one per GPU where cells run on GPUs.

    Args:
        waiting: how many cells there are to run; there are not more workers.
        device: torch device string that the cells name.
        workers: the user's choice; ``AUTO_WORKERS`` to choose here.
        threads: the user's choice; None to share the cores out among the workers.
    """
    from benchmark.evaluation.environment import usable_cores  # imports torch

    cores = usable_cores()
    if workers == AUTO_WORKERS:
        gpus = len(gpus_to_share(device))
        on_one_device = 1 if device.startswith("cuda") else cores // (threads or 1)
        memory = available_bytes()
        room = on_one_device if memory is None else min(on_one_device, memory // WORKER_BYTES)
        workers = gpus or room
    workers = max(1, min(workers, waiting))
    return workers, threads or max(1, cores // workers)


def gpus_to_share(device: str) -> tuple[str, ...]:
    """Values of CUDA_VISIBLE_DEVICES, one per GPU that cells on a device may use.

    None for the CPU, and none where the device string names one GPU: then all workers use that.
    """
    if device != "cuda":
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # CUDA ignores everything from the first name that is no device on.
        end = next((i for i, name in enumerate(names) if not name or name == "-1"), len(names))
        return tuple(names[:end])
    import torch

    return tuple(str(index) for index in range(torch.cuda.device_count()))


def available_bytes() -> int | None:
    """Memory that this process and its children may still use; None where it is not known.

    The system's estimate, or what is left under the limit of the control group (containers, batch
    systems; version 2 only), whichever is less.
    """
    found = []
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(int(_after("MemAvailable:", lines).split()[0]) * 1024)
    with suppress(OSError, StopIteration, ValueError):  # "max" means that there is no limit
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        group = Path("/sys/fs/cgroup") / _after("0::", lines).lstrip("/")
        limit, used = (int((group / f"memory.{n}").read_text()) for n in ("max", "current"))
        found.append(max(0, limit - used))
    return min(found, default=None)


def _after(start: str, lines: Iterable[str]) -> str:
    """The rest of the first line that starts so."""
    return next(line.removeprefix(start) for line in lines if line.startswith(start))


def keep_freed_memory() -> bool:
    """Tells glibc to keep large freed blocks in this process instead of returning them.

    By default each goes back to the kernel, which hands it out again page by page, cleared: a
    large part of the time of a training step on the CPU. The process's memory does not shrink
    afterwards. Worker processes get the same by variables when they are started.

    Returns:
        Whether it is so: False with another C library, or where the user's variables say otherwise.
    """
    if any(name in os.environ for name in ALLOCATOR_VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no mallopt: musl, macOS, Windows
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
