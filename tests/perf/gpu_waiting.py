"""Share of a stream's time spent waiting for its queries: picture files that workers corrupt.

Time is counted as a user has it: from before the workers start until the last batch is ranked.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.backbones.base import DualEncoder
from benchmark.backbones.precision import in_precision
from benchmark.cell import BackboneSpec, Cell, MethodSpec, ShiftSpec, StreamSpec
from benchmark.data.media import ImageFiles
from benchmark.data.retrieval import Relevance, RetrievalSet, Texts
from benchmark.errors import QueryShiftError
from benchmark.evaluation.builders import _make_method, _make_shift
from benchmark.evaluation.environment import usable_cores
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.runner import run_cell
from benchmark.evaluation.workers import loaded, loader_workers
from benchmark.registry import METHODS, SHIFTS
from shifts.builtin import builtin_class, names_of
from tests.perf.test_image_shifts import fastest_ms
from tests.perf.test_processes import Watch

COMMON = "gaussian_noise"
"""A shift of ordinary cost."""


def write_pictures(folder: Path, count: int, sides: tuple[int, int]) -> list[Path]:
    """JPEG files of smooth noise, so that decoding has something to do."""

    def write(index: int) -> Path:
        small = np.random.default_rng(index).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        path = folder / f"{index:05d}.jpg"
        Image.fromarray(small).resize(sides, Image.Resampling.BICUBIC).save(path)
        return path

    with loaded(write, range(count), usable_cores()) as written:
        return list(written)


def pictures_on_disk(folder: Path) -> RetrievalSet:
    paths = sorted(folder.glob("*.jpg"))
    ids = [path.stem for path in paths]
    return RetrievalSet(
        name="pictures on disk",
        query_modality="image",
        gallery_modality="text",
        queries=ImageFiles(ids, paths),
        gallery=Texts(ids, [f"picture number {name}" for name in ids]),
        relevance=Relevance.from_lists([[index] for index in range(len(paths))]),
        groups=np.arange(len(paths)),
        fingerprint=f"pictures-{len(paths)}",
    )


def pictures_cell(shift: str, spec: BackboneSpec, *, batch: int, limit: int) -> Cell:
    return Cell(
        suite="gpu-check",
        benchmark="pictures on disk",
        backbone=spec,
        method=MethodSpec("tent", "published", {}, METHODS.get("tent").card.version),
        shift=ShiftSpec(shift, 5, {}, SHIFTS.get(shift).card.version),
        stream=StreamSpec(batch_size=batch),
        limit=limit,
    )


def resources_for(folder: Path, backbone: DualEncoder, **kwargs: Any) -> Resources:
    """The pictures of a folder and an encoder."""
    return Resources(
        load_data=lambda _: pictures_on_disk(folder),
        load_backbone=lambda spec: in_precision(backbone, spec),
        make_method=_make_method,
        make_shift=_make_shift,
        **kwargs,
    )


def costliest_shift(folder: Path) -> tuple[str, dict[str, float]]:
    """Which image shift takes longest for a picture, and the ms of each; in a loader worker.

    It has one thread; in this process others would count, and so would their waiting.
    """
    item = pictures_on_disk(folder).queries[0]
    names = [name for name in names_of("image") if name != "frost"]  # needs photographs

    def milliseconds(name: str) -> float:
        shift = builtin_class(name)()
        job = functools.partial(shift.apply, item, 5, np.random.default_rng(0))
        job()
        return fastest_ms(job)

    with loaded(milliseconds, names, 1) as made:
        spent = dict(zip(names, made, strict=True))
    return max(spent, key=spent.__getitem__), spent


def waiting(
    backbone: DualEncoder, device: str, size: Any, until: float = float("inf")
) -> dict[str, Any]:
    """Waiting and speed by precision, shift and loader workers (see ``gpu_check.Size``).

    Rows that would begin after ``until`` (on ``time.perf_counter``) are left out and counted.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder, size.pictures, size.sides)
        costliest, spent = costliest_shift(folder)
        chosen = loader_workers(None, device, size.pictures)
        loaders = [*sorted({*size.loaders, *([chosen] if chosen else [])}), "cached"]
        jobs = [
            (BackboneSpec("random", precision=precision, device=device), shift, workers)
            for precision in size.waits
            for shift, numbers in ((costliest, loaders), (COMMON, [chosen or 1]))
            for workers in numbers
        ]
        rows: list[dict[str, Any]] = []
        for spec, shift, workers in jobs:
            if time.perf_counter() > until:
                break
            if workers != "cached":  # that is the next method on the stream of the last
                limit = min(size.pictures, size.for_each * workers)
                cell = pictures_cell(shift, spec, batch=size.batch, limit=limit)
                resources = resources_for(folder, backbone, workers=workers)
            row = {"precision": spec.precision, "shift": shift, "loaders": workers}
            rows.append(row | _waited(cell, resources))
    found = {"sides": size.sides, "costliest": costliest, "shift_ms": spent, "chosen": chosen}
    return {**found, "cells": rows, "left_out": len(jobs) - len(rows)}


class _Stream(Watch):
    """When a cell's stream began, and when its last batch was ranked."""

    def batch_done(self, cell: Cell, batch_log: Mapping[str, float]) -> None:
        self.ended = time.perf_counter()


def _waited(cell: Cell, resources: Resources) -> dict[str, float]:
    watch = _Stream()
    record, arrays = run_cell(cell, resources, progress=watch)
    if record.reason:
        raise QueryShiftError(record.reason)
    cost, queries, stream = record.cost, len(arrays["query"]), watch.ended - watch.begun
    return {
        "queries": queries,
        "waiting": 1.0 - (cost["seconds_step"] + cost["seconds_rank"]) / stream,
        "queries_per_second": queries / stream,
        "peak_device_mb": cost.get("peak_device_mb", float("nan")),
    }
