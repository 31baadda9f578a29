"""Picture files on disk as a retrieval set, and cells of an encoder with random weights on them."""

from __future__ import annotations

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
from benchmark.registry import METHODS, SHIFTS
from tests.perf.vit import random_vit


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


def pictures_cell(method: str, shift: str, spec: BackboneSpec, batch: int) -> Cell:
    return Cell(
        suite="gpu-check",
        benchmark="pictures on disk",
        backbone=spec,
        method=MethodSpec(method, "published", {}, METHODS.get(method).card.version),
        shift=ShiftSpec(shift, 5, {}, SHIFTS.get(shift).card.version),
        stream=StreamSpec(batch_size=batch),
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
