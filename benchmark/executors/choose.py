"""Choice of the executor: which one, with how many workers and threads, for which of the cells."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Any

import torch

from benchmark.cell import Cell
from benchmark.config.run import AUTO_WORKERS, BenchConfig
from benchmark.errors import ConfigError
from benchmark.evaluation.environment import usable_cores
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.workers import keep_freed_memory
from benchmark.executors import Executor, Identified, SerialExecutor, stream_of

LOCAL = "local"
"""Address that stands for a Ray cluster on this machine, started for the run and ended with it."""

WORKER_BYTES = 2 << 30
"""Memory that a worker is counted with: interpreter, libraries, an encoder of ViT-B size with its
gradients at 64 queries, a gallery and the cache of preprocessed queries."""


def part_of(cells: Sequence[Cell], config: BenchConfig) -> list[Cell]:
    """The cells that a run is to look after: all, or its shard.

    Raises:
        ConfigError: there are more shards than cells.
    """
    if config.shard is None:
        return list(cells)
    index, count = config.shard.index, config.shard.count
    if count > len(cells):
        raise ConfigError(
            f"--shard {config.shard}: there are only {len(cells)} cells; ask for at most so many "
            "parts"
        )
    return split(cells, count)[index - 1]


def check_settings(config: BenchConfig) -> None:
    """Refuses settings that contradict each other, before anything is loaded.

    Raises:
        ConfigError: says which.
    """
    executor, device = config.executor, config.device
    processes = "say --executor processes"
    contradictions = {
        f"--executor serial runs one cell at a time; leave --workers out, or {processes}": (
            executor == "serial" and config.workers not in (None, 1)
        ),
        f"--executor serial cannot stop a cell; leave --time-limit out, or {processes}": (
            executor == "serial" and config.time_limit is not None
        ),
        f"--address {config.address} names a Ray cluster; say --executor ray as well, or leave it "
        "out": config.address != LOCAL and executor != "ray",
        "--slurm is for --executor slurm; say that as well, or leave it out": (
            config.slurm and executor != "slurm"
        ),
        f"--device {device} names one GPU of this machine; on a cluster say cuda, and each worker "
        "gets its own": ":" in device and executor in ("ray", "slurm"),
    }
    for message, found in contradictions.items():
        if found:
            raise ConfigError(message)


def make_executor(
    config: BenchConfig, found: Identified, resources: Resources, factory: Callable[[], Resources]
) -> Executor:
    """The executor of a run.

    A time limit needs a worker that can be stopped: with one, cells that would run in this
    process run in one worker process.

    Args:
        config: what the user asked for.
        found: the cells.
        resources: this process's own.
        factory: makes a worker's resources.
    """
    device = next((cell.backbone.device for cell in found.cells), "cpu")
    if config.executor in ("ray", "slurm"):
        wanted, on_gpu = wanted_workers(config), device.startswith("cuda")
        shared: dict[str, Any] = {
            "workers": None if wanted == AUTO_WORKERS else wanted,
            "threads": config.threads or 1,
            "time_limit": config.time_limit,
        }
        if config.executor == "ray":
            from benchmark.executors.ray import RayExecutor

            return RayExecutor(factory, address=config.address, gpus=float(on_gpu), **shared)
        from benchmark.executors.slurm import SlurmExecutor

        gpu = {"gpus_per_node": 1} if on_gpu and "gres" not in config.slurm else {}
        jobs = found.store.path / "jobs"
        return SlurmExecutor(factory, folder=jobs, options=gpu | config.slurm, **shared)
    workers, threads = pool_size(config, found.waiting, device)
    if config.executor == "processes" or config.time_limit is not None or workers > 1:
        from benchmark.executors.processes import ProcessExecutor

        return ProcessExecutor(
            factory,
            workers=workers,
            threads=threads,
            devices=gpus_to_share(device),
            time_limit=config.time_limit,
        )
    if config.threads:
        torch.set_num_threads(config.threads)
    keep_freed_memory()  # workers get it by variables when they start
    return SerialExecutor(resources)


def wanted_workers(config: BenchConfig) -> int:
    """The number of workers asked for, or ``AUTO_WORKERS``."""
    if config.workers is not None:
        return config.workers
    return AUTO_WORKERS if config.executor in ("processes", "ray", "slurm") else 1


def pool_size(config: BenchConfig, waiting: int, device: str = "cpu") -> tuple[int, int]:
    """Numbers of workers on this machine and of torch threads of each.

    Small encoders gain little from several threads, so cores become workers first: one per core
    as far as memory reaches, or one per GPU where cells run on GPUs.

    Args:
        config: the user's choice of both.
        waiting: how many cells there are to run; there are not more workers.
        device: torch device string that the cells name.
    """
    workers, threads = wanted_workers(config), config.threads
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
    return tuple(str(index) for index in range(torch.cuda.device_count()))


def available_bytes() -> int | None:
    """Memory that this process and its children may still use; None where it is not known.

    The system's estimate, or what is left under the limit of the control group (containers, batch
    systems; version 2 only), whichever is less.
    """
    found = []
    with suppress(OSError, ValueError):
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        (kilobytes,) = re.findall(r"^MemAvailable:\s*(\d+)", text, re.M)
        found.append(int(kilobytes) * 1024)
    with suppress(OSError, ValueError):  # "max" means that there is no limit
        text = Path("/proc/self/cgroup").read_text(encoding="utf-8")
        (group,) = re.findall(r"^0::/*(.*)", text, re.M)
        files = (Path("/sys/fs/cgroup", group, f"memory.{name}") for name in ("max", "current"))
        limit, used = (int(file.read_text()) for file in files)
        found.append(max(0, limit - used))
    return min(found, default=None)


def split(cells: Sequence[Cell], count: int) -> list[list[Cell]]:
    """Splits cells into parts of about equal number, which together are all cells.

    Cells of one stream (all methods under one shift and seed) stay together as long as there are
    enough of them, and those of one benchmark lie side by side: each part loads few data sets and
    has the source model beside its methods. The parts depend on which cells there are, not on
    their order, nor on where data lie or on which device is used.

    Args:
        cells: without duplicates.
        count: number of parts; no part is empty unless there are fewer cells.
    """
    named = sorted(((_names(cell), cell) for cell in cells), key=lambda pair: pair[0])
    streams = [
        [cell for _, cell in members] for _, members in groupby(named, key=lambda pair: pair[0][0])
    ]
    units = streams if len(streams) >= count else [[cell] for _, cell in named]
    borders = [number * len(units) // count for number in range(count + 1)]
    return [list(chain.from_iterable(units[a:b])) for a, b in pairwise(borders)]


def _names(cell: Cell) -> tuple[str, str]:
    """Benchmark, weights and stream, and the cell itself, as texts to sort by."""
    anywhere = replace(cell, backbone=replace(cell.backbone, device=""))
    return str(stream_of(anywhere)), cell.unfinished_key
