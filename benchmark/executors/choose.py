"""Choice of the executor from the settings of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmark.cell import Cell
from benchmark.config.kinds import AUTO_WORKERS
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError
from benchmark.evaluation.resources import Resources
from benchmark.executors.allocator import keep_freed_memory
from benchmark.executors.base import Executor
from benchmark.executors.machine import LOCAL, gpus_to_share, pool_size, wanted_workers
from benchmark.executors.processes import ProcessExecutor
from benchmark.executors.serial import SerialExecutor
from benchmark.executors.shards import split


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
    serial, cluster = config.executor == "serial", config.executor in ("ray", "slurm")
    contradictions = [
        (
            serial and config.workers not in (None, 1),
            "--executor serial runs one cell at a time; leave --workers out, or say "
            "--executor processes",
        ),
        (
            serial and config.time_limit is not None,
            "--executor serial cannot stop a cell; leave --time-limit out, or say "
            "--executor processes",
        ),
        (
            config.address != LOCAL and config.executor != "ray",
            f"--address {config.address} names a Ray cluster; say --executor ray as well, or leave "
            "it out",
        ),
        (
            config.slurm and config.executor != "slurm",
            "--slurm is for --executor slurm; say that as well, or leave it out",
        ),
        (
            cluster and ":" in config.device,
            f"--device {config.device} names one GPU of this machine; on a cluster say cuda, "
            "and each worker gets its own",
        ),
    ]
    for found, message in contradictions:
        if found:
            raise ConfigError(message)


def make_executor(
    config: BenchConfig,
    factory: Callable[[], Resources],
    resources: Resources,
    *,
    waiting: int,
    device: str,
    folder: Path = Path(),
) -> Executor:
    """The executor of a run.

    A time limit needs a worker that can be stopped: with one, cells that would run in this
    process run in one worker process.

    Args:
        config: what the user asked for.
        factory: makes a worker's resources.
        resources: this process's own.
        waiting: how many cells are to be run.
        device: torch device string that they name.
        folder: the run's, where jobs of a cluster find their work.
    """
    wanted, on_gpu = wanted_workers(config), device.startswith("cuda")
    if config.executor in ("ray", "slurm"):
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
        return SlurmExecutor(factory, folder=folder / "jobs", options=gpu | config.slurm, **shared)
    workers, threads = pool_size(waiting, device=device, workers=wanted, threads=config.threads)
    if config.executor == "processes" or config.time_limit is not None or workers > 1:
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
