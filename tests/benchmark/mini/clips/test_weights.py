"""The shipped clip encoder: size, clean recall both ways, and what the default shifts cost."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.backbones.base import TwoTowers
from benchmark.cell import BackboneSpec
from benchmark.config.presets import applicable, complete
from benchmark.mini.clips.backbone import WEIGHTS, load
from benchmark.mini.clips.data import load_as, load_vgg
from benchmark.registry import SHIFTS
from shifts.base import item_generator
from tests.benchmark.backbones.contract import embedded

LOADERS = {"mini-as": load_as, "mini-vgg": load_vgg}
DEFAULTS: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "video": (
        {"constants": "mini64", "temporal": "shared"},
        5,
        ("video_fog", "video_jpeg_compression"),
    ),
    "audio": ({"mode": "snr"}, 5, ("audio_gaussian_noise", "thunder_procedural")),
}
"""Query side -> options, severity and types of the twins in the mini suite."""
CLIPS, SHIFTED = 252, 60
"""The first clips of a test set, and those of them whose queries are shifted."""


@cache
def backbone() -> TwoTowers:
    return load(BackboneSpec("mini-clips"))


@cache
def rows_of(name: str, modality: str) -> Tensor:
    """(CLIPS, 96) rows of one side of a clean test set."""
    pairs = LOADERS[name]()
    items = pairs.videos if modality == "video" else pairs.audios
    return embedded(backbone(), modality, [items[i] for i in range(CLIPS)])


def recall(queries: Tensor, gallery: Tensor) -> float:
    """R@1 in percent; row i of the queries belongs to row i of the gallery."""
    return 100 * float(
        ((queries @ gallery.T).argmax(1) == torch.arange(len(queries))).float().mean()
    )


def test_weights_are_small() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) <= 1.5e6


@pytest.mark.parametrize("name", LOADERS)
def test_clean_recall_leaves_room_both_ways(name: str) -> None:
    video, audio = rows_of(name, "video"), rows_of(name, "audio")
    assert 30 <= recall(video, audio) <= 92
    assert 30 <= recall(audio, video) <= 92


@pytest.mark.parametrize("modality", DEFAULTS)
@pytest.mark.parametrize("name", LOADERS)
def test_default_shifts_cost_much_but_not_all(name: str, modality: str) -> None:
    """Between 10 and 80 % of the clean recall is left, so that a method can lose and gain."""
    given, severity, kinds = DEFAULTS[modality]
    pairs = LOADERS[name]()
    items = pairs.videos if modality == "video" else pairs.audios
    gallery = rows_of(name, "audio" if modality == "video" else "video")
    clean = recall(rows_of(name, modality)[:SHIFTED], gallery)
    for kind in kinds:
        shift_class = SHIFTS.get(kind)
        options = complete(shift_class.Options, applicable(shift_class.Options, given), kind)
        shift = shift_class(shift_class.Options(**options))
        shifted = [
            shift.apply(items[i], severity, item_generator(0, kind, severity, items.ids[i]))
            for i in range(SHIFTED)
        ]
        left = recall(embedded(backbone(), modality, shifted), gallery)
        assert 0.10 <= left / clean <= 0.80, kind
