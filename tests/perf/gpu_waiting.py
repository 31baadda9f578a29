"""Share of a cell's time spent waiting for its queries: picture files that workers corrupt."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.backbones.precision import in_precision
from benchmark.cell import BackboneSpec, Cell, MethodSpec, ShiftSpec, StreamSpec
from benchmark.data.media import ImageFiles
from benchmark.data.retrieval import Relevance, RetrievalSet, Texts
from benchmark.evaluation.builders import _make_method, _make_shift
from benchmark.evaluation.resources import Resources
from benchmark.evaluation.workers import loaded
from benchmark.registry import METHODS, SHIFTS
from shifts.builtin import builtin_class, names_of
from tests.perf.cells import finished
from tests.perf.test_image_shifts import fastest_ms
from tests.perf.vit import random_vit

COMMON = "gaussian_noise"
"""A shift of ordinary cost."""


def write_pictures(folder: Path, count: int, sides: tuple[int, int]) -> list[Path]:
    """JPEG files of smooth noise, so that decoding has something to do."""
    paths = []
    for index in range(count):
        small = np.random.default_rng(index).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        paths.append(folder / f"{index:05d}.jpg")
        Image.fromarray(small).resize(sides, Image.Resampling.BICUBIC).save(paths[-1])
    return paths


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


def resources_for(folder: Path, model: str, **kwargs: Any) -> Resources:
    """The pictures of a folder and an encoder with random weights."""
    return Resources(
        load_data=lambda _: pictures_on_disk(folder),
        load_backbone=lambda spec: in_precision(random_vit(model, spec.device), spec),
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


def waiting(device: str, size: Any) -> dict[str, Any]:
    """Waiting and speed by precision, shift and loader workers (see ``gpu_check.Size``)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder, size.pictures * max(size.loaders), size.sides)
        costliest, spent = costliest_shift(folder)
        rows = [
            {"precision": precision, "shift": shift} | row
            for precision in size.waits
            for shift, loaders in ((costliest, size.loaders), (COMMON, size.loaders[-1:]))
            for row in _by_loaders(folder, shift, precision, device, loaders, size)
        ]
    return {"sides": size.sides, "costliest": costliest, "shift_ms": spent, "cells": rows}


def _by_loaders(
    folder: Path, shift: str, precision: str, device: str, loaders: Sequence[int], size: Any
) -> Iterator[dict[str, Any]]:
    """One cell for each number of workers, then the next method on the stream of the last."""
    spec = BackboneSpec("random", precision=precision, device=device)
    for workers in loaders:
        cell = pictures_cell(shift, spec, batch=size.batch, limit=size.pictures * workers)
        resources = resources_for(folder, size.model, workers=workers)
        yield {"loaders": workers} | _waited(cell, resources)
    yield {"loaders": "cached"} | _waited(cell, resources)


def _waited(cell: Cell, resources: Resources) -> dict[str, float]:
    record, arrays = finished(cell, resources)
    cost, queries = record.cost, len(arrays["query"])
    stream = sum(cost[f"seconds_{part}"] for part in ("data", "step", "rank"))
    return {
        "queries": queries,
        "waiting": cost["seconds_data"] / stream,
        "of_bare_steps": cost["seconds_step"] / stream,
        "queries_per_second": queries / stream,
        "peak_device_mb": cost.get("peak_device_mb", float("nan")),
    }
