"""What a GPU makes of the harness: speed, waiting, memory, and whether its results are the CPU's.

``python -m tests.perf.gpu_check`` writes ``results/gpu.json`` and ``results/gpu.md``. Every speed
is a ratio to a bare loop that the same run timed: forward and backward passes of the same encoder,
or the method's steps without what is around them. Without a GPU it says so.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.base import DualEncoder
from benchmark.backbones.precision import in_precision, matmul_precision
from benchmark.cell import FLOAT32, BackboneSpec, Cell, Record
from benchmark.errors import QueryShiftError
from benchmark.evaluation.environment import usable_cores
from benchmark.evaluation.workers import keep_freed_memory
from benchmark.executors import Executor, SerialExecutor
from benchmark.executors.processes import ProcessExecutor
from benchmark.executors.ray import RayExecutor
from benchmark.executors.slurm import SlurmExecutor
from benchmark.registry import METHODS
from methods import BUILTINS
from methods.base import Setup
from tests.perf.cells import finished, mini_cell, without_disk
from tests.perf.gpu_page import page
from tests.perf.gpu_waiting import waiting
from tests.perf.test_processes import Watch
from tests.perf.vit import random_vit

ROOT = Path(__file__).resolve().parents[2]
TIME_LIMIT = 8 * 60.0
"""Seconds that the whole check may take; what would begin later is left out and named."""

SHARES = {"speed": 0.45, "waiting": 0.8}
"""Of that time, when methods or rows of a part may begin: a slow GPU is to have every part."""

LATE = "left out: the time limit of the check was reached"

TOLERANCE = 0.02
"""Share of queries whose rank may differ between CPU and GPU, both in float32: the order of sums
differs, and a near tie may fall the other way."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        model: open_clip's name of the encoder that is timed.
        batch: queries of a batch.
        batches: timed batches of each method.
        gallery: rows of the gallery.
        pictures: files on disk of the loading test; the longest stream.
        for_each: pictures of a stream for each loader worker.
        sides: their width and height; those of COCO.
        loaders: numbers of loader workers, beside what a run chooses by itself.
        waits: precisions of the loading test.
        compiled: methods that are timed compiled, as compiling takes most of a minute.
        methods: methods that are timed in bf16.
        main: methods that are timed on every other path.
        compared: methods whose results on the CPU and on the device are compared.
        limit: queries of a cell that compares; four times as many for the executors.
    """

    model: str = "ViT-B-16"
    batch: int = 64
    batches: int = 5
    gallery: int = 5000
    pictures: int = 1920
    for_each: int = 160
    sides: tuple[int, int] = (640, 480)
    loaders: tuple[int, ...] = (1, 4, 12)
    waits: tuple[str, ...] = ("bf16", FLOAT32)
    compiled: tuple[str, ...] = ("tent", "rest")
    methods: tuple[str, ...] = tuple(BUILTINS)
    main: tuple[str, ...] = ("source", "tent", "eata", "sar", "read", "tcr", "rest")
    compared: tuple[str, ...] = tuple(BUILTINS)
    limit: int = 128


def clock(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def median_seconds(job: Callable[[], object], device: str, repeats: int) -> float:
    """The median time of a job after one run that warms up."""
    job()
    times = []
    for _ in range(repeats):
        begun = clock(device)
        job()
        times.append(clock(device) - begun)
    return float(np.median(times))


def unit_rows(count: int, width: int, device: str) -> Tensor:
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(rows, dim=1).to(device)


def paths_of(device: str, *, compiled: bool) -> list[BackboneSpec]:
    """Every way to compute on the device."""
    formats = (FLOAT32, "tf32", "bf16", "fp16") if device.startswith("cuda") else (FLOAT32, "bf16")
    plain = [BackboneSpec("random", precision=name, device=device) for name in formats]
    bf16 = next(spec for spec in plain if spec.precision == "bf16")
    return [*plain, replace(bf16, compile=True)] if compiled else plain


def label(spec: BackboneSpec) -> str:
    return spec.precision + (", compiled" if spec.compile else "")


def speed(
    backbone: DualEncoder, device: str, size: Size, until: float = float("inf")
) -> dict[str, Any]:
    """Queries per second of each method on every path, over its bare passes."""
    shape = (size.batch, 3, 224, 224)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(shape, generator=generator).to(device) for _ in range(size.batches)]
    found = {}
    for spec in paths_of(device, compiled=bool(size.compiled)):
        precise = in_precision(backbone, spec)
        batches = [precise.collate("image", list(batch)) for batch in batches]
        names = size.methods if spec.precision == "bf16" else size.main
        names = size.compiled if spec.compile else names
        with matmul_precision(spec):
            found[label(spec)] = _of_path(precise, batches, names, device, size, until)
    return found


def _of_path(
    backbone: DualEncoder,
    batches: Sequence[Tensor],
    names: Sequence[str],
    device: str,
    size: Size,
    until: float,
) -> dict[str, Any]:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    bare = _bare(backbone, batches[0], device, size)
    gallery = unit_rows(size.gallery, bare.pop("width"), device)
    rows = {}
    for name in names:
        if time.perf_counter() > until:
            rows[name] = {"failed": LATE}
            continue
        try:
            rows[name] = _method(name, backbone, batches, gallery, device)
        except Exception as error:  # the other methods are worth having
            rows[name] = {"failed": str(error).splitlines()[0]}
            continue
        passes = rows[name].pop("passes")
        least = passes[0] * bare["forward"] + passes[1] * bare["backward"]
        rows[name] |= {
            "queries_per_second": len(batches[0]) / rows[name]["seconds"],
            "of_bare_passes": least / rows[name]["seconds"],
        }
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.startswith("cuda") else None
    return {"bare": bare, "methods": rows, "peak_device_mb": peak}


def _bare(backbone: DualEncoder, batch: Tensor, device: str, size: Size) -> dict[str, Any]:
    """Seconds of a forward pass and of a backward pass to the norm layers, for one batch."""
    encoder = backbone.query_encoder("image")
    width = encoder(batch).shape[1]
    setup = Setup(encoder, unit_rows(10, width, device), backbone.logit_scale)
    METHODS.get("tent")(setup)  # chooses what has a gradient

    def forward() -> None:
        with torch.no_grad():
            encoder(batch)

    # A training forward pass keeps what the backward pass needs, so both are timed together.
    once = median_seconds(forward, device, size.batches)
    both = median_seconds(lambda: encoder(batch).sum().backward(), device, size.batches)
    return {"forward": once, "backward": both - once, "width": width}


def _method(
    name: str, backbone: DualEncoder, batches: Sequence[Tensor], gallery: Tensor, device: str
) -> dict[str, Any]:
    from benchmark.evaluation.environment import counted

    encoder = backbone.query_encoder("image")
    method = METHODS.get(name)(Setup(encoder, gallery, backbone.logit_scale))
    if method.wants_source:
        source = backbone.query_encoder("image").requires_grad_(False)
    seconds = []
    with counted(encoder) as passes:
        for batch in batches:
            if len(seconds) == 1:  # warmed up; and REST has one backward pass less in the first
                passes.forward = passes.backward = 0
            if method.wants_source:
                with torch.no_grad():
                    method.use_source(source(batch))
            begun = clock(device)
            method.step(batch)
            seconds.append(clock(device) - begun)
    queries = sum(map(len, batches[1:]))
    return {
        "seconds": float(np.median(seconds[1:])),
        "passes": (passes.forward / queries, passes.backward / queries),
    }


def embedded_cell(method: str, shift: str, device: str, limit: int) -> Cell:
    """A cell of the embedded encoder on a device; a method that trains takes visible steps."""
    cell = mini_cell(method, shift, limit=limit)
    options = {"lr": 3e-3} if METHODS.get(method).card.trains else {}
    return replace(
        cell,
        backbone=replace(cell.backbone, device=device),
        method=replace(cell.method, options=options),
    )


def agreement(device: str, size: Size) -> dict[str, Any]:
    """How far the same cells of the embedded encoder come out on the device as on the CPU."""
    rows = {}
    resources = without_disk()
    for name in size.compared:
        cells = [embedded_cell(name, "gaussian_noise", on, size.limit) for on in ("cpu", device)]
        try:
            (one, mine), (other, theirs) = [finished(cell, resources) for cell in cells]
        except QueryShiftError as error:  # bn_adapt: the encoder has no BatchNorm
            rows[name] = {"failed": str(error).splitlines()[0]}
            continue
        rows[name] = {
            "ranks_that_differ": float(np.mean(mine["best_rank"] != theirs["best_rank"])),
            "R@1": one.metrics["R@1"],
            "R@1_device": other.metrics["R@1"],
        }
    # What adapts carries small differences on from batch to batch; the source model does not.
    worst = rows["source"].get("ranks_that_differ", 1.0)
    return {
        "tolerance": TOLERANCE,
        "limit": size.limit,
        "methods": rows,
        "within": worst <= TOLERANCE,
    }


def executors(device: str, size: Size) -> dict[str, Any]:
    """The same cells through every executor on one device: results and throughput."""
    cells = [
        embedded_cell(name, shift, device, 4 * size.limit)
        for shift in ("gaussian_noise", "jpeg_compression")
        for name in size.main[-2:]
    ]
    gpus = 0.5 if device.startswith("cuda") else 0.0
    options = {"gpus_per_node": 1} if gpus else {}
    kept: dict[str, dict[str, np.ndarray]] = {}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs = {"folder": Path(folder), "cluster": "local", "options": options}
        ways: dict[str, Executor] = {
            "serial": SerialExecutor(without_disk()),
            "one process": ProcessExecutor(without_disk, workers=1),
            "two processes": ProcessExecutor(without_disk, workers=2),
            "Ray, two workers": RayExecutor(without_disk, workers=2, gpus=gpus),
            "Slurm, two jobs (local)": SlurmExecutor(without_disk, workers=2, **jobs),
        }
        for way, executor in ways.items():
            kept[way] = {}
            try:
                found[way] = _through(executor, cells, kept[way])
            except (
                Exception
            ) as error:  # an extra that is not installed; the others are worth having
                found[way] = {"failed": str(error).splitlines()[0]}
                continue
            same = [np.array_equal(kept["serial"][key], kept[way][key]) for key in kept["serial"]]
            found[way]["equal_cells"] = f"{sum(same)} of {len(same)}"
    one, two = (found[way].get("seconds") for way in ("one process", "two processes"))
    return found | ({"two_over_one": one / two} if one and two else {})


def _through(
    executor: Executor, cells: Sequence[Cell], kept: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Seconds from the start of the first cell on, which Ray does not tell."""
    watch = Watch()
    records = executor.run(cells, functools.partial(_keep, kept), progress=watch)
    if failed := [record.reason for record in records if record.reason]:
        raise QueryShiftError(failed[0])
    return {"seconds": time.perf_counter() - watch.begun if watch.begun else None}


