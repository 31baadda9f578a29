"""Choice of the executor from the settings of a run."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmark.cell import Cell
from benchmark.config.kinds import AUTO_WORKERS
from benchmark.config.run import BenchConfig
from benchmark.errors import ConfigError
from benchmark.evaluation.resources import Resources
from benchmark.executors.base import Executor, SerialExecutor
from benchmark.executors.machine import (
    LOCAL,
    gpus_to_share,
    keep_freed_memory,
    pool_size,
    wanted_workers,
)

_WHOLE_BENCHMARKS = 0.25
_WHOLE_STREAMS = 0.5
"""How far a border may move, in parts of a shard, to leave a benchmark or a stream in one piece."""


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


def split(cells: Sequence[Cell], count: int) -> list[list[Cell]]:
    """Splits cells into parts of about equal number, which together are all cells.

    Cells of one benchmark stay together where that leaves the parts about equal, else at least
    those of one stream (all methods under one shift and seed): each part loads few data sets and
    has the source model beside its methods. The parts depend on which cells there are, not on
    their order, nor on where data lie or on which device is used.

    Args:
        cells: without duplicates.
        count: number of parts; no part is empty unless there are fewer cells.
    """
    named = sorted(((_names(cell), cell) for cell in cells), key=lambda pair: pair[0])
    names = [name for name, _ in named]
    total = len(named)
    # Where one benchmark, or one stream, ends and the next begins.
    benchmarks, streams = (
        [i for i in range(total + 1) if i in (0, total) or names[i - 1][:n] != names[i][:n]]
        for n in (1, 2)
    )
    size = total / count
    borders = [0]
    for number in range(1, count):
        ideal = number * size
        place = _nearest(benchmarks, ideal, _WHOLE_BENCHMARKS * size)
        if place is None:
            place = _nearest(streams, ideal, _WHOLE_STREAMS * size)
        place = round(ideal) if place is None else place
        # At least one cell for this part and for each that follows, as far as there are cells.
        borders.append(max(min(max(place, borders[-1] + 1), total - count + number), borders[-1]))
    borders.append(total)
    ordered = [cell for _, cell in named]
    return [ordered[borders[i] : borders[i + 1]] for i in range(count)]


def _names(cell: Cell) -> tuple[str, str, str]:
    """Benchmark and weights, the stream of queries, and the cell itself, as texts to sort by."""
    backbone = asdict(cell.backbone)
    del backbone["device"]
    world = json.dumps([cell.suite, cell.benchmark, backbone], sort_keys=True)
    stream = [cell.stream.to_dict(), asdict(cell.shift), cell.seed, cell.limit]
    key = cell.key(data_fingerprint="", backbone_fingerprint="")
    return world, json.dumps(stream, sort_keys=True), key


def _nearest(places: Sequence[int], ideal: float, reach: float) -> int | None:
    """The place nearest to the ideal one, if it is within reach."""
    at = bisect_left(places, ideal)
    near = min(places[max(0, at - 1) : at + 1], key=lambda place: abs(place - ideal), default=None)
    return near if near is not None and abs(near - ideal) <= reach else None