def _keep(ranks: dict[str, np.ndarray], record: Record, arrays: Mapping[str, np.ndarray]) -> None:
    ranks |= {record.key: arrays["best_rank"]} if "best_rank" in arrays else {}


def facts(device: str) -> dict[str, str]:
    """The machine and the software."""
    names = ("torch", "torchvision", "open_clip_torch", "numpy")
    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else "none: measured on the CPU"
    return {
        "device": gpu,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "cuda": str(torch.version.cuda),
        "cores": str(usable_cores()),
    }


def check(
    device: str, size: Size, deadline: float, keep: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    """All parts, one after the other; one that fails is named and the others go on.

    Args:
        device: "cuda", or "cpu" in tests.
        size: how much is measured.
        deadline: on ``time.perf_counter``; a part that would begin later is left out.
        keep: given all that is known after each part, so that a run that is cut off leaves it.
    """
    backbone, begun = random_vit(size.model, device), time.perf_counter()
    until = {name: begun + share * (deadline - begun) for name, share in SHARES.items()}
    parts: dict[str, Callable[[], Any]] = {
        "speed": lambda: speed(backbone, device, size, until["speed"]),
        "waiting": lambda: waiting(backbone, device, size, until["waiting"]),
        "agreement": lambda: agreement(device, size),
        "executors": lambda: executors(device, size),
    }
    found: dict[str, Any] = {"facts": facts(device), "model": size.model, "batch": size.batch}
    for name, part in parts.items():
        begun = time.perf_counter()
        if begun > deadline:
            found[name] = {"failed": LATE}
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            found[name] = part()
        except Exception as error:  # the other parts are worth having
            found[name] = {"failed": f"{type(error).__name__}: {error}"}
        keep(found)
        print(f"  {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=ROOT / "results/gpu.json")
    parser.add_argument("--page", type=Path, default=ROOT / "results/gpu.md")
    paths = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("No GPU here (torch.cuda.is_available() is False), so there is nothing to measure.")
        return 0
    keep_freed_memory()  # as every run does
    keep = functools.partial(write, json_path=paths.json, page_path=paths.page)
    found = check("cuda", Size(), time.perf_counter() + TIME_LIMIT, keep)
    print(f"written: {paths.json}, {paths.page}")
    return int(any("failed" in part for part in found.values() if isinstance(part, Mapping)))


def write(found: Mapping[str, Any], json_path: Path, page_path: Path) -> None:
    json_path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page_path.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
